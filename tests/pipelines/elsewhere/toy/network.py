"""The toy pipeline: boxes, one target, a sigmoid score, and refinement from the finest features."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losh.model.mask_losses import dice_loss, resized, target_masks
from losh.model.pipeline import Hook, MaskRule, Objective, RVOSPipeline
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

from .parameters import Losses, Parameters


@dataclass(frozen=True)
class OneTarget(Targets):
    """The referred instance alone, with its boxes."""

    boxes: Tensor
    """[K, 4] centre x, centre y, width, height as parts of the input."""


class ToyMaskRule(MaskRule):
    """Padding off, logits bilinear straight to the original size."""

    def probabilities(self, logits: Tensor, sizes: FrameSizes) -> Tensor:
        (height, width), (padded, _) = sizes.clip, sizes.padded
        stride = padded / logits.shape[-2]
        cut = logits[:, None, : round(height / stride), : round(width / stride)]
        return resized(cut, sizes.original).sigmoid()[:, 0]

    def masks(self, probabilities: Tensor, sizes: FrameSizes, threshold: float) -> Tensor:
        return probabilities > threshold

    def at_original(self, probabilities: Tensor, sizes: FrameSizes) -> Tensor:
        return probabilities


class ToyObjective(Objective):
    """One target per expression."""

    divisors = {"score": "frames", "box": "frames", "dice": "frames"}  # noqa: RUF012

    def __init__(self, losses: Losses) -> None:
        self.weights = {name: value for name, value in losses if value}

    def count(self, targets: list[Targets]) -> dict[str, float]:
        frames = float(sum(len(t.visible) for t in targets))
        return {"frames": frames, "pairs": frames}

    def prepare_targets(self, targets: list[Targets], size: tuple[int, int]) -> list[Targets]:
        prepared = []
        for target in targets:
            chosen = [target.referred] if target.referred >= 0 else []
            masks = target_masks(target, size)[chosen]  # [0 or 1, K, H, W]
            boxes = masks.new_zeros(masks.shape[1], 4)
            for k in range(masks.shape[1]):
                if chosen and masks[0, k].any():
                    rows, columns = masks[0, k].nonzero(as_tuple=True)
                    x, y = columns.float() / size[1], rows.float() / size[0]
                    boxes[k] = torch.stack(
                        [x.mean(), y.mean(), x.max() - x.min(), y.max() - y.min()]
                    )
            prepared.append(OneTarget(masks, 0 if chosen else -1, target.visible, boxes))
        return prepared

    def comparison_size(self, size: tuple[int, int]) -> tuple[int, int]:
        return size[0] // 4, size[1] // 4

    def match_cost(
        self, pred: LayerPred, targets: list[Targets], size: tuple[int, int]
    ) -> list[Tensor]:
        costs = []
        for scores, boxes, target in zip(pred.scores, pred.boxes, targets, strict=True):
            apart = (boxes - target.boxes[:, None]).abs().sum(-1)  # [K, N]
            cost = apart.mean(0) - scores[..., 0].sigmoid().mean(0)
            costs.append(cost[:, None].expand(-1, len(target.masks)))
        return costs

    def losses(
        self,
        pred: LayerPred,
        masks: Tensor,
        targets: list[Targets],
        indices: list[Indices],
        size: tuple[int, int],
    ) -> dict[str, Tensor]:
        positive = torch.zeros_like(pred.scores[..., 0])
        boxes, truths = pred.scores.new_zeros(()), []
        for b, (target, (query, instance)) in enumerate(zip(targets, indices, strict=True)):
            if len(query):
                positive[b, :, query[0]] = target.visible.float()
                boxes = boxes + (pred.boxes[b, :, query[0]] - target.boxes).abs().sum()
                truths.append(target.masks[instance])
        scores = F.binary_cross_entropy_with_logits(pred.scores[..., 0], positive, reduction="sum")
        sums = {"score": scores, "box": boxes}
        truth = torch.cat(truths).flatten(0, 1) if truths else masks.flatten(0, 1)
        whole = resized(masks.flatten(0, 1)[:, None], size)[:, 0]
        sums["dice"] = dice_loss(whole, truth) if truths else whole.sum() * 0
        return {name: value for name, value in sums.items() if name in self.weights}


class Toy(RVOSPipeline):
    """See `losh.model.pipeline.RVOSPipeline`."""

    min_side = 32

    def __init__(
        self,
        params: Parameters,
        backbone: nn.Module,
        text_encoder: nn.Module | None,
        text_width: int,
    ) -> None:
        super().__init__(params)
        width = params.d_model
        self.visual = nn.Conv2d(backbone.channels[-1], width, 1)
        self.words = nn.Linear(text_width, width)
        self.layers = nn.ModuleList(self.new_encoder_layer() for _ in range(params.encoder_layers))
        self.queries = nn.Embedding(params.num_queries, width)
        self.score, self.box = nn.Linear(width, 1), nn.Linear(width, 4)
        self.kernel = nn.Linear(width, backbone.channels[0])
        self.gain = nn.Parameter(torch.ones(()))  # refine's own weight
        self.backbone, self.text_encoder = backbone, text_encoder

    @staticmethod
    def image_multiple(training: bool) -> int:
        return 32 if training else 16

    def encode_video(
        self, frames: Tensor, pad: Tensor, read: tuple[tuple[int, ...], ...] | None = None
    ) -> VideoFeats:
        levels = self.backbone(frames, read)
        pads = [F.interpolate(pad.float(), size=x.shape[-2:]) > 0.5 for x in levels]
        return VideoFeats(levels, pads, list(self.backbone.strides), pad)

    def encode_text(self, text: TextIds | TextFeats) -> TextFeats:
        raw = self.text_encoder(text.ids, text.mask) if isinstance(text, TextIds) else text
        return replace(raw, words=self.words(raw.words))

    def fuse(self, video: VideoFeats, text: TextFeats) -> Tokens:
        frames, shape = video.levels[-1].shape[1], video.levels[-1].shape[-2:]
        visual = self.visual(video.levels[-1].flatten(0, 1)).flatten(2).transpose(1, 2)
        words = text.words.masked_fill(text.pad[..., None], 0).sum(1)
        x = visual * words.repeat_interleave(frames, 0)[:, None]
        pad = video.pads[-1].flatten(0, 1).flatten(1)
        ratios = (~pad).float().mean(1, keepdim=True)
        return Tokens(x, torch.zeros_like(x), pad, [tuple(shape)], x.shape[1], (ratios,))

    def new_encoder_layer(self) -> nn.Module:
        return nn.Sequential(nn.LayerNorm(self.d_model), nn.Linear(self.d_model, self.d_model))

    def run_encoder_layer(self, layer: nn.Module, x: Tensor, tokens: Tokens) -> Tensor:
        assert tokens.extra[0].shape[0] == x.shape[0]
        return x + layer(x)

    def encode(self, tokens: Tokens, hook: Hook | None = None) -> Tensor:
        x = tokens.x
        for i, layer in enumerate(self.layers):
            x = self.run_encoder_layer(layer, x, tokens)
            x = hook(i, x, tokens) if hook else x
        return x

    def decode(
        self,
        memory: Tensor,
        tokens: Tokens,
        video: VideoFeats,
        text: TextFeats,
        last_only: bool = False,
    ) -> list[LayerPred]:
        clips = video.pad.shape[0]
        assert video.clip_sizes.shape == (clips, 2)
        weights = (memory @ self.queries.weight.T).masked_fill(tokens.pad[..., None], -1e4)
        states = weights.softmax(1).transpose(1, 2) @ memory + self.queries.weight  # [M, N, D]
        masks = (states @ memory.transpose(1, 2)).unflatten(2, tokens.shapes[0])
        parts = (self.score(states), masks, self.box(states).sigmoid(), self.kernel(states))
        scores, masks, boxes, kernels = (x.float().unflatten(0, (clips, -1)) for x in parts)
        return [LayerPred(scores, masks, boxes, (kernels,))] * 2

    def refine(self, pred: LayerPred, rows: Tensor, queries: Tensor, video: VideoFeats) -> Tensor:
        finest = video.levels[0][rows].float()  # [P, K, C, h, w]
        detail = torch.einsum("pkc,pkchw->pkhw", pred.state[0][rows, :, queries], finest)
        return resized(pred.masks[rows, :, queries], finest.shape[-2:]) + self.gain * detail

    def referred_prob(self, pred: LayerPred) -> Tensor:
        return pred.scores[..., 0].sigmoid()

    def objective(self) -> ToyObjective:
        return ToyObjective(self.params.losses)

    def mask_rule(self, protocol: str) -> ToyMaskRule:
        return ToyMaskRule()


Pipeline = Toy
