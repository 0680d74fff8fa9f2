"""Videos as players show them: a camera notes in the file how it was held."""

from __future__ import annotations

from typing import Any

import av
import numpy as np


def display_matrix(frame: av.VideoFrame) -> np.ndarray | None:
    """Return the display matrix's numbers a b u c d v x y w, int32 [9]; None: there is none."""
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    return None if data is None else np.frombuffer(bytes(data), np.int32)


def upright(image: np.ndarray, matrix: np.ndarray | None) -> np.ndarray:
    """Turn and mirror an image [H, W, 3] as its display matrix says, to the nearest quarter turn.

    The matrix brings (x, y), y down, to (a x + c y, b x + d y).
    """
    if matrix is None:
        return image
    a, b, c, d = (float(matrix[i]) for i in (0, 1, 3, 4))
    if abs(b) + abs(c) > abs(a) + abs(d):
        image, a, d = image.swapaxes(0, 1), c, b
    return image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
