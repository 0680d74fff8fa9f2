"""Masks that MATLAB wrote: rows and columns may have changed places on the way."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from losh.errors import UserError

SLACK = 2
"""Pixels by which a mask may differ from its video (our choice): encoders round an odd size to an even one."""


def as_rows_first(mask: np.ndarray, height: int, width: int, path: Path) -> np.ndarray:
    """A [W, H] (published) or [H, W] mask as bool [H, W] of the video's size.

    Which one it is follows from the video's size; a square video's mask is taken to be transposed, as published.

    Raises:
        UserError: the mask has neither shape; the message names `path`.
    """
    turned, upright = (width, height), (height, width)
    if mask.shape == turned or (mask.shape != upright and _close(mask.shape, turned)):
        mask = mask.T
    elif not _close(mask.shape, upright):
        raise UserError(f"{path} has masks of {mask.shape}, but the video is {height} high and {width} wide", "Fetch the published file again")
    if mask.shape == (height, width):
        return np.ascontiguousarray(mask)
    rows, columns = (np.minimum(np.arange(size), have - 1) for size, have in zip((height, width), mask.shape, strict=True))
    return mask[np.ix_(rows, columns)]


def _close(shape: tuple[int, ...], wanted: tuple[int, int]) -> bool:
    return len(shape) == 2 and all(abs(have - want) <= SLACK for have, want in zip(shape, wanted, strict=True))
