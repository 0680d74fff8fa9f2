"""Reading what extract_frames wrote: frames and instance masks by video and frame index."""

from __future__ import annotations

import json
import os
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from losh.errors import UserError
from losh.files import quoted, read_json

# OpenCV's own threads do not survive the fork of a loader's worker, which then waits for them for ever; we are parallel by processes.
cv2.setNumThreads(0)

OPEN_FILES = 16
"""Zips kept open at once in a process: enough for a batch, far below the limit on handles."""


class FrameStore:
    """Random access to the frames and masks of one dataset in data/frames/<name>.

    Safe to hand to loader workers: zips are opened when first read in the process that reads them, since a handle
    that crossed a fork would share its position with the parent.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self.index: dict[str, Any] = read_json(self.root / "index.json", f"dvc repro extract_frames@{self.root.name}")
        self._open: OrderedDict[str, zipfile.ZipFile] = OrderedDict()
        self._pid = os.getpid()

    @property
    def videos(self) -> dict[str, dict[str, Any]]:
        """Video id -> its row of the index (docs/design.md)."""
        return self.index["videos"]

    def frame(self, video: str, t: int) -> np.ndarray:
        """Frame `t` (0-based) as uint8 [H, W, 3] RGB.

        Raises:
            UserError: the frame is not in the store, or does not decode.
        """
        data = np.frombuffer(self._read(video, f"frames/{t:06d}.jpg"), np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
        if image is None:
            raise UserError(f"{self._path(video)}: frame {t} does not decode", f"Run `dvc repro -f -s extract_frames@{self.root.name}`")
        return np.ascontiguousarray(image[:, :, ::-1])

    def masks(self, video: str, t: int) -> dict[str, np.ndarray]:
        """Instance id -> bool [H, W] of the annotated frame `t`; instances without a pixel are included."""
        entry = json.loads(self._read(video, f"masks/{t:06d}.json"))
        return {name: coco_mask.decode({"size": entry["size"], "counts": counts}).astype(bool) for name, counts in entry["instances"].items()}

    def _path(self, video: str) -> Path:
        return self.root / f"{quoted(video)}.zip"

    def _read(self, video: str, name: str) -> bytes:
        try:
            return self._zip(video).read(name)
        except (FileNotFoundError, KeyError, zipfile.BadZipFile) as error:
            raise UserError(
                f"{self._path(video)} has no readable {name} ({type(error).__name__})",
                f"Run `dvc repro -f -s extract_frames@{self.root.name}`",
            ) from None

    def _zip(self, video: str) -> zipfile.ZipFile:
        if os.getpid() != self._pid:
            self._open, self._pid = OrderedDict(), os.getpid()
        if video in self._open:
            self._open.move_to_end(video)
            return self._open[video]
        archive = self._open[video] = zipfile.ZipFile(self._path(video))
        if len(self._open) > OPEN_FILES:
            self._open.popitem(last=False)[1].close()
        return archive

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root, "index": self.index, "_open": OrderedDict(), "_pid": -1}
