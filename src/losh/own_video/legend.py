"""The strip below the picture: each sentence in its colour, wrapped, in a font with its letters."""

from __future__ import annotations

from collections.abc import Sequence
from colorsys import hsv_to_rgb
from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from losh.own_video.fonts import bundled_font, font_for

COLOURS = (
    (255, 64, 64),
    (64, 160, 255),
    (255, 200, 0),
    (64, 220, 96),
    (230, 96, 255),
    (0, 220, 220),
    (255, 140, 40),
    (200, 200, 200),
)
"""RGB, one a sentence; from the ninth on those of `_more_colours`."""
BACKGROUND, INK = (24, 24, 24), (240, 240, 240)
MOST_LINES = 6
"""Of one sentence; what is longer ends in an ellipsis."""


HUES, SHADES = 36, ((1.0, 1.0), (0.5, 1.0), (1.0, 0.7))
"""Of further colours: hues all around, each with these saturations and values of HSV."""


def colour_of(i: int) -> tuple[int, int, int]:
    """Return sentence i's colour, RGB; the first 116 differ."""
    if i < len(COLOURS):
        return COLOURS[i]
    more = _more_colours()
    return more[(i - len(COLOURS)) % len(more)]


@lru_cache(maxsize=1)
def _more_colours() -> tuple[tuple[int, int, int], ...]:
    """Order hues and shades: each next one is the farthest, in CIELAB, from all before it."""
    left = [
        tuple(round(255 * part) for part in hsv_to_rgb(n / HUES, saturation, value))
        for n in range(HUES)
        for saturation, value in SHADES
    ]
    rgb = np.array([BACKGROUND, *COLOURS, *left], np.float32) / 255
    lab = cv2.cvtColor(rgb[None], cv2.COLOR_RGB2LAB)[0]
    taken, free = lab[: -len(left)], lab[-len(left) :]
    distance = np.linalg.norm(free[:, None] - taken, axis=2).min(1)
    order = []
    for _ in left:
        n = int(distance.argmax())
        order.append((left[n][0], left[n][1], left[n][2]))
        distance = np.minimum(distance, np.linalg.norm(free - free[n], axis=1))
        distance[n] = -1
    return tuple(order)


def legend(
    sentences: Sequence[str],
    width: int,
    height: int,
    colours: Sequence[tuple[int, int, int]] | None = None,
) -> tuple[np.ndarray, list[str]]:
    """Draw the strip for a picture of this size in pixels.

    Args:
        colours: RGB of each sentence; None: those of `colour_of`.

    Returns:
        uint8 [h, W, 3], and what there is to tell, each one line: letters that no font here has.
    """
    size = max(11, min(round(0.035 * height), round(0.06 * width), 40))
    chosen = colours or [colour_of(i) for i in range(len(sentences))]
    notes, blocks = [], []
    for i, sentence in enumerate(sentences):
        text = " ".join(sentence.split())
        path = font_for(text)
        if path is None:
            notes.append(
                f"no font here has the letters of {text!r}, so the legend says its number; install "
                "one (Chinese, Japanese, Korean: the package fonts-noto-cjk; others: fonts-noto)"
            )
            text, path = f"sentence {i + 1}", bundled_font()
        blocks.append(_block(text, ImageFont.truetype(str(path), size), chosen[i], width, size))
    return np.concatenate(blocks), notes


def wrapped(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Break a text into lines of at most `width` pixels.

    Lines break between words, inside one only where it alone is too long (Chinese has no spaces).
    """
    lines, line = [], ""
    for word in text.split(" "):
        joined = f"{line} {word}" if line else word
        if font.getlength(joined) <= width:
            line = joined
            continue
        if line:
            lines.append(line)
        line = ""
        for letter in word:
            if line and font.getlength(line + letter) > width:
                lines.append(line)
                line = ""
            line += letter
    lines.append(line)
    if len(lines) > MOST_LINES:
        last = lines[MOST_LINES - 1]
        while last and font.getlength(last + "…") > width:
            last = last[:-1]
        lines = [*lines[: MOST_LINES - 1], last + "…"]
    return lines


def _block(
    text: str,
    font: ImageFont.FreeTypeFont,
    colour: tuple[int, int, int],
    width: int,
    size: int,
) -> np.ndarray:
    """Draw one sentence after a square of its colour: uint8 [h, W, 3]."""
    edge, line_height = max(2, size // 3), round(1.3 * size)
    indent = 2 * edge + size
    lines = wrapped(text, font, max(size, width - indent - edge))
    image = Image.new("RGB", (width, line_height * len(lines) + edge), BACKGROUND)
    draw = ImageDraw.Draw(image)
    top = edge // 2
    draw.rectangle((edge, top + size // 6, edge + size - 1, top + size // 6 + size - 1), colour)
    for n, line in enumerate(lines):
        draw.text((indent, top + n * line_height), line, INK, font)
    return np.asarray(image)
