"""Masks and scores as files: a folder of PNGs, COCO's RLE as JSON, scores as JSON.

Each grows frame by frame, and is there, whole, when all is done.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import tempfile
import zlib
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
HEADER = 33
"""Bytes of a PNG's signature and first chunk, IHDR."""
_TEXT = b"tEXtSoftware\0losh predict --masks"
MARK = struct.pack(">I", len(_TEXT) - 4) + _TEXT + struct.pack(">I", zlib.crc32(_TEXT))
"""A text chunk (length, kind, text, CRC), in each mask after the header: by it we know what we may
replace.
"""
Add = Callable[[int, MaskedFrame, float], None]
"""(frame's number, what the network says of it, its time in seconds)."""


def refuse_other_files(folder: Path) -> None:
    """Refuse a folder that holds anything but masks that `mask_folder` wrote.

    A black and white PNG of another program may be somebody's annotation.

    Raises:
        UserError: names the first such file.
    """
    for file in sorted(folder.iterdir()):
        inner = sorted(file.iterdir()) if file.is_dir() and file.name.isdecimal() else [file]
        for one in inner:
            if not (OURS.fullmatch(one.name) and one.is_file() and _is_marked(one)):
                raise UserError(
                    f"{folder} holds other files than masks of `losh predict` "
                    f"({one.relative_to(folder)})",
                    "Name a new folder for --masks",
                )


@contextmanager
def mask_folder(path: Path, sentences: int) -> Iterator[Add]:
    """One 0/255 PNG a frame, 00000.png on; of several sentences in the folders 1, 2, ...

    Raises:
        UserError: the folder holds other files by now.
    """
    path = Path(os.path.realpath(path))  # what a link leads to is replaced, not the link
    path.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=path.parent, prefix=".part-"))
    folders = [part if sentences == 1 else part / str(n + 1) for n in range(sentences)]
    for folder in folders:
        folder.mkdir(exist_ok=True)

    def add(t: int, found: MaskedFrame, time: float) -> None:
        for folder, mask in zip(folders, found.masks, strict=True):
            png = cv2.imencode(".png", mask.astype(np.uint8) * 255)[1].tobytes()
            (folder / f"{t:05d}.png").write_bytes(png[:HEADER] + MARK + png[HEADER:])

    try:
        yield add
        os.chmod(part, 0o755)
        if path.exists():
            refuse_other_files(path)  # the work took its time
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


def _is_marked(file: Path) -> bool:
    with file.open("rb") as png:
        return png.read(HEADER + len(MARK))[HEADER:] == MARK
