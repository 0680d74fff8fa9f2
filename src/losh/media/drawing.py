"""Pictures of masks: overlays on frames."""

from __future__ import annotations

import cv2
import numpy as np

COLOUR = (255, 64, 64)
"""Red in RGB: seen on most footage."""


def overlay(
    frame: np.ndarray,
    mask: np.ndarray,
    colour: tuple[int, int, int] = COLOUR,
    opacity: float = 0.45,
) -> np.ndarray:
    """Tint the mask's pixels and draw its outline.

    uint8 [H, W, 3] and bool [H, W] -> uint8 [H, W, 3].
    """
    tinted = frame.copy()
    tinted[mask] = ((1 - opacity) * frame[mask] + opacity * np.array(colour)).astype(np.uint8)
    return outline(tinted, mask, colour)


def outline(frame: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Draw the mask's outline: uint8 [H, W, 3] and bool [H, W] -> uint8 [H, W, 3]."""
    drawn = frame.copy()
    lines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawn, lines, -1, colour, max(1, min(frame.shape[:2]) // 200))
    return drawn


def caption(frame: np.ndarray, text: str) -> np.ndarray:
    """Write a line of text over a dark strip at the top, as large as fits the width."""
    height, width = frame.shape[:2]
    scale = min(height / 480, 1.0) * 0.7 + 0.1
    (text_width, text_height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    scale *= min(1.0, (width - 8) / max(text_width, 1))
    strip = frame.copy()
    bar = text_height + 8
    strip[:bar] = strip[:bar] // 3
    cv2.putText(
        strip,
        text,
        (4, text_height + 3),
        cv2.FONT_HERSHEY_SIMPLEX,
        scale,
        (255, 255, 255),
        1,
        cv2.LINE_AA,
    )
    return strip
