"""Masks in COCO's forms: polygons and run-length codes."""

from __future__ import annotations

from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

LEAST = 6
"""Numbers of a polygon: three points. pycocotools would take four numbers for a box."""


def mask_of_polygons(polygons: Any, height: int, width: int) -> np.ndarray:
    """Return the union of polygons [[x1, y1, x2, y2, ...], ...] in px as bool [height, width].

    Raises:
        ValueError: they are no polygons.
    """
    if not isinstance(polygons, list):
        raise ValueError("its segmentation is no list of polygons")
    for polygon in polygons:
        if (
            not isinstance(polygon, list)
            or len(polygon) < LEAST
            or len(polygon) % 2
            or not all(isinstance(value, int | float) for value in polygon)
            or not np.isfinite(polygon).all()
        ):
            raise ValueError("a polygon is no list of at least three points x, y")
    if not polygons:
        return np.zeros((height, width), bool)
    codes = coco_mask.frPyObjects(polygons, height, width)
    return coco_mask.decode(coco_mask.merge(codes)).astype(bool)


def mask_of_code(code: Any) -> np.ndarray:
    """Return a compressed run-length code {"size": [H, W], "counts": "..."} as bool [H, W].

    Raises:
        ValueError: it is none.
    """
    size = code.get("size") if isinstance(code, dict) else None
    if not (
        isinstance(size, list)
        and len(size) == 2
        and all(type(side) is int and 0 < side < 1 << 15 for side in size)
        and isinstance(code.get("counts"), str)
    ):
        raise ValueError("a mask is no compressed run-length code with size and counts")
    runs = run_lengths(code["counts"])
    if (runs < 0).any() or runs.sum() != size[0] * size[1]:
        raise ValueError("the runs of a mask do not add up to its size")
    return mask_of_runs(runs, size[0], size[1])


def mask_of_runs(runs: Any, height: int, width: int) -> np.ndarray:
    """Return runs of pixels outside and inside by turns, down each column, as bool [H, W]."""
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs).reshape(width, height).T


def run_lengths(counts: str) -> np.ndarray:
    """Return the run lengths of a compressed code, int64.

    A character holds five bits of a number, from 48 on; its sixth bit says that more follow, and
    the highest of the last five is the sign. From the fourth run on a number is the difference to
    the run before the last. Read here too, since pycocotools fills what the runs leave out with
    whatever lay in memory.
    """
    codes = np.frombuffer(counts.encode("ascii", "replace"), np.uint8).astype(np.int64) - 48
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise ValueError("a mask's counts are no run-length code")
    ends = np.flatnonzero((codes & 32) == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, ends - starts + 1))
    if shifts.max() > 30:
        raise ValueError("a mask's counts are no run-length code")
    values = np.add.reduceat((codes & 31) << shifts, starts)
    values -= np.where(codes[ends] & 16, np.int64(32) << shifts[ends], 0)
    for first in (1, 2):
        values[first::2] = np.cumsum(values[first::2])
    return values
