"""The masks of a user's folder: indexed PNGs, one a frame, or COCO run lengths in one JSON."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from losh.datasets.coco_masks import mask_of_runs, run_lengths
from losh.errors import UserError, first_line
from losh.media.decoding import VOID

MASKS = "masks"
INDEXED, BINARY, RUNS = "indexed", "binary", "runs"
"""How a video's masks are written; see `form_of` for the first two."""
ONLY = "1"
"""What the one object of black and white masks is called."""


def read_png(path: Path) -> np.ndarray:
    """Return the values of a mask's PNG, uint8 [H, W].

    Raises:
        UserError: it does not decode, or is in colour or of 16 bits.
    """
    try:
        with Image.open(path) as image:
            if image.format != "PNG":
                raise UserError(f"{path} is {image.format}, not PNG")
            if image.mode not in ("P", "L", "1"):
                raise UserError(
                    f"{path} has the mode {image.mode}; a mask is an indexed or a grey PNG of 8 "
                    "bits, whose values number the objects"
                )
            return np.array(image.convert("L") if image.mode == "1" else image, np.uint8)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        why = first_line(error)
        raise UserError(f"{path} does not decode ({why.replace(str(path), 'it')})") from None


def form_of(values: set[int]) -> str:
    """Return how a video's PNGs are meant, by all values that occur in them.

    Black and white alone (0, 255; perhaps only one of them) is one object, called 1. Else each
    value numbers an object, and 255 marks pixels that count for nobody.
    """
    return BINARY if VOID in values and values <= {0, VOID} else INDEXED


def objects_of(values: set[int], form: str) -> list[str]:
    """Return the objects that values of PNGs name."""
    if form == BINARY:
        return [ONLY]
    return [str(value) for value in sorted(values - {0, VOID})]


def split_png(values: np.ndarray, form: str) -> dict[str, np.ndarray]:
    """Return object -> bool [H, W], of the objects that one PNG shows; void under id VOID."""
    if form == BINARY:
        return {ONLY: values == VOID} if (values == VOID).any() else {}
    return {str(value): values == value for value in np.unique(values) if value}


def read_runs(path: Path) -> dict[str, dict[str, Any]]:
    """Return frame -> object -> run lengths as the JSON has them.

    Raises:
        UserError: it is not `{"<frame>": {"<object>": {"size": [H, W], "counts": ...}}}`.
    """
    try:
        stamp = path.stat().st_mtime_ns
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
    return _read_runs(path, stamp)


@lru_cache(maxsize=2)
def _read_runs(path: Path, stamp: int) -> dict[str, dict[str, Any]]:
    """Read the file once for all its frames; `stamp` is its time of change."""
    try:
        frames = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{path} is not JSON in UTF-8 ({why})") from None
    if not isinstance(frames, dict) or not all(isinstance(one, dict) for one in frames.values()):
        raise UserError(
            f'{path} is not {{"<frame>": {{"<object>": {{"size": [H, W], "counts": ...}}}}}}'
        )
    return frames


def decode_runs(code: Any) -> np.ndarray:
    """Return a mask of COCO's run lengths, bool [H, W].

    `counts` is a list of lengths, or COCO's text for one. pycocotools does not see where a text was
    cut, and returns what lies in memory: so the lengths are added up here.

    Raises:
        ValueError: says what is wrong with it.
    """
    try:
        height, width = (int(side) for side in code["size"])
        counts = code["counts"]
        lengths = [int(n) for n in (run_lengths(counts) if isinstance(counts, str) else counts)]
    except (KeyError, TypeError, IndexError, ValueError):
        raise ValueError('is not {"size": [H, W], "counts": ...} of COCO') from None
    if sum(lengths) != height * width or min(lengths, default=0) < 0 or min(height, width) < 1:
        raise ValueError(f"has run lengths of {sum(lengths)} pixels, not {height} x {width}")
    return mask_of_runs(lengths, height, width)
