"""A tiny data/frames/<name> folder in the layout of docs/design.md.

It is written here so that these tests need no other stage.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np

from losh.runtime.files import add_to_zip, quoted, sha256_of, write_json


def textured(seed: int, height: int, width: int) -> np.ndarray:
    """A smooth random picture, uint8 [height, width, 3]."""
    coarse = np.random.default_rng(seed).random((height // 6, width // 6, 3), np.float32)
    return np.rint(
        np.clip(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1) * 255
    ).astype(np.uint8)


def write_frames(root: Path, videos: dict[str, dict], height: int = 64, width: int = 80) -> Path:
    """Write a frame folder.

    Args:
        root: the folder.
        videos: id -> {"split", "stored", "annotated", "seed"}; frame t shows a picture that has
            moved 2 t px to the right.
        height, width: px.
    """
    root.mkdir(parents=True, exist_ok=True)
    rows = {}
    for video, given in videos.items():
        wide = textured(given.get("seed", 0), height, width + 64)
        path = root / f"{quoted(video)}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for t in given["stored"]:
                image = wide[:, 60 - 2 * t : 60 - 2 * t + width, ::-1]
                add_to_zip(
                    archive,
                    f"frames/{t:06d}.jpg",
                    cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes(),
                )
        rows[video] = {
            "split": given["split"],
            "num_frames": max(given["stored"]) + 1,
            "frame_names": [],
            "height": height,
            "width": width,
            "stored": given["stored"],
            "annotated": given["annotated"],
            "instances": {},
            "sha256": sha256_of(path),
        }
    write_json(
        root / "index.json",
        {
            "name": root.name,
            "kind": "test",
            "protocol": "a2d",
            "window": 4,
            "videos": rows,
            "skipped": [],
        },
    )
    return root
