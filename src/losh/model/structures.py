"""What the parts of the model hand to each other: clips, features, tokens, predictions, targets.

Everything is batch-major, and in every padding mask True = padding.

Shape letters: B clips, E expressions, T frames, K annotated frames, N queries, S words or tokens,
C channels, H W pixels, h w cells, M rows of the transformer (a frame of an expression each).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from losh.backbones.attention_windows import Frames


class _Movable:
    """A dataclass of tensors that follows its model to a device."""

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """Return the same with every tensor on `device`."""
        # Only the subclasses are dataclasses, which the type checker cannot know.
        values = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        return type(self)(
            **{
                k: v.to(device, non_blocking=non_blocking) if isinstance(v, Tensor) else v
                for k, v in values.items()
            }
        )


@dataclass(frozen=True)
class Clips(_Movable):
    """A batch of windows, padded at the bottom and on the right to one size."""

    frames: Tensor
    """[B, T, 3, H, W] float, normalised; zeros where padded."""
    pad: Tensor
    """[B, T, H, W] bool."""
    annotated: Tensor
    """[B, K] long: the frames of the window that have targets (or are to be predicted)."""
    rows: Tensor | None = None
    """[E] long: the clip of each of E expressions, where expressions share clips; None: one
    expression per clip, in order."""
    read: Frames | None = None
    """Of each clip the frames whose features are read: the annotated ones, and those that losses
    compare them with. What only others would need is not computed. None: all."""


@dataclass(frozen=True)
class VideoFeats:
    """Features of the visual encoder, finest level first."""

    levels: list[Tensor]
    """Each [B, T, Ci, Hi, Wi]; NaN in frames that are not computed since nothing reads them."""
    pads: list[Tensor]
    """Each [B, T, Hi, Wi] bool."""
    strides: list[int]
    """Pixels of the network input that a cell of each level spans."""
    pad: Tensor
    """[B, T, H, W] bool, of the network input."""
    maps: list[Tensor] = field(default_factory=list)
    """Each [B, T, C, h, w], finest first: what a pipeline makes of the levels before any words are
    brought in, where it does so in `select_frames` and keeps the levels too.
    """

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the padded network input."""
        height, width = self.pad.shape[-2:]
        return height, width

    @property
    def clip_sizes(self) -> Tensor:
        """Height and width of each clip in the network input, without padding: long [B, 2]."""
        inside = ~self.pad[:, 0]
        return torch.stack([inside.any(2).sum(1), inside.any(1).sum(1)], 1)

    def repeat_batch(self, times: int) -> VideoFeats:
        """Repeat the clips: [B, ...] -> [times * B, ...], whole batch after whole batch."""
        return self._each(lambda x: x.repeat(times, *[1] * (x.ndim - 1)))

    def pick(self, clips: Tensor) -> VideoFeats:
        """Take the clips that `clips` [E] (long) names, in its order: [B, ...] -> [E, ...]."""
        return self._each(lambda x: x[clips])

    def select(self, frames: Tensor) -> VideoFeats:
        """Keep frames [B, K] (long) of each clip: [B, T, ...] -> [B, K, ...]."""
        rows = torch.arange(frames.shape[0], device=frames.device)[:, None]
        return self._each(lambda x: x[rows, frames])

    def _each(self, change: Callable[[Tensor], Tensor]) -> VideoFeats:
        levels, pads, maps = (
            [change(x) for x in several] for several in (self.levels, self.pads, self.maps)
        )
        return replace(self, levels=levels, pads=pads, pad=change(self.pad), maps=maps)


@dataclass(frozen=True)
class TextIds(_Movable):
    """A batch of tokenised sentences."""

    ids: Tensor
    """[B, S] long."""
    mask: Tensor
    """[B, S]: 1 or True = a word, 0 = padding (the tokenizer's attention mask, so NOT a padding
    mask)."""


@dataclass(frozen=True)
class TextFeats(_Movable):
    """Word features of a batch of sentences.

    The encoder's raw ones (which may be cached) or projected ones.
    """

    words: Tensor
    """[B, S, D]."""
    pad: Tensor
    """[B, S] bool."""
    sentence: Tensor | None = None
    """[B, D] for pipelines that use a sentence vector, else None."""

    @staticmethod
    def join(first: TextFeats, second: TextFeats) -> TextFeats:
        """Join two batches, [B1, S1, D] and [B2, S2, D] -> [B1 + B2, max(S1, S2), D].

        The shorter one is padded with zeros.
        """
        length = max(first.pad.shape[1], second.pad.shape[1])
        words = [F.pad(t.words, (0, 0, 0, length - t.words.shape[1])) for t in (first, second)]
        pads = [F.pad(t.pad, (0, length - t.pad.shape[1]), value=True) for t in (first, second)]
        sentence = None
        if first.sentence is not None and second.sentence is not None:
            sentence = torch.cat([first.sentence, second.sentence])
        return TextFeats(torch.cat(words), torch.cat(pads), sentence)


@dataclass(frozen=True)
class Tokens:
    """The transformer encoder's input: M = B * K rows, one per frame of an expression.

    Expressions are outermost.
    """

    x: Tensor
    """[M, S, D]."""
    pos: Tensor
    """[M, S, D] position code, added to queries and keys; zeros on text tokens."""
    pad: Tensor
    """[M, S] bool."""
    shapes: list[tuple[int, int]]
    """(h, w) of each visual level in the sequence, finest first."""
    n_visual: int
    """How many of the S tokens are visual; they come first."""
    extra: tuple[Tensor, ...] = ()
    """What the pipeline's own layers read besides, each [M, ...] (valid ratios, for instance)."""

    def halves(self) -> tuple[Tokens, Tokens]:
        """Split a doubled batch into (long, short)."""
        parts = [x.chunk(2) for x in (self.x, self.pos, self.pad, *self.extra)]
        long, short = (
            replace(self, x=part[0], pos=part[1], pad=part[2], extra=tuple(part[3:]))
            for part in zip(*parts, strict=True)
        )
        return long, short


@dataclass(frozen=True)
class LayerPred:
    """What one decoder layer predicts, in float32 whatever the precision of the layers before."""

    scores: Tensor
    """[B, K, N, classes] logits; the pipeline decides what the classes are."""
    masks: Tensor
    """[B, K, N, h, w] logits, by which queries are matched.

    They are final where the pipeline does not refine them.
    """
    boxes: Tensor | None = None
    """[B, K, N, 4] centre x, centre y, width, height as parts of the clip; None without boxes."""
    state: tuple[Tensor, ...] = ()
    """What the pipeline's `refine` needs besides, each [B, K, N, ...]."""

    def halves(self) -> tuple[LayerPred, LayerPred]:
        """Split a doubled batch into (long, short)."""
        boxes = (None, None) if self.boxes is None else self.boxes.chunk(2)
        states = zip(*(x.chunk(2) for x in self.state), strict=True) if self.state else ((), ())
        parts = zip(self.scores.chunk(2), self.masks.chunk(2), boxes, states, strict=True)
        long, short = (LayerPred(*part) for part in parts)
        return long, short


@dataclass(frozen=True)
class LoShOutput:
    """Predictions of both streams."""

    long: list[LayerPred]
    """One per decoder layer; the last is the prediction."""
    short: list[LayerPred] | None
    """The same of the short stream; None where it is switched off."""
    video: VideoFeats
    """All T frames, each clip once, straight from the visual encoder (the consistency loss reads
    them)."""
    annotated: Tensor
    """[B, K] long: which frames of `video` the predictions are of."""
    selected: VideoFeats
    """The K annotated frames of each of the E expressions: what `refine` reads."""
    encoder: list[tuple[Tensor, ...]]
    """Per stream what the pipeline keeps of its encoder for losses of its own."""


@dataclass(frozen=True)
class Targets(_Movable):
    """Ground truth of one expression on its clip."""

    masks: Tensor
    """[n, K, H_i, W_i] bool: all n instances, at the clip's own size in the network input (without
    padding). n may be 0. A pipeline may replace them by its own grid's, float in 0 to 1."""
    referred: int
    """Index of the referred instance; -1 where there is none."""
    visible: Tensor
    """[K] bool: in which annotated frames the referred instance is visible."""


@dataclass(frozen=True)
class ClipFlow(_Movable):
    """Flow between annotated frames and their neighbours, on the padded network input at stride 4.

    It is in pixels of that grid.

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
"""An expression's matching: (query [P] long, instance [P] long)."""


def size_of(shape: Sequence[int]) -> tuple[int, int]:
    """Return a shape of two numbers, rows and columns, as a pair."""
    height, width = shape
    return height, width


@dataclass(frozen=True)
class FrameSizes:
    """The three sizes that a mask passes on its way back, each (height, width) in pixels."""

    padded: tuple[int, int]
    """Of the network's input, padding included."""
    clip: tuple[int, int]
    """Of the clip in it, without padding."""
    original: tuple[int, int]
    """Of the original frame or its annotation."""
