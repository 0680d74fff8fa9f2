"""Whole videos in chunks: one trajectory per expression.

Memory does not grow with the video's length.

The published systems run a whole video at once and take the query of the highest mean score. A long
video does not fit, so we run it in chunks; the query is still chosen over the whole video. Until it
is known, what the decoder says of all queries waits in a temporary file, not in memory. A pipeline
that refines the chosen query gets the visual features of each chunk a second time then.
"""

from __future__ import annotations

import errno
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from losh.clips.batches import pad_frames
from losh.errors import UserError
from losh.inference.forward import Predictor
from losh.inference.streams import joined, joint_probabilities
from losh.media.windows import chunks
from losh.model.pipeline import MaskRule, RVOSPipeline
from losh.model.structures import Clips, FrameSizes, LayerPred, VideoFeats, size_of
from losh.runtime.read_ahead import read_ahead

FrameOf = Callable[[int], np.ndarray]
"""Frame index -> uint8 [H, W, 3] RGB."""
AHEAD = 1
"""Chunks that are decoded while the network works."""
LARGEST_HALF = 6e4  # float16 ends a little above


@dataclass
class Trajectory:
    """One expression's object through a video."""

    scores: np.ndarray
    """[frames, N]: probability that a query is the referred object."""
    padded: tuple[int, int]
    """(H, W) of the network's input."""
    clip: tuple[int, int]
    """(h, w) of the video in it, without padding."""
    predictor: Predictor
    mask_rule: MaskRule
    logits: list[np.ndarray] = field(default_factory=list)
    """Per stream [frames, h, w] of the chosen query, on disk."""

    @property
    def query(self) -> int:
        """The query with the highest mean score over all frames."""
        return int(self.scores.mean(0).argmax())

    @property
    def score(self) -> float:
        """Mean score of that query."""
        return float(self.scores.mean(0).max())

    def mask(self, t: int, original: tuple[int, int]) -> np.ndarray:
        """Return the mask of frame t at the original size, bool [H0, W0]."""
        probabilities, sizes = self._probabilities(t, original)
        masks = self.mask_rule.masks(probabilities, sizes, self.predictor.threshold)
        return masks[0].cpu().numpy()

    def probability(self, t: int, original: tuple[int, int]) -> np.ndarray:
        """Return probabilities of frame t, float32 [H0, W0].

        They are for protocols that compare the objects of a frame (Refer-DAVIS17).
        """
        probabilities, sizes = self._probabilities(t, original)
        return self.mask_rule.at_original(probabilities, sizes)[0].cpu().numpy()

    def logits_at(self, t: int) -> list[Tensor]:
        """Return each stream's logits of frame t, [1, h, w], on the device."""
        device = self.predictor.texts.device
        return [torch.from_numpy(np.array(x[t])).float().to(device)[None] for x in self.logits]

    def sizes(self, original: tuple[int, int]) -> FrameSizes:
        """Return the sizes of a frame that is `original` large."""
        return FrameSizes(self.padded, self.clip, original)

    def _probabilities(self, t: int, original: tuple[int, int]) -> tuple[Tensor, FrameSizes]:
        sizes, frame = self.sizes(original), self.logits_at(t)
        return joint_probabilities(frame, self.predictor.rule, self.mask_rule, sizes), sizes


class NoRoom(UserError):
    """The disk cannot hold what a whole video keeps there."""


def new_array(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> np.memmap:
    """Return an array on disk, all of whose bytes are reserved.

    Raises:
        NoRoom: the disk has fewer. Found out later, by a write to the mapped file, it would kill
            the process without a word.
    """
    size, folder = math.prod(shape) * dtype.itemsize, path.parent
    free = shutil.disk_usage(folder).free
    try:
        if size > free:  # asked before: a reservation that fails fills the disk first
            raise OSError(errno.ENOSPC, "")
        with path.open("wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:  # macOS
                file.truncate(size)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise NoRoom(
            f"{folder.parent} has no room for the masks of all queries in {shape[0]:,} frames: "
            f"{size / 1e9:.1f} GB more are needed, {free / 1e9:.1f} GB are free",
            "Free some, or put that folder on a larger disk",
        ) from None
    return np.memmap(path, dtype, "r+", shape=shape)


class _Waiting:
    """What one stream's decoder says of all queries of a video, until the query is chosen.

    Arrays on disk, float16 where the video is cut into chunks (the published way, one chunk, stays
    exact).
    """

    def __init__(self, folder: Path, name: str, frames: int, exact: bool) -> None:
        self.folder, self.name, self.frames = folder, name, frames
        self.dtype = np.dtype(np.float32 if exact else np.float16)
        self.arrays: list[np.memmap] = []

    def put(self, first: int, pred: LayerPred) -> None:
        """Store a chunk that begins with frame `first`; `pred` is of one expression."""
        parts = [pred.masks[0], *(x[0] for x in pred.state)]  # each [K, N, ...]
        for i, part in enumerate(parts):
            if len(self.arrays) == i:
                shape = (self.frames, *part.shape[1:])
                path = self.folder / f"{self.name}-{i}.raw"
                self.arrays.append(new_array(path, self.dtype, shape))
            values = part.float().clamp(-LARGEST_HALF, LARGEST_HALF).cpu().numpy()
            self.arrays[i][first : first + len(part)] = values
            self.arrays[i].flush()

    def get(self, frames: list[int], query: int, device: torch.device) -> LayerPred:
        """Return a chunk of one query as a prediction with N = 1 (scores are not kept)."""
        span = slice(frames[0], frames[-1] + 1)
        masks, *state = (
            torch.from_numpy(np.array(x[span, query])).float().to(device)[None, :, None]
            for x in self.arrays
        )
        return LayerPred(masks.new_zeros(1, len(frames), 1, 1), masks, state=tuple(state))


@contextmanager
def track(
    predictor: Predictor,
    frame_of: FrameOf,
    num_frames: int,
    sentences: Sequence[tuple[str, str]],
    chunk: int | None,
    protocol: str,
    scratch: Path | None = None,
) -> Iterator[list[Trajectory]]:
    """Follow several (long, short) expressions through one video; valid inside the `with` block.

    The visual encoder runs once per chunk, whatever the number of expressions (twice where the
    pipeline refines the chosen query and there are several chunks).

    Args:
        chunk: frames at once; None: the whole video, as published.
        protocol: whose mask rule counts, such as davis.
        scratch: where the temporary files go; None: the system's temporary folder.
    """
    if scratch is not None:
        scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="losh-", dir=scratch) as folder:
        yield _Tracking(predictor, frame_of, num_frames, chunk or num_frames, protocol).run(
            sentences, Path(folder)
        )


class _Tracking:
    """One video's way through the network."""

    def __init__(
        self, predictor: Predictor, frame_of: FrameOf, frames: int, chunk: int, protocol: str
    ) -> None:
        self.predictor, self.frame_of, self.frames = predictor, frame_of, frames
        self.pieces = chunks(frames, chunk)
        self.size = predictor.input_size.size_of(*frame_of(0).shape[:2])
        self.base: RVOSPipeline = predictor.model.base
        self.mask_rule = self.base.mask_rule(protocol)
        self.device = predictor.texts.device
        self.refines = type(self.base).refine is not RVOSPipeline.refine

    def run(self, sentences: Sequence[tuple[str, str]], folder: Path) -> list[Trajectory]:
        """Return a trajectory per sentence; their logits lie in `folder`."""
        model, rule = self.predictor.model, self.predictor.rule
        streams = 2 if model.short_stream and rule != "long" else 1
        exact = len(self.pieces) == 1
        waiting = [
            [_Waiting(folder, f"{i}-{s}", self.frames, exact) for s in range(streams)]
            for i in range(len(sentences))
        ]
        scores = np.zeros((len(sentences), self.frames, self.base.num_queries), np.float32)
        kept: VideoFeats | None = None
        for piece, (clips, video) in self._encoded():
            for i, (long, short) in enumerate(sentences):
                output = self.predictor.run(clips, [long], [short], video)
                layers = [output.long[-1], *([output.short[-1]] if output.short else [])][:streams]
                joint = joined([self.base.referred_prob(layer) for layer in layers], rule)[0]
                scores[i, piece[0] : piece[-1] + 1] = joint.float().cpu().numpy()
                for store, layer in zip(waiting[i], layers, strict=True):
                    store.put(piece[0], layer)
            kept = video if exact else None
            padded = size_of(clips.frames.shape[-2:])
        tracks = [
            Trajectory(one, padded, self.size, self.predictor, self.mask_rule) for one in scores
        ]
        self._finish(tracks, waiting, kept, folder)
        return tracks

    def _encoded(self) -> Iterator[tuple[list[int], tuple[Clips, VideoFeats]]]:
        """Each chunk's frames with their features; the next chunk is decoded meanwhile."""
        with closing(read_ahead(map(self._images, self.pieces), AHEAD)) as ready:
            for piece, images in zip(self.pieces, ready, strict=True):
                yield piece, self._features(images)

    def _images(self, piece: list[int]) -> np.ndarray:
        resize = self.predictor.input_size.resize
        return np.stack([resize(self.frame_of(t), self.size) for t in piece])

    @torch.no_grad()
    def _features(self, images: np.ndarray) -> tuple[Clips, VideoFeats]:
        multiple = self.base.image_multiple(training=False)
        pixels, pad = pad_frames([torch.from_numpy(images)], self.device, multiple)
        clips = Clips(pixels, pad, torch.arange(len(images), device=self.device)[None])
        self.predictor.model.eval()
        with self.predictor.autocast(self.device):
            return clips, self.base.encode_video(pixels, pad)

    @torch.no_grad()
    def _finish(
        self,
        tracks: list[Trajectory],
        waiting: list[list[_Waiting]],
        kept: VideoFeats | None,
        folder: Path,
    ) -> None:
        """Give each trajectory the logits of its chosen query, refined where the pipeline does."""
        if not self.refines:
            for track_, stores in zip(tracks, waiting, strict=True):
                track_.logits = [store.arrays[0][:, track_.query] for store in stores]
            return
        first = torch.zeros(1, dtype=torch.long, device=self.device)
        # One chunk's features are still there.
        again = self._encoded() if kept is None else iter([(self.pieces[0], (None, kept))])
        for piece, (_, video) in again:
            for i, (track_, stores) in enumerate(zip(tracks, waiting, strict=True)):
                for s, store in enumerate(stores):
                    pred = store.get(piece, track_.query, self.device)
                    with self.predictor.autocast(self.device):
                        final = self.base.refine(pred, first, first, video)[0]  # [K, h, w]
                    if len(track_.logits) == s:
                        path, shape = folder / f"{i}-{s}.raw", (self.frames, *final.shape[1:])
                        track_.logits.append(new_array(path, np.dtype(np.float32), shape))
                    track_.logits[s][piece[0] : piece[-1] + 1] = final.float().cpu().numpy()
