"""What a shape can look like: colour, size, shape, texture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 45),
    "green": (40, 158, 62),
    "blue": (42, 98, 224),
    "yellow": (247, 208, 40),
    "purple": (146, 62, 190),
    "orange": (243, 128, 24),
}
"""Name -> RGB of the base colour. Backgrounds are greyish, so that a colour word always finds
objects alone.
"""

SHAPES = ("circle", "square", "triangle", "star")
TEXTURES = ("plain", "striped", "dotted", "checkered")
RADII: dict[str, tuple[float, float]] = {"small": (12.0, 13.5), "large": (18.0, 20.5)}
"""Size word -> range of the radius in px of a disc of about the same area, in a frame of 96 x 128.
"""


@dataclass(frozen=True)
class Appearance:
    """The words that describe how an object looks."""

    colour: str
    shape: str
    size: str
    texture: str

    def differences(self, other: Appearance) -> int:
        """Return in how many of the four words two objects differ."""
        return sum(
            getattr(self, word) != getattr(other, word)
            for word in ("colour", "shape", "size", "texture")
        )


def sample_appearance(rng: np.random.Generator, colour: str) -> Appearance:
    """Draw the other three words for a colour."""
    # str(): numpy's own strings would leak into JSON and comparisons.
    shape, size, texture = (str(rng.choice(words)) for words in (SHAPES, tuple(RADII), TEXTURES))
    return Appearance(colour, shape, size, texture)


def sample_appearances(rng: np.random.Generator, count: int, twins: bool) -> list[Appearance]:
    """Draw the looks of a clip's objects.

    They share two colours, so that the colour alone seldom decides, and two of one colour differ in
    at least two words, so that what decides is plain to see. With `twins` the first two look
    exactly alike.
    """
    main, other = (str(c) for c in rng.choice(tuple(COLOURS), size=2, replace=False))
    looks = [sample_appearance(rng, main)]
    if twins:
        looks.append(looks[0])
    while len(looks) < count:
        drawn = sample_appearance(rng, main if rng.random() < 0.8 else other)
        if all(drawn.colour != look.colour or drawn.differences(look) >= 2 for look in looks):
            looks.append(drawn)
    return looks
