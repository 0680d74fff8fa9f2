"""Flow as a picture: direction as hue, length as saturation."""

from __future__ import annotations

import cv2
import numpy as np


def flow_to_rgb(flow: np.ndarray, longest: float | None = None) -> np.ndarray:
    """Colour a field by a wheel: right is red, down yellow-green, left cyan, up violet.

    What does not move is white.

    Args:
        flow: float [2, h, w], u right and v down.
        longest: the length, in the field's unit, that gets the full colour; None: the 99th
            percentile of this field.

    Returns:
        uint8 [h, w, 3] RGB; black where the field is not finite.
    """
    finite = np.isfinite(flow).all(axis=0)
    u, v = np.where(finite, flow, 0).astype(np.float32)
    length = np.hypot(u, v)
    scale = longest if longest is not None else float(np.percentile(length, 99))
    hue = np.degrees(np.arctan2(v, u)) % 360
    saturation = np.clip(length / max(scale, 1e-6), 0, 1)
    picture = cv2.cvtColor(
        np.stack([hue, saturation, np.ones_like(hue)], axis=-1).astype(np.float32),
        cv2.COLOR_HSV2RGB,
    )
    picture[~finite] = 0
    return np.rint(picture * 255).astype(np.uint8)
