"""Palette PNGs: a pixel's palette index is the object's id, 0 the background."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from losh.errors import UserError

VOID = 255
"""DAVIS' index of pixels that count for nobody; never an object."""


def read_indices(path: Path) -> np.ndarray:
    """The palette indices (or grey values) of an annotation, uint8 [H, W].

    Raises:
        UserError: the file is missing, does not decode, or is in colour, so that its indices are lost.
    """
    try:
        with Image.open(path) as image:
            if image.mode not in ("P", "L", "1"):
                raise UserError(f"{path} is {image.mode}, not a palette image", "Something has converted it; fetch the published file again")
            return np.asarray(image.convert("L") if image.mode == "1" else image)
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path} is missing or does not decode ({str(error).splitlines()[0]})", "Fetch the published file again") from None


def split_objects(indices: np.ndarray, known: Iterable[str] = ()) -> dict[str, np.ndarray]:
    """Object id -> bool [H, W]: the objects in the image, and the `known` ones of the video that this frame does not show as empty masks."""
    present = {str(index) for index in np.unique(indices) if index not in (0, VOID)}
    return {one: indices == int(one) for one in sorted(present | set(known), key=int)}
