"""Deformable attention over feature maps of several sizes (Deformable DETR, arXiv 2010.04159).

With it come the encoder and decoder made of it, as ReferFormer and SgMg use them.

Shapes: M rows (frames of clips), N queries, S cells of all levels, P sampling points, C channels,
`levels` feature maps, `heads` attention heads. A place is (x, y), a box (x, y, width, height), as
parts from 0 to 1: in the attention of the whole map, outside of it of the map without its padding.

Parameters have the names of Deformable DETR, so in a decoder layer `norm1` follows the attention to
the memory and `norm2` the self-attention, though that one comes first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NotRequired, TypedDict, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losh.layers.dropout import Dropout
from losh.layers.linear import feed_forward
from losh.layers.transformer import Attention

Hook = Callable[[int, Tensor], Tensor]
"""Called after encoder layer i with (i, x [M, S, C]); what it returns goes to the next layer."""


@dataclass(frozen=True)
class Pyramid:
    """Feature maps of several sizes, flattened and laid end to end: S = the sum of h * w."""

    shapes: list[tuple[int, int]]
    """(h, w) of each level, in the order in which they lie."""
    pad: Tensor
    """[M, S] bool, True = padding."""
    valid: Tensor
    """[M, levels, 2] float32: the part of a level's width and height that is no padding. 1 where
    all is padding: what comes out for such a row means nothing, but stays finite.
    """

    @classmethod
    def of(cls, pad: Tensor, shapes: Sequence[tuple[int, int]]) -> Pyramid:
        """From pad [M, S] and the levels' sizes."""
        parts = pad.split([h * w for h, w in shapes], 1)
        ratios = []
        for part, (h, w) in zip(parts, shapes, strict=True):
            inside = ~part.unflatten(1, (h, w))  # [M, h, w]; padding is below and to the right
            ratios.append(torch.stack([inside[:, 0].sum(1) / w, inside[:, :, 0].sum(1) / h], -1))
        valid = torch.stack(ratios, 1)
        return cls(list(shapes), pad, valid.where(valid > 0, torch.ones_like(valid)))

    def centres(self) -> Tensor:
        """Where each cell's centre lies on every level -> [M, S, levels, 2].

        A cell keeps its place in the picture without its padding, so a level whose padded part is a
        little larger, through rounding, is read a little further in.
        """
        centres = []
        for level, (h, w) in enumerate(self.shapes):
            rows = torch.arange(h, dtype=torch.float32, device=self.pad.device) + 0.5
            columns = torch.arange(w, dtype=torch.float32, device=self.pad.device) + 0.5
            grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)  # [h, w, (x, y)]
            size = self.valid[:, level] * self.valid.new_tensor([w, h])
            centres.append(grid.flatten(0, 1) / size[:, None])  # [M, h * w, 2]
        return torch.cat(centres, 1)[:, :, None] * self.valid[:, None]

    def split(self, x: Tensor) -> list[Tensor]:
        """Tokens [M, S, C] as maps, [M, C, h, w] a level."""
        parts = x.split([h * w for h, w in self.shapes], 1)
        return [
            part.transpose(1, 2).unflatten(2, shape)
            for part, shape in zip(parts, self.shapes, strict=True)
        ]


class DeformableAttention(nn.Module):
    """Each query reads `points` places of every level, which it chooses around its reference.

    Sampling runs in float32 under autocast too: half precision would put the places a good part of
    a cell off.
    """

    def __init__(self, width: int, heads: int, levels: int, points: int = 4) -> None:
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.sampling_offsets = nn.Linear(width, heads * levels * points * 2)
        self.attention_weights = nn.Linear(width, heads * levels * points)
        self.value_proj = nn.Linear(width, width)
        self.output_proj = nn.Linear(width, width)
        self.reset()

    def reset(self) -> None:
        """Set the start values of the paper.

        Each head looks into a direction of its own, point i by i + 1 cells, and all weigh the same.
        """
        angle = torch.arange(self.heads) * (2 * math.pi / self.heads)
        direction = torch.stack([angle.cos(), angle.sin()], -1)
        direction = direction / direction.abs().amax(-1, keepdim=True)
        steps = torch.arange(1.0, self.points + 1)
        grid = direction[:, None, None] * steps[:, None]  # [heads, 1, points, 2]
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(grid.expand(-1, self.levels, -1, -1).flatten())
        for zero in (self.sampling_offsets.weight, *self.attention_weights.parameters()):
            nn.init.zeros_(zero)
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, query: Tensor, reference: Tensor, value: Tensor, pyramid: Pyramid) -> Tensor:
        """Read from value at places around reference.

        Args:
            query: [M, N, C].
            reference: [M, N, levels, 2] places or [M, N, levels, 4] boxes, as parts of each map
                with its padding.
            value: [M, S, C]; its padding is read as zeros.

        Returns:
            [M, N, C].
        """
        values = self.value_proj(value).masked_fill(pyramid.pad[..., None], 0)
        with torch.autocast(query.device.type, enabled=False):
            query, reference = query.float(), reference.float()
            places = self._places(query, reference, pyramid.shapes)
            weights = self.attention_weights(query).unflatten(-1, (self.heads, -1)).softmax(-1)
            weights = weights.unflatten(-1, (self.levels, self.points))
            values = values.float().unflatten(-1, (self.heads, -1))
            read = self.sample(values, pyramid.shapes, places, weights)
        return self.output_proj(read)

    @staticmethod
    def sample(
        value: Tensor, shapes: Sequence[tuple[int, int]], places: Tensor, weights: Tensor
    ) -> Tensor:
        """Weighted sum of bilinear samples; what lies outside a map is zero.

        A level's samples lie point by point, [M * heads, d, P, N], so that the sum over the points
        adds whole rows: with transformers' implementation, whose points lie innermost, forward and
        backward take 1.4 times as long (two frames of 960 cells, 8 heads of 32 channels, 57 ms by
        40 ms on two threads).

        Args:
            value: [M, S, heads, d].
            places: [M, N, heads, levels, P, 2].
            weights: [M, N, heads, levels, P].

        Returns:
            [M, N, heads * d].
        """
        maps = value.permute(0, 2, 3, 1).flatten(0, 1)  # [M * heads, d, S]
        grids = (2 * places - 1).permute(0, 2, 3, 4, 1, 5).flatten(0, 1)
        weights = weights.permute(0, 2, 3, 4, 1).flatten(0, 1)  # [M * heads, levels, P, N]
        read = []
        for level, part in enumerate(maps.split([h * w for h, w in shapes], 2)):
            found = F.grid_sample(
                part.unflatten(2, shapes[level]),
                grids[:, level],
                mode="bilinear",
                padding_mode="zeros",
                align_corners=False,
            )
            read.append(weighted_sum(found, weights[:, level, None]))  # [M * heads, d, N]
        whole = torch.stack(read).sum(0).unflatten(0, (len(value), -1))
        return whole.permute(0, 3, 1, 2).flatten(2)

    def _places(self, query: Tensor, reference: Tensor, shapes: list[tuple[int, int]]) -> Tensor:
        """[M, N, heads, levels, points, 2]."""
        offsets = self.sampling_offsets(query)
        offsets = offsets.unflatten(-1, (self.heads, self.levels, self.points, 2))
        reference = reference[:, :, None, :, None]  # [M, N, 1, levels, 1, 2 or 4]
        if reference.shape[-1] == 2:
            cells = offsets.new_tensor([[w, h] for h, w in shapes])[:, None]  # [levels, 1, 2]
            return reference + offsets / cells
        return reference[..., :2] + offsets / self.points * reference[..., 2:] * 0.5


def weighted_sum(x: Tensor, weights: Tensor) -> Tensor:
    """Sum x [M, d, P, N] times weights [M, 1, P, N] over P -> [M, d, N].

    Without gradients row by row, in less than half of the time: nothing as large as x is written.
    """
    if torch.is_grad_enabled():
        return (x * weights).sum(2)
    rows = zip(x.unbind(2), weights.unbind(2), strict=True)
    row, weight = next(rows)
    total = row * weight
    for row, weight in rows:
        total.addcmul_(row, weight)
    return total


class LayerSizes(TypedDict):
    """Arguments of DeformableEncoderLayer and DeformableDecoderLayer."""

    width: int
    heads: int
    ffn_dim: int
    dropout: float
    levels: int
    points: NotRequired[int]


class DeformableEncoderLayer(nn.Module):
    """Deformable self-attention and a feed-forward block, each followed by its LayerNorm."""

    def __init__(
        self, width: int, heads: int, ffn_dim: int, dropout: float, levels: int, points: int = 4
    ) -> None:
        super().__init__()
        self.self_attn = DeformableAttention(width, heads, levels, points)
        self.norm1 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, ffn_dim)
        self.linear2 = nn.Linear(ffn_dim, width)
        self.norm2 = nn.LayerNorm(width)
        self.dropout = Dropout(dropout)
        _xavier(self.linear1, self.linear2)

    def forward(
        self, x: Tensor, pos: Tensor, pyramid: Pyramid, centres: Tensor | None = None
    ) -> Tensor:
        """x and pos [M, S, C] -> [M, S, C]. `centres`: `pyramid.centres()`, where it is at hand."""
        centres = pyramid.centres() if centres is None else centres
        x = self.norm1(x + self.dropout(self.self_attn(x + pos, centres, x, pyramid)))
        return self.norm2(x + feed_forward(x, self.linear1, self.linear2, self.dropout))


class DeformableEncoder(nn.Module):
    """Layers over the cells of all levels."""

    def __init__(self, layers: int, **sizes: Unpack[LayerSizes]) -> None:
        """Make `layers` layers, all of these sizes."""
        super().__init__()
        self.layers = nn.ModuleList(DeformableEncoderLayer(**sizes) for _ in range(layers))

    def forward(self, x: Tensor, pos: Tensor, pyramid: Pyramid, hook: Hook | None = None) -> Tensor:
        """x and pos [M, S, C] -> [M, S, C]; `hook` runs after each layer."""
        centres = pyramid.centres()
        for i, layer in enumerate(self.layers):
            x = layer(x, pos, pyramid, centres)
            if hook is not None:
                x = hook(i, x)
        return x


class DeformableDecoderLayer(nn.Module):
    """Self-attention of the queries, deformable attention to the memory, feed-forward.

    Each is followed by its LayerNorm.
    """

    def __init__(
        self, width: int, heads: int, ffn_dim: int, dropout: float, levels: int, points: int = 4
    ) -> None:
        super().__init__()
        self.cross_attn = DeformableAttention(width, heads, levels, points)
        self.norm1 = nn.LayerNorm(width)
        self.self_attn = Attention(width, heads, dropout)
        self.norm2 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, ffn_dim)
        self.linear2 = nn.Linear(ffn_dim, width)
        self.norm3 = nn.LayerNorm(width)
        self.dropout = Dropout(dropout)
        _xavier(self.linear1, self.linear2, self.self_attn.out_proj)

    def forward(
        self, x: Tensor, query_pos: Tensor, reference: Tensor, memory: Tensor, pyramid: Pyramid
    ) -> Tensor:
        """Run the layer on x [M, N, C] -> [M, N, C].

        query_pos [M, N, C], reference [M, N, levels, 2 or 4], memory [M, S, C].
        """
        place = x + query_pos
        x = self.norm2(x + self.dropout(self.self_attn(place, place, x)))
        read = self.cross_attn(x + query_pos, reference, memory, pyramid)
        x = self.norm1(x + self.dropout(read))
        return self.norm3(x + feed_forward(x, self.linear1, self.linear2, self.dropout))


@dataclass(frozen=True)
class Decoded:
    """What a decoder layer gives."""

    states: Tensor
    """[M, N, C]."""
    boxes: Tensor
    """[M, N, 4] cxcywh in 0 to 1, of the frame without its padding; the next layer's reference,
    without its gradient.
    """


class DeformableDecoder(nn.Module):
    """Layers that each refine the queries' boxes (the paper's iterative refinement)."""

    def __init__(self, layers: int, **sizes: Unpack[LayerSizes]) -> None:
        """Make `layers` layers, all of these sizes."""
        super().__init__()
        self.layers = nn.ModuleList(DeformableDecoderLayer(**sizes) for _ in range(layers))

    def forward(
        self,
        x: Tensor,
        query_pos: Tensor,
        reference: Tensor,
        memory: Tensor,
        pyramid: Pyramid,
        box_heads: Sequence[nn.Module],
    ) -> list[Decoded]:
        """Run the layers.

        Args:
            x, query_pos: [M, N, C].
            reference: [M, N, 2], the places that the first layer looks around.
            box_heads: one a layer, [M, N, C] -> [M, N, 4]: the change of a reference's logits.
        """
        found = []
        for layer, head in zip(self.layers, box_heads, strict=True):
            valid = pyramid.valid  # [M, levels, 2]
            if reference.shape[-1] == 4:
                valid = torch.cat([valid, valid], -1)
            x = layer(x, query_pos, reference[:, :, None] * valid[:, None], memory, pyramid)
            with torch.autocast(x.device.type, enabled=False):
                change = head(x.float())
                start = F.pad(logit(reference), (0, 4 - reference.shape[-1]))
                boxes = (change + start).sigmoid()
            found.append(Decoded(x, boxes))
            reference = boxes.detach()
        return found


def logit(probability: Tensor, epsilon: float = 1e-5) -> Tensor:
    """Compute the inverse of the sigmoid, kept finite: both parts are at least `epsilon`."""
    probability = probability.clamp(0, 1)
    return (probability.clamp(min=epsilon) / (1 - probability).clamp(min=epsilon)).log()


def _xavier(*layers: nn.Linear) -> None:
    for layer in layers:
        nn.init.xavier_uniform_(layer.weight)
