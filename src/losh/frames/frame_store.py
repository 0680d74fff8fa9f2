"""Reading what extract_frames wrote: frames and instance masks by video and frame index."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from losh.errors import UserError
from losh.runtime.files import OpenFiles, quoted, read_json

# OpenCV's own threads do not survive the fork of a loader's worker, which then waits for them for
# ever; we are parallel by processes.
cv2.setNumThreads(0)


class FrameStore:
    """Random access to the frames and masks of one dataset in data/frames/<name>.

    Safe to hand to loader workers.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self.index: dict[str, Any] = read_json(
            self.root / "index.json", f"dvc repro extract_frames@{self.root.name}"
        )
        self._zips = OpenFiles(zipfile.ZipFile)

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
            raise UserError(
                f"{self._path(video)}: frame {t} does not decode",
                f"Run `dvc repro -f -s extract_frames@{self.root.name}`",
            )
        return np.ascontiguousarray(image[:, :, ::-1])

    def masks(self, video: str, t: int) -> dict[str, np.ndarray]:
        """Return the masks of the annotated frame `t`: instance id -> bool [H, W].

        Instances without a pixel are included.
        """
        entry = json.loads(self._read(video, f"masks/{t:06d}.json"))
        return {
            name: coco_mask.decode({"size": entry["size"], "counts": counts}).astype(bool)
            for name, counts in entry["instances"].items()
        }

    def _path(self, video: str) -> Path:
        return self.root / f"{quoted(video)}.zip"

    def _read(self, video: str, name: str) -> bytes:
        try:
            return self._zips.get(self._path(video)).read(name)
        except (FileNotFoundError, KeyError, zipfile.BadZipFile) as error:
            raise UserError(
                f"{self._path(video)} has no readable {name} ({type(error).__name__})",
                f"Run `dvc repro -f -s extract_frames@{self.root.name}`",
            ) from None
