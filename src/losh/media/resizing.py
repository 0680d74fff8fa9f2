"""Frames, masks and flow at another size, by one rule each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from PIL import Image

Filter = Literal["area", "pil_bilinear"]
"""How frames are resized. `area` (ours): means of areas where a frame shrinks, bilinear where it
grows, by OpenCV. `pil_bilinear` (published): a triangle as wide as the shrinking asks for, by
Pillow.
"""


@dataclass(frozen=True)
class InputSize:
    """How frames become the network's input: its sides in pixels, and the filter."""

    short_side: int
    long_side: int
    resize_filter: Filter = "area"

    @classmethod
    def of_config(cls, config: dict[str, Any]) -> InputSize:
        """Of a model file's configuration; one that names no filter was trained with `area`."""
        return cls(config["short_side"], config["long_side"], config.get("resize_filter", "area"))

    def size_of(self, height: int, width: int) -> tuple[int, int]:
        """Height and width, in pixels, that a frame has at the network's input."""
        return network_size(height, width, self.short_side, self.long_side)

    def resize(self, frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Resize uint8 [H, W, 3] to `size` = (height, width)."""
        return resize_frame(frame, size, self.resize_filter)


def network_size(height: int, width: int, short_side: int, long_side: int) -> tuple[int, int]:
    """Compute height and width, in pixels, of a frame with its aspect kept.

    The short side is `short_side`, or less where the long side would exceed `long_side`.

    The published rule (MTTR's and ReferFormer's): the short side is rounded, the long side that
    follows from it is truncated.
    """
    short, long = sorted((height, width))
    if long * short_side > long_side * short:
        short_side = max(1, round(long_side * short / long))
    other = short_side * long // short
    return (short_side, other) if height <= width else (other, short_side)


def resize_frame(
    frame: np.ndarray, size: tuple[int, int], resize_filter: Filter = "area"
) -> np.ndarray:
    """Resize uint8 [H, W, 3] to `size` = (height, width)."""
    if frame.shape[:2] == size:
        return frame
    if resize_filter == "pil_bilinear":
        image = Image.fromarray(frame).resize(size[::-1], Image.Resampling.BILINEAR)
        return np.asarray(image)
    shrinks = size[0] < frame.shape[0]
    return cv2.resize(
        frame, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize bool [H, W] to `size` = (height, width), nearest neighbour."""
    if mask.shape == size:
        return mask
    return cv2.resize(mask.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST).astype(
        bool
    )


def resize_flow(flow: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a field [2, h, w] to `size` and scale its vectors with it.

    So they stay in pixels of the field's own grid.
    """
    _, height, width = flow.shape
    if (height, width) == size:
        return flow
    resized = cv2.resize(np.moveaxis(flow, 0, -1), size[::-1], interpolation=cv2.INTER_LINEAR)
    return np.moveaxis(resized * np.array([size[1] / width, size[0] / height], np.float32), -1, 0)
