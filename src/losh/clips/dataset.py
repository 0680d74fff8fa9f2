"""Loading of samples: frames, targets and flow of a window, at the network's size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from losh.clips.geometry import Geometry
from losh.clips.samples import Sample
from losh.clips.transforms import mirror_words
from losh.errors import UserError
from losh.flow import FlowStore
from losh.frames import FrameStore
from losh.media.resizing import InputSize

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


@dataclass(frozen=True)
class View:
    """How the frames of a clip become the network's input."""

    geometry: Geometry

    @property
    def may_lose(self) -> bool:
        """Whether an instance may be gone from frames that it is in.

        Then the transformed masks say where it is visible.
        """
        return self.geometry.crop is not None

    def frame(self, place: int, frame: np.ndarray) -> np.ndarray:
        """Transform the frame of a place in the window, uint8 [H, W, 3]."""
        return self.geometry.frame(frame)


class ClipDataset(Dataset):
    """Groups of samples (each of one window) of several datasets as one sequence."""

    def __init__(
        self,
        root: Path,
        groups: list[list[Sample]],
        input_size: InputSize,
        with_flow: bool = False,
    ) -> None:
        self.groups, self.input_size = groups, input_size
        names = sorted({group[0].dataset for group in groups})
        self.frames = {name: FrameStore(root / "frames" / name) for name in names}
        self.flows = {name: FlowStore(root / "flow" / name) for name in names} if with_flow else {}

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, order: ClipRequest | int) -> LoadedClip | UserError:
        """Return a clip as it is, or why it cannot be read.

        An exception that left a loader's worker would lose its one line to a traceback.
        """
        group = self.groups[order.index if isinstance(order, ClipRequest) else order]
        row = self.frames[group[0].dataset].videos[group[0].video]
        size = self.input_size.size_of(row["height"], row["width"])
        view = View(Geometry(size, resize_filter=self.input_size.resize_filter))
        try:
            clip = self._load(group, self._read_window(group[0]), view)
        except UserError as error:
            return error
        assert clip is not None
        return clip

    def _read_window(self, sample: Sample) -> Read:
        """Return a window's frames and the masks of its annotated frames, as they are stored."""
        store = self.frames[sample.dataset]
        decoded = {t: store.frame(sample.video, t) for t in sorted(set(sample.window))}
        masks = [store.masks(sample.video, sample.window[p]) for p in sample.annotated]
        return [decoded[t] for t in sample.window], masks

    def _load(
        self, group: list[Sample], read: Read, view: View, may_be_absent: bool = False
    ) -> LoadedClip | None:
        """Make a clip of what was read of the window that a group of samples shares.

        Args:
            may_be_absent: leave out expressions whose instance the view does not show, and return
                None where none is left; else that is an error.

        Raises:
            UserError: flow that cannot be read, or an instance without a mask.
        """
        frames, targets = read
        masks, seen = _transformed(targets, view)
        # Instances without a pixel in any annotated frame of the window are no targets.
        names = sorted(name for name, visible in seen.items() if any(visible))
        shown = [one for one in group if one.instance in names]
        if len(shown) < len(group) and not may_be_absent:
            one = next(one for one in group if one.instance not in names)
            raise UserError(
                f"{one.dataset}: {one.sample_id} refers to instance {one.instance!r}, which "
                f"has no mask in its window"
            )
        if not shown:
            return None
        says = mirror_words if view.geometry.mirrored else str
        return LoadedClip(
            shown,
            torch.from_numpy(np.stack([view.frame(p, frame) for p, frame in enumerate(frames)])),
            torch.from_numpy(np.stack([masks[name] for name in names])),
            [names.index(one.instance) for one in shown],
            torch.tensor([seen[one.instance] for one in shown]),
            self._flow(group[0], view.geometry),
            [says(one.long) for one in shown],
            [says(one.short) for one in shown],
            target_rows(names, [one.instance for one in shown], self._unions(group[0])),
        )

    def _unions(self, sample: Sample) -> Mapping[str, Sequence[str]]:
        """Instances of the sample's video that are unions of objects -> those objects."""
        return self.frames[sample.dataset].videos[sample.video].get("unions", {})

    def _flow(self, sample: Sample, geometry: Geometry) -> dict[str, np.ndarray] | None:
        """Read the flow between the sample's annotated frames and their neighbours in the video.

        The neighbours are those beside them in the sample's window. In a clip that runs backwards
        the previous one is t + 1.
        """
        if not self.flows:
            return None
        store, window = self.flows[sample.dataset], sample.window
        count, grid = len(sample.annotated), [-(-side // FLOW_STRIDE) for side in geometry.size]
        fields: dict[str, Any] = {
            way: np.zeros((count, 2, 2, *grid), np.float32) for way in ("forward", "backward")
        }
        neighbour, valid = np.zeros((count, 2), np.int64), np.zeros((count, 2), bool)
        for k, position in enumerate(sample.annotated):
            for side, place in enumerate((position - 1, position + 1)):
                if not 0 <= place < len(window):
                    continue
                here, there = window[position], window[place]
                # Clamped windows repeat a frame and sparse ones leave frames out: no neighbour.
                if abs(there - here) != 1 or not store.has(sample.video, here, there):
                    continue
                for way, pair in (("forward", (here, there)), ("backward", (there, here))):
                    field = store.flow(sample.video, *pair)
                    fields[way][k, side] = geometry.flow(field, FLOW_STRIDE)
                neighbour[k, side], valid[k, side] = place, True
        return {**fields, "neighbour": neighbour, "valid": valid}


def _transformed(
    targets: list[dict[str, np.ndarray]], view: View
) -> tuple[dict[str, np.ndarray], dict[str, list[bool]]]:
    """Return of each instance the masks at the network's input, and in which frames it is visible.

    Masks are [K, H, W].
    """
    absent = np.zeros(view.geometry.size, bool)
    masks, seen = {}, {}
    for name in {name for target in targets for name in target}:
        made = [view.geometry.mask(t[name]) if name in t else absent for t in targets]
        decisive = made if view.may_lose else [t.get(name, absent) for t in targets]
        masks[name], seen[name] = np.stack(made), [bool(mask.any()) for mask in decisive]
    return masks, seen


def readable(loaded: list[LoadedClip | UserError], on_error: str = "stop") -> list[LoadedClip]:
    """Return the clips of what a loader gave.

    The first error is raised; with on_error `skip` errors are left out.
    """
    for item in loaded:
        if isinstance(item, UserError) and on_error == "stop":
            raise item
    return [item for item in loaded if not isinstance(item, UserError)]


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
