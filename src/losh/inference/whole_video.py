"""Whole videos in chunks: one trajectory an expression, with memory that does not grow with the
video's length.

The published systems run a whole video at once and take the query of the highest mean score. A long
video does not fit, so we run it in chunks; the query is still chosen over the whole video. Until it
is known the low-resolution mask logits of all queries wait in a temporary file (float16), not in
memory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from losh.clips.batches import pad_frames
from losh.inference.streams import Rule, joined, to_original
from losh.inference.text_features import TextFeatures
from losh.media.resizing import InputSize
from losh.media.windows import chunks
from losh.model.losh import LoSh
from losh.model.mask_losses import resized
from losh.model.structures import Clips

FrameOf = Callable[[int], np.ndarray]
"""Frame index -> uint8 [H, W, 3] RGB."""


@dataclass
class Trajectory:
    """One expression's object through a video."""

    logits: np.memmap
    """float16 [streams, frames, N, h, w], on disk."""
    scores: np.ndarray
    """[frames, N]: probability that a query is the referred object."""
    size: tuple[int, int]
    """(H, W) of the network's input."""
    rule: Rule
    device: torch.device

    @property
    def query(self) -> int:
        """The query with the highest mean score over all frames."""
        return int(self.scores.mean(0).argmax())

    @property
    def score(self) -> float:
        """Mean score of that query."""
        return float(self.scores.mean(0).max())

    def _probability(self, t: int) -> Tensor:
        """[1, 1, H, W] at the network's size."""
        logits = (
            torch.from_numpy(np.array(self.logits[:, t, self.query])).float().to(self.device)
        )  # [streams, h, w]
        return joined(list(resized(logits[:, None], self.size).sigmoid()[:, None]), self.rule)

    def mask(self, t: int, original: tuple[int, int], threshold: float) -> np.ndarray:
        """bool [H0, W0] of frame t: thresholded at the network's size, then nearest neighbour (as
        released).
        """
        return to_original(self._probability(t)[0, 0], threshold, self.size, original).cpu().numpy()

    def probability(self, t: int, original: tuple[int, int]) -> np.ndarray:
        """float32 [H0, W0] of frame t, for protocols that compare the objects of a frame
        (Refer-DAVIS17).
        """
        probability = self._probability(t)
        return (
            F.interpolate(probability, size=original, mode="bilinear", align_corners=False)[0, 0]
            .cpu()
            .numpy()
        )


@contextmanager
def track(
    model: LoSh,
    texts: TextFeatures,
    frame_of: FrameOf,
    num_frames: int,
    sentences: Sequence[tuple[str, str]],
    input_size: InputSize,
    chunk: int | None,
    dtype: torch.dtype,
    rule: Rule,
    scratch: Path | None = None,
) -> Iterator[list[Trajectory]]:
    """Trajectories of several (long, short) expressions in one video; valid inside the `with`
    block.

    The visual encoder runs once a chunk, whatever the number of expressions.

    Args:
        input_size: of the network's input.
        chunk: frames at once; None: the whole video.
        scratch: where the temporary files go; None: the system's temporary folder.
    """
    device = texts.device
    first = frame_of(0)
    size = input_size.size_of(*first.shape[:2])
    streams = 2 if model.short_stream and rule != "long" else 1
    with tempfile.TemporaryDirectory(prefix="losh-", dir=scratch) as folder:
        tracks: list[Trajectory] = []
        for frames in chunks(num_frames, chunk or num_frames):
            images = np.stack([input_size.resize(frame_of(t), size) for t in frames])
            pixels, pad = pad_frames([torch.from_numpy(images)], device)
            clips = Clips(pixels, pad, torch.arange(len(frames), device=device)[None])
            for i, (scores, logits) in enumerate(
                _chunk(model, texts, clips, sentences, dtype, rule)
            ):
                if len(tracks) == i:
                    shape = (streams, num_frames, *logits.shape[2:])
                    store = np.memmap(Path(folder) / f"{i}.f16", np.float16, "w+", shape=shape)
                    tracks.append(
                        Trajectory(
                            store,
                            np.zeros((num_frames, logits.shape[2]), np.float32),
                            size,
                            rule,
                            device,
                        )
                    )
                tracks[i].logits[:, frames[0] : frames[-1] + 1] = logits
                tracks[i].scores[frames[0] : frames[-1] + 1] = scores
            for one in tracks:
                one.logits.flush()
        yield tracks


@torch.no_grad()
def _chunk(
    model: LoSh,
    texts: TextFeatures,
    clips: Clips,
    sentences: Sequence[tuple[str, str]],
    dtype: torch.dtype,
    rule: Rule,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each expression: scores [T, N] and mask logits [streams, T, N, h, w] of one chunk."""
    model.eval()
    with torch.autocast(clips.frames.device.type, dtype, enabled=dtype != torch.float32):
        video = model.base.encode_video(clips.frames, clips.pad)
        for long, short in sentences:
            output = model(clips, texts.inputs([long]), texts.inputs([short]), video=video)
            layers = [output.long[-1]]
            if rule != "long" and output.short is not None:
                layers.append(output.short[-1])
            scores = joined([model.base.referred_prob(layer) for layer in layers], rule)[
                0
            ]  # [T, N]
            logits = torch.stack([layer.masks[0] for layer in layers])  # [streams, T, N, h, w]
            yield scores.float().cpu().numpy(), logits.clamp(-6e4, 6e4).half().cpu().numpy()
