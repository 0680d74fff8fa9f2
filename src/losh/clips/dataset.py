"""Loading of samples: frames, targets and flow of a window, at the network's size, augmented."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from losh.clips import transforms
from losh.clips.pseudo_clip import pseudo_clip
from losh.clips.samples import Sample
from losh.errors import UserError
from losh.flow import FlowStore
from losh.frames import FrameStore
from losh.media.resizing import InputSize, resize_flow, resize_mask

FLOW_STRIDE = 4
"""Flow reaches the model on the grid of its finest features."""


Read = tuple[list[np.ndarray], list[dict[str, np.ndarray]]]
"""Frames uint8 [H, W, 3]; of each annotated one, instance -> bool [H, W]."""


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
    rows: list[list[int]] | None = None
    """Of each expression, which of `masks` are its targets; None: all of them."""


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
            clip = self._load(self.groups[order.index], order.seed)
        except UserError as error:
            return error
        flips = order.seed is not None and np.random.default_rng(order.seed).random() < self.flip
        return mirror_clip(clip) if flips else clip

    def _load(self, group: list[Sample], seed: tuple[int, ...] | None) -> LoadedClip:
        sample = group[0]  # all share its window
        row = self.frames[sample.dataset].videos[sample.video]
        size = self.input_size.size_of(row["height"], row["width"])
        read = self._read_picture(sample, seed) if sample.picture else self._read_window(sample)
        frames, targets = read
        resized: dict[int, np.ndarray] = {}  # clamped and short windows repeat frames
        for frame in frames:
            if id(frame) not in resized:
                resized[id(frame)] = self.input_size.resize(frame, size)
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
            torch.from_numpy(np.stack([resized[id(frame)] for frame in frames])),
            torch.from_numpy(masks),
            [names.index(one.instance) for one in group],
            torch.from_numpy(visible),
            self._flow(sample, size),
            [one.long for one in group],
            [one.short for one in group],
            target_rows(names, [one.instance for one in group], row.get("unions", {})),
        )

    def _read_window(self, sample: Sample) -> Read:
        """Return a window's frames and the masks of its annotated frames, as they are stored."""
        store = self.frames[sample.dataset]
        decoded = {t: store.frame(sample.video, t) for t in sorted(set(sample.window))}
        masks = [store.masks(sample.video, sample.window[p]) for p in sample.annotated]
        return [decoded[t] for t in sample.window], masks

    def _read_picture(self, sample: Sample, seed: tuple[int, ...] | None) -> Read:
        """Return a pseudo clip of the sample's picture; without a seed the picture repeats."""
        store = self.frames[sample.dataset]
        picture, masks = store.frame(sample.video, 0), store.masks(sample.video, 0)
        count = len(sample.window)
        if seed is None:
            return [picture] * count, [masks] * count
        # Another stream than that of the flip.
        return pseudo_clip(picture, masks, count, np.random.default_rng((*seed, 1)))

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
        clip.rows,
    )


def target_rows(
    names: list[str], referred: list[str], unions: Mapping[str, Sequence[str]]
) -> list[list[int]] | None:
    """Choose the targets of each expression among a window's instances.

    They are the referred instance and all objects apart from it: where it is a union of objects
    (MeViS), those that it covers are no targets again, and the unions of other expressions never
    are.

    Args:
        names: the instances of the window.
        referred: of each expression.
        unions: instance -> the objects that it covers, of those that are unions.

    Returns:
        Indices into `names` for each expression; None where all are targets of all.
    """
    if not unions:
        return None
    objects = [name for name in names if name not in unions]
    return [
        sorted(
            {names.index(own)}
            | {names.index(name) for name in objects if name not in unions.get(own, ())}
        )
        for own in referred
    ]
