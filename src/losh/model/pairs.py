"""Matched pairs as flat batches: a query's masks beside its instance's, P = sum over clips of pairs * K frames."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from losh.model.interface import Indices, Targets


def resized(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Mask logits [P, N, h, w] -> [P, N, H, W] at the network input's size, bilinear (released behaviour)."""
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)


def target_masks(target: Targets, size: tuple[int, int]) -> Tensor:
    """A clip's masks [n, K, H_i, W_i] -> float [n, K, H, W], zeros where the clip is padded."""
    height, width = target.masks.shape[-2:]
    return F.pad(target.masks.float(), (0, size[1] - width, 0, size[0] - height))


def matched_logits(masks: Tensor, indices: list[Indices], size: tuple[int, int]) -> Tensor:
    """Logits of the matched queries [B, K, N, h, w] -> [P, H, W]; P may be 0, and the result still belongs to the graph."""
    clips = torch.cat([torch.full_like(query, b) for b, (query, _) in enumerate(indices)]).to(masks.device)
    queries = torch.cat([query for query, _ in indices]).to(masks.device)
    picked = masks[clips, :, queries].flatten(0, 1)  # [pairs, K, h, w] -> [P, h, w]
    return resized(picked[:, None], size)[:, 0]


def matched_targets(targets: list[Targets], indices: list[Indices], size: tuple[int, int]) -> Tensor:
    """Masks of the matched instances in the order of `matched_logits`: float [P, H, W]."""
    return torch.cat([target_masks(t, size)[i.to(t.masks.device)].flatten(0, 1) for t, (_, i) in zip(targets, indices, strict=True)])
