"""Drawn clips for the tiny datasets: two shapes on a textured ground, with exact masks.

Object 1 is a red square that moves right, object 2 a green disc that moves left. All sizes are in
pixels; all is determined by the arguments.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

SIZE = (48, 64)
QUERIES = {1: "the red square is moving right", 2: "the green disc that is moving left"}
SHORT = {1: "the red square", 2: "the green disc"}
COLOURS = {1: (210, 40, 40), 2: (40, 190, 60)}


@dataclass(frozen=True)
class Clip:
    """Frames uint8 [T, H, W, 3] RGB and object indices uint8 [T, H, W], 0 where there is none."""

    frames: np.ndarray
    objects: np.ndarray


def draw_clip(
    number: int,
    num_frames: int,
    size: tuple[int, int] = SIZE,
    absent: dict[int, set[int]] | None = None,
) -> Clip:
    """Draw two shapes that move towards each other.

    `absent`: object -> frames in which it is not in the picture.
    """
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    ground = (
        (90 + 40 * np.sin((columns + 3 * number) / 5) + 20 * np.cos(rows / 4))
        .clip(0, 255)
        .astype(np.uint8)
    )
    radius = height // 6
    frames = np.repeat(np.repeat(ground[None, :, :, None], num_frames, 0), 3, 3)
    objects = np.zeros((num_frames, height, width), np.uint8)
    for t in range(num_frames):
        x = radius + (number + t) % max(1, width - 2 * radius)
        square = (abs(columns - x) <= radius) & (abs(rows - height // 3) <= radius)
        disc = (columns - (width - 1 - x)) ** 2 + (rows - 3 * height // 4) ** 2 <= radius**2
        for one, shape in ((1, square), (2, disc)):
            if t not in (absent or {}).get(one, set()):
                objects[t][shape] = one
                frames[t][shape] = COLOURS[one]
    return Clip(frames, objects)


def write_jpegs(folder: Path, clip: Clip, names: list[str]) -> None:
    """Write the frames under their names."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in zip(names, clip.frames, strict=True):
        (folder / f"{name}.jpg").write_bytes(cv2.imencode(".jpg", frame[:, :, ::-1])[1].tobytes())
