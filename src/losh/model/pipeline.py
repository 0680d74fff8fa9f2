"""What a base pipeline answers for: all that LoSh, criterion, inference and trainer know of one.

A pipeline has three parts: the network (`RVOSPipeline`), what its training compares (`Objective`),
and its way from mask logits to masks of the original size (`MaskRule`). LoSh doubles the batch
between `encode_video` and `fuse` (long stream first) and hooks into the layers of `encode`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from losh.backbones.attention_windows import Frames
from losh.backbones.backbone import Backbone
from losh.model.structures import (
    FrameSizes,
    Indices,
    LayerPred,
    Targets,
    TextFeats,
    TextIds,
    Tokens,
    VideoFeats,
)
from losh.model.text_encoder import TextEncoder
from losh.params import PipelineParams

Hook = Callable[[int, Tensor, Tokens], Tensor]
"""Called after encoder layer i with (i, x [M, S, D], tokens); its result goes to the next layer."""


class Objective(ABC):
    """What one stream's training compares: targets, matching costs, losses. It has no weights.

    Attributes:
        weights: of each loss that is computed; one of weight 0 is absent.
        divisors: which count (a key of `count`) each loss is divided by.
        encoder_streams: how many streams have `encoder_losses`: both, or the long one alone.
    """

    weights: dict[str, float]
    divisors: dict[str, str]
    encoder_streams: Literal[1, 2] = 2

    @abstractmethod
    def count(self, targets: list[Targets]) -> dict[str, float]:
        """Count what the losses are divided by, in a (micro-)batch of raw targets.

        Counts of devices and parts add up. `pairs`, by which the intersection loss is divided, is
        among them.
        """

    @abstractmethod
    def prepare_targets(self, targets: list[Targets], size: tuple[int, int]) -> list[Targets]:
        """Turn raw targets into the pipeline's own: which instances, boxes, the grid of masks.

        Args:
            targets: one per expression, as the data gives them.
            size: (H, W) of the padded network input.
        """

    @abstractmethod
    def comparison_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns at which two streams' masks are compared, for an input of `size`."""

    def intersects(self, target: Targets) -> Tensor:
        """Say in which frames the two streams' masks are held against each other, bool [K].

        The target is a prepared one. The frames count in the matching and in the intersection loss.
        In all by default (released).
        """
        return torch.ones_like(target.visible)

    @abstractmethod
    def match_cost(
        self, pred: LayerPred, targets: list[Targets], size: tuple[int, int]
    ) -> list[Tensor]:
        """Compute one stream's share of the matching cost: [N, n] per expression.

        Args:
            targets: prepared ones.
            size: (H, W) of the padded network input.
        """

    @abstractmethod
    def losses(
        self,
        pred: LayerPred,
        masks: Tensor,
        targets: list[Targets],
        indices: list[Indices],
        size: tuple[int, int],
    ) -> dict[str, Tensor]:
        """Compute one stream's losses in one decoder layer, as SUMS that the criterion divides.

        Args:
            masks: refined logits of the matched queries [P, K, h, w], in the order of `indices`.
            targets: prepared ones.
        """

    def encoder_losses(
        self, kept: tuple[Tensor, ...], targets: list[Targets], strides: list[int]
    ) -> dict[str, Tensor]:
        """Compute losses on what `encoder_outputs` kept of one stream, as sums; none by default.

        Args:
            targets: raw ones.
            strides: of the visual encoder's levels.
        """
        return {}


class MaskRule(ABC):
    """A pipeline's published way from mask logits to a mask of the original frame's size.

    It is in two steps, because the joint rules of inference act on the probabilities between them.
    """

    @abstractmethod
    def probabilities(self, logits: Tensor, sizes: FrameSizes) -> Tensor:
        """Turn refined logits [P, h, w] into probabilities [P, ., .] on the grid that decides."""

    @abstractmethod
    def masks(self, probabilities: Tensor, sizes: FrameSizes, threshold: float) -> Tensor:
        """Cut probabilities of `probabilities`' grid into masks, bool [P, H0, W0]."""

    @abstractmethod
    def at_original(self, probabilities: Tensor, sizes: FrameSizes) -> Tensor:
        """Bring probabilities to the original size [P, H0, W0].

        For protocols that compare objects (Refer-DAVIS17).
        """


class RVOSPipeline(nn.Module, ABC):
    """A base pipeline for referring video object segmentation. `B` below may be a doubled batch.

    `PipelineClass` says what the constructor of a pipeline takes.
    """

    uses_sentence: ClassVar[bool] = False
    """Whether it reads the text encoder's pooled sentence vector."""
    min_side: int = 1
    """The smallest side of an input that it takes, in pixels."""
    text_encoder: TextEncoder | None
    """None where the pipeline was built to take features alone."""
    backbone: Backbone

    def __init__(self, params: PipelineParams) -> None:
        super().__init__()
        self.params = params
        self.d_model, self.num_heads = params.d_model, params.num_heads
        self.dropout, self.num_queries = params.dropout, params.num_queries

    @staticmethod
    def image_multiple(training: bool) -> int:
        """Return what the sides of a padded input are multiples of, in pixels."""
        return 1

    @staticmethod
    def folds_text(protocol: str, training: bool) -> bool:
        """Whether sentences are lower-cased and their white space folded before the tokenizer.

        Args:
            protocol: a2d, youtube_vos, davis, refcoco or mevis.
        """
        return True

    @abstractmethod
    def encode_video(self, frames: Tensor, pad: Tensor, read: Frames | None = None) -> VideoFeats:
        """Encode frames [B, T, 3, H, W] with pad [B, T, H, W] -> features of all T frames.

        Args:
            read: which frames of each clip will be read, for the backbone; None: all.
        """

    def select_frames(
        self, video: VideoFeats, annotated: Tensor, rows: Tensor | None = None
    ) -> VideoFeats:
        """Drop the frames without annotation, and repeat each clip for its expressions.

        Args:
            video: [B, T, ...].
            annotated: [B, K] long.
            rows: [E] long, the clip of each expression; None: one expression per clip.

        Returns:
            Features [E, K, ...].
        """
        video = video.select(annotated)
        return video if rows is None else video.pick(rows)

    def tokens_to_features(self, tokens: TextIds) -> TextFeats:
        """Run the text encoder; ValueError where the pipeline was built without one."""
        if self.text_encoder is None:
            raise ValueError("this model has no text encoder: give it the features of texts")
        return self.text_encoder(tokens.ids, tokens.mask)

    @abstractmethod
    def encode_text(self, text: TextIds | TextFeats) -> TextFeats:
        """Return word features of width d_model.

        From tokens, or from features that the text encoder made before.
        """

    @abstractmethod
    def fuse(self, video: VideoFeats, text: TextFeats) -> Tokens:
        """Make the encoder's input, from K frames per expression."""

    @abstractmethod
    def encode(self, tokens: Tokens, hook: Hook | None = None) -> Tensor:
        """Run the transformer encoder -> memory [M, S, D]; `hook` runs after each layer."""

    @abstractmethod
    def new_encoder_layer(self) -> nn.Module:
        """Make an encoder layer with fresh weights: the short stream's own in a cross block."""

    @abstractmethod
    def run_encoder_layer(self, layer: nn.Module, x: Tensor, tokens: Tokens) -> Tensor:
        """Run one encoder layer on x [M, S, D]; positions and padding are those of `tokens`."""

    def encoder_outputs(self, memory: Tensor, tokens: Tokens, clips: int) -> tuple[Tensor, ...]:
        """Keep what the objective's `encoder_losses` read, each [B, ...] with B = `clips`."""
        return ()

    @abstractmethod
    def decode(
        self,
        memory: Tensor,
        tokens: Tokens,
        video: VideoFeats,
        text: TextFeats,
        last_only: bool = False,
    ) -> list[LayerPred]:
        """Run object queries, heads and masks: one prediction per decoder layer.

        Args:
            last_only: the others will not be read, and may be left out.
        """

    def refine(self, pred: LayerPred, rows: Tensor, queries: Tensor, video: VideoFeats) -> Tensor:
        """Return the final mask logits of chosen queries; by default those of `pred`.

        Args:
            rows: [P] long, the expression of each.
            queries: [P] long.
            video: features of the K frames of each expression.

        Returns:
            [P, K, h, w].
        """
        return pred.masks[rows, :, queries]

    @abstractmethod
    def referred_prob(self, pred: LayerPred) -> Tensor:
        """Return the probability that a query is the referred object, [B, K, N]."""

    @abstractmethod
    def objective(self) -> Objective:
        """Return what training compares, by the weights of the pipeline's section."""

    @abstractmethod
    def mask_rule(self, protocol: str) -> MaskRule:
        """Return the published mask rule of a protocol (see `folds_text`)."""


class PipelineClass(Protocol):
    """The class of a pipeline, as `losh.pipelines.pipeline_class` finds it."""

    uses_sentence: bool

    def __call__(
        self,
        params: Any,
        backbone: Backbone,
        text_encoder: TextEncoder | None,
        text_width: int,
    ) -> RVOSPipeline:
        """Make the network.

        Args:
            params: the pipeline's own section of params.yaml, of its class `Parameters`.
            text_encoder: None: `encode_text` takes features alone.
            text_width: width of the text encoder's features.
        """
