"""One video of a user's folder looked through: frames decoded, masks read, both compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from losh.datasets.folder.faults import Fault, as_fault
from losh.datasets.folder.mask_files import (
    INDEXED,
    MASKS,
    RUNS,
    decode_runs,
    form_of,
    objects_of,
    read_png,
    read_runs,
)
from losh.datasets.folder.video_files import Measured, frame_files, measure, natural, visible
from losh.errors import UserError
from losh.media.decoding import VOID

SHOWN = 5
"""Faults of one video's masks that are told one by one: a wrong size is wrong in every frame."""


@dataclass
class Inspected:
    """What the check found of one video; all of it goes into JSON."""

    media: str
    """Relative to the folder."""
    frames: list[str]
    """File names in natural order; empty for a video file."""
    num_frames: int = 0
    height: int = 0
    width: int = 0
    form: str = INDEXED
    masks: dict[str, str] = field(default_factory=dict)
    """Frame index (as text, JSON's keys) -> the PNG relative to the folder, or the JSON's key."""
    objects: list[str] = field(default_factory=list)

    @cached_property
    def by_stem(self) -> dict[str, int]:
        """A frame's file name without suffix -> the frame."""
        return {PurePosixPath(name).stem: t for t, name in enumerate(self.frames)}


def inspect(root: Path, video: tuple[str, str]) -> tuple[Inspected, list[Fault]]:
    """Look through one video, (name, place relative to `root`); it is usable without a fault."""
    name, place = video
    found = Inspected(place, frame_files(root / place))
    size, faults = measure(root, place, found.frames)
    if size is None:
        return found, faults
    found.num_frames, found.height, found.width = size.frames, size.height, size.width
    folder, runs = root / MASKS / name, root / MASKS / f"{name}.json"
    if folder.is_dir() and runs.is_file():
        return found, [Fault(f"{MASKS}/{name}", 0, f"and {name}.json are both there; keep one")]
    if runs.is_file():
        faults = _inspect_runs(root, f"{MASKS}/{name}.json", found, size)
    elif folder.is_dir():
        faults = _inspect_pngs(root, f"{MASKS}/{name}", found, size)
    rest = len(faults) - SHOWN
    if rest > 0:
        faults[SHOWN:] = [Fault(f"{MASKS}/{name}", 0, f"has {rest} more faults", rest)]
    return found, faults


def _inspect_pngs(root: Path, folder: str, found: Inspected, size: Measured) -> list[Fault]:
    faults: list[Fault] = []
    values: set[int] = set()
    for path in visible(root / folder):
        place = f"{folder}/{path.name}"
        if path.suffix.lower() != ".png":
            faults.append(Fault(place, 0, "is no PNG"))
            continue
        frame = _frame_of(path.stem, found, size)
        if isinstance(frame, str):
            faults.append(Fault(place, 0, frame))
            continue
        if str(frame) in found.masks:
            faults.append(Fault(place, 0, f"is a second mask of frame {frame}"))
            continue
        try:
            mask = read_png(path)
        except UserError as error:
            faults.append(as_fault(error, root, place))
            continue
        faults += [Fault(place, 0, why) for why in _size_faults(mask.shape, size)]
        found.masks[str(frame)] = place
        values |= {int(value) for value in np.unique(mask)}
    found.form = form_of(values)
    found.objects = objects_of(values, found.form)
    return faults


def _inspect_runs(root: Path, file: str, found: Inspected, size: Measured) -> list[Fault]:
    found.form = RUNS
    try:
        frames = read_runs(root / file)
    except UserError as error:
        return [as_fault(error, root, file)]
    faults: list[Fault] = []
    objects: set[str] = set()
    for key, codes in frames.items():
        frame = _frame_of(key, found, size)
        if isinstance(frame, str):
            faults.append(Fault(file, 0, f"frame {key!r} {frame}"))
            continue
        if str(frame) in found.masks:
            faults.append(Fault(file, 0, f"frame {key!r} is a second mask of frame {frame}"))
            continue
        found.masks[str(frame)] = key
        for name, code in codes.items():
            mask, whys = _read_run(name, code, size)
            faults += [Fault(file, 0, f"frame {key!r}, object {name!r} {why}") for why in whys]
            if mask.any():
                objects.add(name)
    found.objects = sorted(objects, key=natural)
    return faults


def _read_run(name: str, code: Any, size: Measured) -> tuple[np.ndarray, list[str]]:
    """Return one object's mask in one frame, and what is wrong with it."""
    faults = []
    if name != name.strip() or name in ("", str(VOID)):
        faults.append(f"cannot be called so ({VOID} is kept for pixels that count for nobody)")
    try:
        mask = decode_runs(code)
    except ValueError as error:
        return np.zeros(0, bool), [*faults, str(error)]
    return mask, [*faults, *_size_faults(mask.shape, size)]


def _size_faults(shape: tuple[int, ...], size: Measured) -> Iterator[str]:
    if shape != (size.height, size.width):
        yield f"is {shape[1]} x {shape[0]}, but the video is {size.width} x {size.height}"


def _frame_of(name: str, found: Inspected, size: Measured) -> int | str:
    """Return the frame that a mask belongs to, by the mask's name; else why there is none."""
    if found.frames:
        return found.by_stem.get(name, f"has the name of no frame in {found.media}")
    if not (name.isascii() and name.isdigit()):
        return "is not named by the number of a frame, counted from 0"
    if int(name) >= size.frames:
        last = size.frames - 1
        return f"is beyond the video's end: its frames are 0 to {last}, counted from 0"
    return int(name)
