"""Masks packed 64 pixels to a word.

Set operations and morphology on many frames then cost what memory costs.

A row of W pixels becomes ceil(W / 64) little-endian words; pixel x is bit x % 64 of word x // 64,
and the bits beyond W are 0.
"""

from __future__ import annotations

from math import isqrt

import numpy as np

WORD = 64


def pack(masks: np.ndarray) -> np.ndarray:
    """Pack masks `[..., H, W]` into uint64 `[..., H, ceil(W / 64)]`.

    Masks are bool, or integers of which nonzero is True.
    """
    packed = np.packbits(masks, axis=-1, bitorder="little")
    missing = -packed.shape[-1] % 8
    if missing:
        packed = np.concatenate(
            [packed, np.zeros((*packed.shape[:-1], missing), np.uint8)], axis=-1
        )
    return np.ascontiguousarray(packed).view("<u8")


def unpack(words: np.ndarray, width: int) -> np.ndarray:
    """Return the inverse of `pack`: uint64 `[..., H, words]` -> bool `[..., H, width]`."""
    packed = np.ascontiguousarray(words).view(np.uint8)
    return np.unpackbits(packed, axis=-1, count=width, bitorder="little").view(bool)


def count(words: np.ndarray) -> np.ndarray:
    """Return the number of pixels set in each frame: uint64 `[..., H, words]` -> int64 `[...]`."""
    return np.bitwise_count(words).sum(axis=(-2, -1), dtype=np.int64)


def from_right(words: np.ndarray, distance: int) -> np.ndarray:
    """Give each pixel the value of the pixel `distance` (1 to 63) to its right.

    0 comes in at the border.
    """
    moved = words >> np.uint64(distance)
    moved[..., :-1] |= words[..., 1:] << np.uint64(WORD - distance)
    return moved


def from_left(words: np.ndarray, distance: int) -> np.ndarray:
    """Give each pixel the value of the pixel `distance` (1 to 63) to its left.

    Bits may come in beyond the width.
    """
    moved = words << np.uint64(distance)
    moved[..., 1:] |= words[..., :-1] >> np.uint64(WORD - distance)
    return moved


def dilate(words: np.ndarray, radius: int) -> np.ndarray:
    """Dilate by the disk dx^2 + dy^2 <= radius^2; bits beyond the width may be set in the result.

    The disk is a stack of horizontal runs, so each row is widened once for every length of run and
    the widened rows are joined: about 3 * radius passes instead of one for each of the disk's pi *
    radius^2 pixels.
    """
    height = words.shape[-2]
    result = np.zeros_like(words)
    wide, half_width = words, 0
    # From the tip of the disk to its middle row: the runs only grow.
    for dy in range(radius, -1, -1):
        target = isqrt(radius * radius - dy * dy)
        while half_width < target:
            # A run moved further than its length would leave a gap; of one cut by the border
            # half_width + 1 pixels are left.
            step = min(target - half_width, half_width + 1, WORD - 1)
            grown = from_right(wide, step)
            grown |= from_left(wide, step)
            grown |= wide
            wide, half_width = grown, half_width + step
        if dy < height:
            result[..., dy:, :] |= wide[..., : height - dy, :]
            if dy:
                result[..., : height - dy, :] |= wide[..., dy:, :]
    return result
