"""A font that has a text's letters: the one that comes with matplotlib, else an installed one."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

BUNDLED = Path("mpl-data/fonts/ttf/DejaVuSans.ttf")
"""In matplotlib's package: Latin, Greek, Cyrillic, Hebrew, Arabic and more; free to use."""
LIKELY = ("cjk", "noto", "wqy", "unifont", "gothic", "hei", "ming", "nanum", "sans")
"""Parts of names of fonts with many letters: they are looked at first."""


def font_for(text: str) -> Path | None:
    """Return the path of a font with every letter of the text; None where none is installed."""
    bundled = bundled_font()
    if text.isascii() and text.isprintable():  # to know this, matplotlib need not be imported
        return bundled
    letters = frozenset(ord(letter) for letter in text if not letter.isspace())
    if letters <= letters_of(bundled):
        return bundled
    return next((path for path in _installed() if letters <= letters_of(path)), None)


def bundled_font() -> Path:
    """Return matplotlib's DejaVu Sans; matplotlib itself is not imported."""
    spec = find_spec("matplotlib")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / BUNDLED


@lru_cache(maxsize=4096)
def letters_of(path: Path) -> frozenset[int]:
    """Return the code points that a font file has; none where it cannot be read."""
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(str(path)).get_charmap())
    except (OSError, RuntimeError, ValueError):
        return frozenset()


@lru_cache(maxsize=1)
def _installed() -> tuple[Path, ...]:
    from matplotlib.font_manager import findSystemFonts

    def rank(path: Path) -> tuple[int, str]:
        name = path.name.lower()
        return (min((i for i, part in enumerate(LIKELY) if part in name), default=99), name)

    return tuple(sorted((Path(path) for path in findSystemFonts()), key=rank))
