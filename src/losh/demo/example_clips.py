"""The clips that the page offers besides uploads: the videos of `examples/`."""

from __future__ import annotations

from pathlib import Path

import losh
from losh.media.natural_order import natural

SUFFIXES = {".mp4", ".webm", ".mov", ".m4v"}
"""What browsers play, most of them."""
FIRST_SENTENCE = "the large orange square that is right of the red square"
"""Of `examples/shapes.mp4`."""


def example_clips() -> list[Path]:
    """Return the videos of examples/ here or in the clone that this code is of, in their order.

    There are none where neither is there.
    """
    clone = Path(losh.__file__).resolve().parents[2]
    for folder in (Path.cwd() / "examples", clone / "examples"):
        if folder.is_dir():
            found = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES]
            if found:
                return sorted(found, key=lambda path: natural(path.name))
    return []
