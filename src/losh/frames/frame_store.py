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
from losh.media.decoding import VOID
from losh.runtime.files import OpenFiles, quoted, read_json

# OpenCV's own threads do not survive the fork of a loader's worker, which then waits for them for
# ever; we are parallel by processes.
cv2.setNumThreads(0)

SUFFIXES = (".jpg", ".png")
"""Of a stored frame, by how it is encoded (losh.frames.encoding)."""
UNREADABLE = (OSError, EOFError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile)
"""What a damaged zip makes zipfile raise, by where the damage lies (NotImplementedError, for a
method that does not exist, is a RuntimeError).
"""


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
        names = [f"frames/{t:06d}{suffix}" for suffix in SUFFIXES]
        data = np.frombuffer(self._read(video, *names), np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
        if image is None:
            raise UserError(
                f"{self._path(video)}: frame {t} does not decode",
                f"Run `dvc repro -f -s extract_frames@{self.root.name}`",
            )
        return np.ascontiguousarray(image[:, :, ::-1])

    def masks(self, video: str, t: int) -> dict[str, np.ndarray]:
        """Return the masks of the annotated frame `t`: instance id -> bool [H, W].

        Instances without a pixel are included, void is no instance.
        """
        size, codes = self._mask_codes(video, t)
        return {name: _decoded(size, code) for name, code in codes.items() if name != str(VOID)}

    def void(self, video: str, t: int) -> np.ndarray | None:
        """Return the pixels of the annotated frame `t` that count for nobody (DAVIS), bool [H, W].

        None where it has none.
        """
        size, codes = self._mask_codes(video, t)
        return _decoded(size, codes[str(VOID)]) if str(VOID) in codes else None

    def _mask_codes(self, video: str, t: int) -> tuple[list[int], dict[str, str]]:
        """[H, W] and instance id (or VOID) -> compressed RLE."""
        entry = json.loads(self._read(video, f"masks/{t:06d}.json"))
        return entry["size"], entry["instances"]

    def _path(self, video: str) -> Path:
        return self.root / f"{quoted(video)}.zip"

    def _read(self, video: str, *names: str) -> bytes:
        """Return the bytes of the first of `names` that the video's zip has."""
        try:
            archive = self._zips.get(self._path(video))
            known = archive.NameToInfo
            return archive.read(next((name for name in names if name in known), names[0]))
        except UNREADABLE as error:
            raise UserError(
                f"{self._path(video)} has no readable {names[0]} ({type(error).__name__})",
                f"Run `dvc repro -f -s extract_frames@{self.root.name}`",
            ) from None


def _decoded(size: list[int], code: str) -> np.ndarray:
    return coco_mask.decode({"size": size, "counts": code}).astype(bool)
