"""Frames, masks and flow at another size, by one rule each."""

from __future__ import annotations

import cv2
import numpy as np


def network_size(height: int, width: int, short_side: int, long_side: int) -> tuple[int, int]:
    """Height and width, in pixels, that a frame has at the network's input: its aspect kept, the
    short side `short_side` unless the long side would exceed `long_side` (MTTR's rule).
    """
    ratio = min(short_side / min(height, width), long_side / max(height, width))
    return max(1, round(height * ratio)), max(1, round(width * ratio))


def resize_frame(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize uint8 [H, W, 3] to `size` = (height, width).

    Area means where it shrinks, else bilinear.
    """
    if frame.shape[:2] == size:
        return frame
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
