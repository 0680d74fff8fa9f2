"""The abstract base pipeline: all that LoSh, the criterion, inference and the trainer know of
one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor, nn

from losh.model.structures import (
    Indices,
    LayerPred,
    Targets,
    TextFeats,
    TextIds,
    Tokens,
    VideoFeats,
)
from losh.params import LossParams

Hook = Callable[[int, Tensor, Tokens], Tensor]
"""Called after encoder layer i with (i, x [M, S, D], tokens); what it returns goes to the next
layer.
"""


class RVOSPipeline(nn.Module, ABC):
    """A base pipeline for referring video object segmentation. `B` below may be a doubled batch."""

    d_model: int
    num_heads: int
    ffn_dim: int
    dropout: float
    num_queries: int
    image_multiple: int = 1
    """The network input's sides must be multiples of this; MTTR pads by itself."""
    min_side: int = 1
    """The smallest side that the pipeline takes, in pixels."""

    @abstractmethod
    def encode_video(self, frames: Tensor, pad: Tensor) -> VideoFeats:
        """Visual encoder: frames [B, T, 3, H, W] and pad [B, T, H, W] -> features of all T
        frames.
        """

    def select_frames(self, video: VideoFeats, annotated: Tensor) -> VideoFeats:
        """Drop the frames that have no annotation: annotated [B, K] -> features of K frames."""
        return video.select(annotated)

    @abstractmethod
    def encode_text(self, text: TextIds | TextFeats) -> TextFeats:
        """Word features of width d_model, from tokens or from features that the text encoder made
        before.
        """

    @abstractmethod
    def fuse(self, video: VideoFeats, text: TextFeats) -> Tokens:
        """The encoder's input, from K frames a clip."""

    @abstractmethod
    def encode(self, tokens: Tokens, hook: Hook | None = None) -> Tensor:
        """Transformer encoder -> memory [M, S, D]; `hook` runs after each layer."""

    @abstractmethod
    def decode(
        self, memory: Tensor, tokens: Tokens, video: VideoFeats, text: TextFeats
    ) -> list[LayerPred]:
        """Object queries, heads and masks: one prediction a decoder layer."""

    def token_scores(self, memory: Tensor, tokens: Tokens, clips: int) -> Tensor | None:
        """What the encoder's visual cells say of the expression: logits [B, K, h, w, 2] as in
        `LayerPred.scores`, for B = `clips`.

        None: the pipeline has no such thing, and `train.losses.encoder_reference` cannot be used
        with it.
        """
        return None

    @abstractmethod
    def refine(self, pred: LayerPred, query: Tensor) -> Tensor:
        """Final mask logits [B, K, h, w] of one query a clip, `query` [B] long."""

    @classmethod
    @abstractmethod
    def referred_prob(cls, pred: LayerPred) -> Tensor:
        """[B, K, N]: probability that a query is the referred object."""

    @classmethod
    @abstractmethod
    def match_cost(
        cls, pred: LayerPred, targets: list[Targets], size: tuple[int, int]
    ) -> list[Tensor]:
        """One stream's share of the matching cost: [N, n] a clip, at the network's `size`."""

    @classmethod
    @abstractmethod
    def stream_losses(
        cls,
        pred: LayerPred,
        targets: list[Targets],
        indices: list[Indices],
        size: tuple[int, int],
        params: LossParams,
    ) -> dict[str, Tensor]:
        """One stream's losses as SUMS (of pairs or frames), by name; the criterion divides them by
        its counts.
        """

    @classmethod
    @abstractmethod
    def weights(cls, params: LossParams) -> dict[str, float]:
        """The losses that the pipeline has, each with its weight."""
