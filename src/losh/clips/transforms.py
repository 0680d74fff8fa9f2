"""Augmentation of a clip: frames, masks, flow and words change together."""

from __future__ import annotations

import re

import numpy as np

MIRRORED = {
    "left": "right",
    "leftmost": "rightmost",
    "leftward": "rightward",
    "leftwards": "rightwards",
}
MIRRORED |= {right: left for left, right in MIRRORED.items()}
WHOLE_WORD = re.compile(
    r"\b(" + "|".join(sorted(MIRRORED, key=len, reverse=True)) + r")\b", re.IGNORECASE
)


def mirror_words(text: str) -> str:
    """Swap left and right, whole words only.

    "bright" stays "bright", which the released code turns into "bleft".
    """

    def swap(match: re.Match[str]) -> str:
        word = match.group()
        other = MIRRORED[word.lower()]
        if word.isupper():
            return other.upper()
        return other.capitalize() if word[0].isupper() else other

    return WHOLE_WORD.sub(swap, text)


def mirror_image(array: np.ndarray) -> np.ndarray:
    """Mirror frames [..., H, W, 3] (uint8) or masks [..., H, W] (bool) left to right."""
    axis = -2 if array.ndim >= 3 and array.shape[-1] == 3 and array.dtype == np.uint8 else -1
    return np.ascontiguousarray(np.flip(array, axis))


def mirror_flow(flow: np.ndarray) -> np.ndarray:
    """Mirror a flow field [..., 2, h, w]: the field is mirrored and u changes its sign."""
    mirrored = np.flip(flow, -1).copy()
    mirrored[..., 0, :, :] *= -1
    return mirrored
