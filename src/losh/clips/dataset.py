"""Loading of samples: frames, targets and flow of a window, at the network's size, augmented."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from losh.clips import transforms
from losh.clips.samples import Sample
from losh.errors import UserError
from losh.flow import FlowStore
from losh.frames import FrameStore
from losh.media.resizing import InputSize, resize_flow, resize_mask

FLOW_STRIDE = 4
"""Flow reaches the model on the grid of its finest features."""


@dataclass
class LoadedClip:
    """One window with its E expressions, at the network's size H x W (unpadded)."""

    samples: list[Sample]
    frames: torch.Tensor
    """uint8 [T, H, W, 3]: normalised on the device, since bytes travel four times faster than
    floats.
    """
    masks: torch.Tensor
    """bool [n, K, H, W] of all instances of the annotated frames."""
    referred: list[int]
    """Index of each expression's instance."""
    visible: torch.Tensor
    """bool [E, K]: where the referred instance has a mask."""
    flow: dict[str, np.ndarray] | None
    """forward, backward [K, 2, 2, h, w] (previous and next neighbour; u, v), neighbour [K, 2],
    valid [K, 2]; h, w = H, W over FLOW_STRIDE.
    """
    long: list[str]
    short: list[str]


@dataclass(frozen=True)
class ClipRequest:
    """What a sampler asks for: which group of samples, and the seed of its augmentation.

    None is no augmentation.
    """

    index: int
    seed: tuple[int, ...] | None


class ClipDataset(Dataset):
    """Groups of samples (each of one window) of several datasets as one sequence."""

    def __init__(
        self,
        root: Path,
        groups: list[list[Sample]],
        input_size: InputSize,
        flip: float = 0.0,
        with_flow: bool = False,
    ) -> None:
        self.groups, self.input_size, self.flip = groups, input_size, flip
        names = sorted({group[0].dataset for group in groups})
        self.frames = {name: FrameStore(root / "frames" / name) for name in names}
        self.flows = {name: FlowStore(root / "flow" / name) for name in names} if with_flow else {}

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, order: ClipRequest | int) -> LoadedClip | UserError:
        """Return a clip, or why it cannot be read.

        An exception that left a loader's worker would lose its one line to a traceback.
        """
        order = order if isinstance(order, ClipRequest) else ClipRequest(order, None)
        try:
            clip = self._load(self.groups[order.index])
        except UserError as error:
            return error
        flips = order.seed is not None and np.random.default_rng(order.seed).random() < self.flip
        return mirror_clip(clip) if flips else clip

    def _load(self, group: list[Sample]) -> LoadedClip:
        sample = group[0]  # all share its window
        store = self.frames[sample.dataset]
        row = store.videos[sample.video]
        size = self.input_size.size_of(row["height"], row["width"])
        decoded: dict[int, np.ndarray] = {}  # clamped and short windows repeat frames
        for t in sample.window:
            if t not in decoded:
                decoded[t] = self.input_size.resize(store.frame(sample.video, t), size)
        frames = np.stack([decoded[t] for t in sample.window])
        targets = [store.masks(sample.video, sample.window[p]) for p in sample.annotated]
        # Instances without a pixel in any annotated frame of the window are no targets.
        names = sorted({name for target in targets for name, mask in target.items() if mask.any()})
        for one in group:
            if one.instance not in names:
                raise UserError(
                    f"{one.dataset}: {one.sample_id} refers to instance {one.instance!r}, which "
                    f"has no mask in its window"
                )
        absent = np.zeros(size, bool)
        masks = np.stack(
            [
                [
                    resize_mask(target[name], size) if name in target else absent
                    for target in targets
                ]
                for name in names
            ]
        )
        visible = np.array(
            [[bool(target.get(one.instance, absent).any()) for target in targets] for one in group]
        )
        return LoadedClip(
            group,
            torch.from_numpy(frames),
            torch.from_numpy(masks),
            [names.index(one.instance) for one in group],
            torch.from_numpy(visible),
            self._flow(sample, size),
            [one.long for one in group],
            [one.short for one in group],
        )

    def _flow(self, sample: Sample, size: tuple[int, int]) -> dict[str, np.ndarray] | None:
        if not self.flows:
            return None
        store = self.flows[sample.dataset]
        grid = (-(-size[0] // FLOW_STRIDE), -(-size[1] // FLOW_STRIDE))
        count = len(sample.annotated)
        fields: dict[str, Any] = {
            way: np.zeros((count, 2, 2, *grid), np.float32) for way in ("forward", "backward")
        }
        neighbour, valid = np.zeros((count, 2), np.int64), np.zeros((count, 2), bool)
        for k, position in enumerate(sample.annotated):
            t = sample.window[position]
            for side, step in enumerate((-1, 1)):
                # Where the window is clamped its next entry is the same frame: no neighbour.
                place = position + step
                if (
                    not 0 <= place < len(sample.window)
                    or sample.window[place] != t + step
                    or not store.has(sample.video, t, t + step)
                ):
                    continue
                fields["forward"][k, side] = resize_flow(
                    store.flow(sample.video, t, t + step), grid
                )
                fields["backward"][k, side] = resize_flow(
                    store.flow(sample.video, t + step, t), grid
                )
                neighbour[k, side], valid[k, side] = place, True
        return {**fields, "neighbour": neighbour, "valid": valid}


def readable(loaded: list[LoadedClip | UserError], on_error: str = "stop") -> list[LoadedClip]:
    """Return the clips of what a loader gave.

    The first error is raised; with on_error `skip` errors are left out.
    """
    for item in loaded:
        if isinstance(item, UserError) and on_error == "stop":
            raise item
    return [item for item in loaded if not isinstance(item, UserError)]


def mirror_clip(clip: LoadedClip) -> LoadedClip:
    """Return the clip as in a mirror: frames, masks, flow and the words left and right."""
    flow = clip.flow
    if flow is not None:
        flow = {
            **flow,
            "forward": transforms.mirror_flow(flow["forward"]),
            "backward": transforms.mirror_flow(flow["backward"]),
        }
    return LoadedClip(
        clip.samples,
        clip.frames.flip(-2),
        clip.masks.flip(-1),
        clip.referred,
        clip.visible,
        flow,
        [transforms.mirror_words(text) for text in clip.long],
        [transforms.mirror_words(text) for text in clip.short],
    )
