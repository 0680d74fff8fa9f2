"""Frames in, masks out, chunk by chunk: memory does not grow with the clip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from losh.inference.forward import Predictor
from losh.inference.whole_video import Trajectory, track
from losh.own_video.clip_input import Frame
from losh.own_video.masked_frame import MaskedFrame
from losh.own_video.spoken import Expression

PROTOCOL = "youtube_vos"
"""Whose rules count for a person's own clip."""


def segment_frames(
    predictor: Predictor,
    frames: Iterable[Frame],
    sentences: Sequence[Expression],
    chunk: int,
    window: int,
    streams: bool = False,
) -> Iterator[MaskedFrame]:
    """Mask each frame, `chunk` frames at once.

    The query is chosen in each chunk anew, as the published systems choose it in a clip: choosing
    it over the whole video would mean to keep every query's masks until the end (ours). A last
    piece of fewer frames than a window gets frames before it as company.

    Args:
        window: frames that the model saw at once in training.
        streams: also mask by each stream alone.
    """
    pairs = [(one.long, one.short) for one in sentences]
    company: list[Frame] = []
    for piece in pieces(frames, chunk):
        missing = max(0, min(window, chunk) - len(piece))
        before = company[len(company) - missing :] if missing else []
        images = [frame.image for frame in (*before, *piece)]
        with track(predictor, images.__getitem__, len(images), pairs, None, PROTOCOL) as found:
            for t, frame in enumerate(piece, len(before)):
                size = (frame.image.shape[0], frame.image.shape[1])
                # Probabilities at the frame's size first, then the cut: a mask that is cut at the
                # network's size and enlarged has steps.
                masks = [one.probability(t, size) > predictor.threshold for one in found]
                scores = [one.scores[t, one.query] for one in found]
                alone = np.stack([stream_masks(one, t, size) for one in found]) if streams else None
                yield MaskedFrame(frame, np.stack(masks), np.array(scores, np.float32), alone)
        company = piece[-window:]


def stream_masks(one: Trajectory, t: int, size: tuple[int, int]) -> np.ndarray:
    """Mask frame t of (height, width) `size` by each stream alone: bool [S, H, W]."""
    rule, sizes = one.mask_rule, one.sizes(size)
    probabilities = [
        rule.at_original(rule.probabilities(logits, sizes), sizes)[0].cpu().numpy()
        for logits in one.logits_at(t)
    ]
    return np.stack(probabilities) > one.predictor.threshold


def pieces(frames: Iterable[Frame], size: int) -> Iterator[list[Frame]]:
    """Cut a stream into lists of `size` frames; the last may be shorter."""
    piece: list[Frame] = []
    for frame in frames:
        piece.append(frame)
        if len(piece) == size:
            yield piece
            piece = []
    if piece:
        yield piece
