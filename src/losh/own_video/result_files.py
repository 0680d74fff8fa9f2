"""Masks and scores as files: a folder of PNGs, COCO's RLE as JSON, scores as JSON.

Each grows frame by frame, and is there, whole, when all is done.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from losh.errors import UserError
from losh.own_video.masked_frame import MaskedFrame
from losh.runtime.files import atomic_write

OURS = re.compile(r"\d{5,}\.png")
Add = Callable[[int, MaskedFrame, float], None]
"""(frame's number, what the network says of it, its time in seconds)."""


def check_file(path: Path, option: str, suffix: str) -> None:
    """Refuse an output file that could not be written, before any work.

    Raises:
        UserError: names the path and what is in the way.
    """
    if path.suffix.lower() != suffix:
        raise UserError(f"{path} is no {suffix}", f"Name the file of {option} something{suffix}")
    if path.is_dir():
        raise UserError(f"{path} is a folder", f"Name a file for {option}")
    _check_place(path)


def check_folder(path: Path) -> None:
    """Refuse a folder of masks that could not be written, or whose files would be lost.

    Raises:
        UserError: names the path and what is in the way.
    """
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file", "Name a folder for --masks")
    if path.is_dir() and not _is_ours(path):
        raise UserError(
            f"{path} holds other files than masks of before", "Name a new folder for --masks"
        )
    _check_place(path)


@contextmanager
def mask_folder(path: Path, sentences: int) -> Iterator[Add]:
    """One 0/255 PNG a frame, 00000.png on; of several sentences in the folders 1, 2, ..."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=path.parent, prefix=".part-"))
    folders = [part if sentences == 1 else part / str(n + 1) for n in range(sentences)]
    for folder in folders:
        folder.mkdir(exist_ok=True)

    def add(t: int, found: MaskedFrame, time: float) -> None:
        for folder, mask in zip(folders, found.masks, strict=True):
            image = cv2.imencode(".png", mask.astype(np.uint8) * 255)[1]
            (folder / f"{t:05d}.png").write_bytes(image.tobytes())

    try:
        yield add
        os.chmod(part, 0o755)
        if path.exists():
            shutil.rmtree(path)
        part.rename(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def rle_file(path: Path, head: dict[str, Any]) -> Iterator[Add]:
    """COCO's compressed RLE of each frame and sentence (pycocotools.mask.decode reads it)."""
    from pycocotools import mask as coco_mask

    with _frame_list(path, head) as write:

        def add(t: int, found: MaskedFrame, time: float) -> None:
            codes = [coco_mask.encode(np.asfortranarray(mask, np.uint8)) for mask in found.masks]
            rles = [{"size": code["size"], "counts": code["counts"].decode()} for code in codes]
            write({"frame": t, "time": time, "masks": rles})

        yield add


@contextmanager
def score_file(path: Path, head: dict[str, Any]) -> Iterator[Add]:
    """Per frame and sentence: the network's score, and the part of the frame that it masks."""
    with _frame_list(path, head) as write:

        def add(t: int, found: MaskedFrame, time: float) -> None:
            scores = [round(float(score), 4) for score in found.scores]
            covered = [round(float(mask.mean()), 6) for mask in found.masks]
            write({"frame": t, "time": time, "scores": scores, "covered": covered})

        yield add


@contextmanager
def _frame_list(path: Path, head: dict[str, Any]) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Write a JSON object with the items of `head` and the list `frames`, a line a frame."""
    with atomic_write(path) as part, part.open("w", encoding="utf-8") as file:
        file.write(json.dumps(head, ensure_ascii=False, indent=1).rstrip("\n}") + ',\n "frames": [')
        first = True

        def write(row: dict[str, Any]) -> None:
            nonlocal first
            file.write(("\n  " if first else ",\n  ") + json.dumps(row))
            first = False

        yield write
        file.write("\n ]\n}\n")


def _is_ours(path: Path) -> bool:
    """Whether a folder holds nothing but masks of before."""
    return all(
        OURS.fullmatch(file.name)
        if file.is_file()
        else file.name.isdecimal() and all(OURS.fullmatch(one.name) for one in file.iterdir())
        for file in path.iterdir()
    )


def _check_place(path: Path) -> None:
    place = path.absolute().parent
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise UserError(f"{path} cannot be written: {place} is a file", "Name another place")
    if not os.access(place, os.W_OK | os.X_OK):
        raise UserError(f"{path} cannot be written: {place} is closed to you", "Name another place")
