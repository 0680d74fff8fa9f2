"""Batches: clips of different sizes padded to one, on the device, with their text features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from losh.clips.dataset import FLOW_STRIDE, LoadedClip
from losh.clips.samples import Sample
from losh.model.structures import ClipFlow, Clips, Targets

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


@dataclass
class Batch:
    """What one forward and backward pass needs, but for the text features."""

    clips: Clips
    targets: list[Targets]
    """One per expression."""
    flow: ClipFlow | None
    long: list[str]
    """E of them: the expressions of all clips, one clip's after the other's."""
    short: list[str]
    loaded: list[LoadedClip]

    def samples(self) -> list[tuple[LoadedClip, Sample]]:
        """Return each expression's clip and sample, in the order of `long`."""
        return [(clip, sample) for clip in self.loaded for sample in clip.samples]


def pad_frames(
    frames: list[Tensor], device: torch.device, multiple: int = 1
) -> tuple[Tensor, Tensor]:
    """Normalise the frames of clips and pad them to one size.

    uint8 [T, H_i, W_i, 3] per clip -> float [B, T, 3, H, W] and padding [B, T, H, W] (True =
    padding).

    Padding is zero after the normalisation, at the bottom and right. All clips have the same T.
    """
    largest = [max(clip.shape[axis] for clip in frames) for axis in (1, 2)]
    height, width = (-(-side // multiple) * multiple for side in largest)
    batch = torch.zeros(len(frames), frames[0].shape[0], 3, height, width, device=device)
    pad = torch.ones(
        len(frames), frames[0].shape[0], height, width, dtype=torch.bool, device=device
    )
    mean, std = (torch.tensor(v, device=device).view(3, 1, 1) for v in (IMAGE_MEAN, IMAGE_STD))
    for i, clip in enumerate(frames):
        _, h, w, _ = clip.shape
        # [T, H, W, 3] -> [T, 3, H, W]
        pixels = clip.to(device, non_blocking=True).permute(0, 3, 1, 2).float() / 255
        batch[i, :, :, :h, :w] = (pixels - mean) / std
        pad[i, :, :h, :w] = False
    return batch, pad


def make_batch(loaded: list[LoadedClip], device: torch.device, multiple: int = 1) -> Batch:
    """Put clips with the same numbers of frames T and of annotated frames K together.

    They are padded to sides that are multiples of `multiple` px.
    """
    frames, pad = pad_frames([clip.frames for clip in loaded], device, multiple)
    annotated = torch.tensor([clip.samples[0].annotated for clip in loaded], device=device)
    targets = []
    for clip in loaded:
        masks, visible = clip.masks.to(device), clip.visible.to(device)
        chosen = clip.rows or [list(range(len(masks)))] * len(clip.referred)
        targets += [
            Targets(masks if len(own) == len(masks) else masks[own], own.index(referred), seen)
            for own, referred, seen in zip(chosen, clip.referred, visible, strict=True)
        ]
    counts = [len(clip.samples) for clip in loaded]
    shared = max(counts) > 1
    rows = (
        torch.repeat_interleave(torch.arange(len(loaded)), torch.tensor(counts)).to(device)
        if shared
        else None
    )
    return Batch(
        Clips(frames, pad, annotated, rows, tuple(_frames_read(clip) for clip in loaded)),
        targets,
        _pad_flow(loaded, (frames.shape[-2], frames.shape[-1]), device),
        [text for clip in loaded for text in clip.long],
        [text for clip in loaded for text in clip.short],
        loaded,
    )


def _frames_read(clip: LoadedClip) -> tuple[int, ...]:
    """Return the frames whose features are read.

    These are the annotated ones and, for the consistency loss, the neighbours that they have a flow
    to. Told here, where they are numbers, and not by the device's copy, which would be waited for.
    """
    frames = set(clip.samples[0].annotated)
    if clip.flow is not None:
        frames.update(clip.flow["neighbour"][clip.flow["valid"]].tolist())
    return tuple(sorted(frames))


def _pad_flow(
    loaded: list[LoadedClip], size: tuple[int, int], device: torch.device
) -> ClipFlow | None:
    flows = [clip.flow for clip in loaded if clip.flow is not None]
    if len(flows) < len(loaded):  # all clips have their flow, or none has
        return None
    grid = tuple(-(-side // FLOW_STRIDE) for side in size)

    def stack(way: str) -> Tensor:
        fields = np.zeros((len(flows), *flows[0][way].shape[:3], *grid), np.float32)
        for i, flow in enumerate(flows):
            h, w = flow[way].shape[-2:]
            fields[i, ..., :h, :w] = flow[way]
        return torch.from_numpy(fields).to(device)

    neighbour, valid = (
        torch.from_numpy(np.stack([flow[key] for flow in flows])).to(device)
        for key in ("neighbour", "valid")
    )
    return ClipFlow(stack("forward"), stack("backward"), neighbour, valid)
