"""What LoSh and a base pipeline tell each other: the data of a clip, the predictions, and the
abstract base.

LoSh doubles the batch between `encode_video` and `fuse` (long stream first), hooks into the layers
of `encode`, and reads predictions as `LayerPred`; it knows nothing else of the pipeline that it
wraps. Everything is batch-major, and in every padding mask True = padding.

Shape letters: B clips, T frames, K annotated frames, N queries, S words or tokens, C channels, H W
pixels, h w cells.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    pass


class _Movable:
    """A dataclass of tensors that follows its model to a device."""

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """The same with every tensor on `device`."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        return type(self)(
            **{
                k: v.to(device, non_blocking=non_blocking) if isinstance(v, Tensor) else v
                for k, v in values.items()
            }
        )


@dataclass(frozen=True)
class Clips(_Movable):
    """A batch of windows, padded at the bottom and on the right to its largest clip."""

    frames: Tensor
    """[B, T, 3, H, W] float, normalised; zeros where padded."""
    pad: Tensor
    """[B, T, H, W] bool."""
    annotated: Tensor
    """[B, K] long: the frames of the window that have targets (or are to be predicted)."""
    rows: Tensor | None = None
    """[E] long: the clip of each of E expressions, where expressions share clips; None: one
    expression a clip, in order.
    """


@dataclass(frozen=True)
class VideoFeats:
    """Features of the visual encoder, finest level first."""

    levels: list[Tensor]
    """Each [B, T, Ci, Hi, Wi]."""
    pads: list[Tensor]
    """Each [B, T, Hi, Wi] bool."""
    strides: list[int]
    """Pixels of the network input that a cell of each level spans."""
    size: tuple[int, int]
    """(H, W) of the padded network input."""

    def repeat_batch(self, times: int) -> VideoFeats:
        """The same clips `times` over: [B, ...] -> [times * B, ...], whole batch after whole
        batch.
        """
        return VideoFeats(
            [x.repeat(times, 1, 1, 1, 1) for x in self.levels],
            [x.repeat(times, 1, 1, 1) for x in self.pads],
            self.strides,
            self.size,
        )

    def pick(self, clips: Tensor) -> VideoFeats:
        """The clips [E] (long) names, in its order: [B, ...] -> [E, ...]."""
        return VideoFeats(
            [x[clips] for x in self.levels], [x[clips] for x in self.pads], self.strides, self.size
        )

    def select(self, frames: Tensor) -> VideoFeats:
        """Keep frames [B, K] (long) of each clip: [B, T, ...] -> [B, K, ...]."""
        rows = torch.arange(frames.shape[0], device=frames.device)[:, None]
        return VideoFeats(
            [x[rows, frames] for x in self.levels],
            [x[rows, frames] for x in self.pads],
            self.strides,
            self.size,
        )


@dataclass(frozen=True)
class TextIds(_Movable):
    """A batch of tokenised sentences."""

    ids: Tensor
    """[B, S] long."""
    mask: Tensor
    """[B, S]: 1 or True = a word, 0 = padding (the tokenizer's attention mask, so NOT a padding
    mask).
    """


@dataclass(frozen=True)
class TextFeats(_Movable):
    """Word features of a batch of sentences: the encoder's raw ones (which may be cached) or
    projected ones.
    """

    words: Tensor
    """[B, S, D]."""
    pad: Tensor
    """[B, S] bool."""
    sentence: Tensor | None = None
    """[B, D] for pipelines that use a sentence vector; None for MTTR."""

    @staticmethod
    def join(first: TextFeats, second: TextFeats) -> TextFeats:
        """Two batches as one, [B1, S1, D] and [B2, S2, D] -> [B1 + B2, max(S1, S2), D]; the shorter
        is padded with zeros.
        """
        length = max(first.pad.shape[1], second.pad.shape[1])
        words = [F.pad(t.words, (0, 0, 0, length - t.words.shape[1])) for t in (first, second)]
        pads = [F.pad(t.pad, (0, length - t.pad.shape[1]), value=True) for t in (first, second)]
        sentence = (
            torch.cat([first.sentence, second.sentence])
            if first.sentence is not None and second.sentence is not None
            else None
        )
        return TextFeats(torch.cat(words), torch.cat(pads), sentence)


@dataclass(frozen=True)
class Tokens:
    """The transformer encoder's input: one row a frame of a clip, M = B * K rows, clips
    outermost.
    """

    x: Tensor
    """[M, S, D]."""
    pos: Tensor
    """[M, S, D] position code, added to queries and keys; zeros on text tokens."""
    pad: Tensor
    """[M, S] bool."""
    shapes: list[tuple[int, int]]
    """(h, w) of each visual level in the sequence."""
    n_visual: int
    """How many of the S tokens are visual; they come first."""


@dataclass(frozen=True)
class LayerPred:
    """What one decoder layer predicts. Always float32, whatever the precision of the layers
    before.
    """

    scores: Tensor
    """[B, K, N, 2] logits; class 0 = the referred object (MTTR)."""
    masks: Tensor
    """[B, K, N, h, w] logits at the finest level."""
    boxes: Tensor | None = None
    """[B, K, N, 4] cxcywh; None for MTTR."""
    state: Any = None
    """What `refine` needs of the pipeline's own."""

    def halves(self) -> tuple[LayerPred, LayerPred]:
        """Split a doubled batch into (long, short). `state` must be None or split by the pipeline
        itself.
        """
        boxes = self.boxes.chunk(2) if self.boxes is not None else (None, None)
        long, short = (
            LayerPred(*part, self.state)
            for part in zip(self.scores.chunk(2), self.masks.chunk(2), boxes, strict=True)
        )
        return long, short


@dataclass(frozen=True)
class LoShOutput:
    """Predictions of both streams."""

    long: list[LayerPred]
    """One a decoder layer; the last is the prediction."""
    short: list[LayerPred] | None
    """The same of the short stream; None where it is switched off."""
    video: VideoFeats
    """All T frames, each clip once, straight from the visual encoder (the consistency loss reads
    them).
    """
    annotated: Tensor
    """[B, K] long: which frames of `video` the predictions are of."""
    token_scores: list[Tensor] | None = None
    """Of the long and, where it is on, the short stream: what `token_scores` gives; None for
    pipelines without it.
    """


@dataclass(frozen=True)
class Targets(_Movable):
    """Ground truth of one clip."""

    masks: Tensor
    """[n, K, H_i, W_i] bool: all n instances, at the clip's own size in the network input (without
    padding). n may be 0. The criterion may replace them by the part of each cell of a coarser grid
    that they cover, float in 0 to 1.
    """
    referred: int
    """Index of the referred instance; -1 where there is none."""
    visible: Tensor
    """[K] bool: in which annotated frames the referred instance is visible."""


@dataclass(frozen=True)
class ClipFlow(_Movable):
    """Flow between annotated frames and their neighbours, on the padded network input at stride 4,
    in pixels of that grid.

    Axis 2 of size 2 is (previous, next) neighbour; the flow's channel is u (to the right), then v
    (down).
    """

    forward: Tensor
    """[B, K, 2, 2, h, w] from the annotated frame to the neighbour."""
    backward: Tensor
    """[B, K, 2, 2, h, w] from the neighbour to the annotated frame."""
    neighbour: Tensor
    """[B, K, 2] long: the neighbour's place in the window (any number where not valid)."""
    valid: Tensor
    """[B, K, 2] bool: whether there is such a neighbour and a flow for it."""


Indices = tuple[Tensor, Tensor]
"""A clip's matching: (query [P] long, instance [P] long)."""
