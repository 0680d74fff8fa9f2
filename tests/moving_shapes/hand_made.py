"""A scene placed by hand, small enough to judge every expression by eye."""

from __future__ import annotations

import numpy as np

from losh.moving_shapes.appearance import Appearance
from losh.moving_shapes.arrangement import Scene, Shape
from losh.moving_shapes.motion import Motion

FRAMES = (2, 3, 4)


def shape(
    instance: str, looks: str, motion: str, x: float, y: float, step: tuple[float, float] = (0, 0)
) -> Shape:
    """An object of radius 12 whose centre lies at (x, y) in frame 3 and moves by `step` a frame.

    Args:
        instance: its id.
        looks: colour and shape, as in "red star"; it is small and plain.
        motion: one of MOTIONS.
        x, y: px.
        step: px to the right and down.
    """
    colour, form = looks.split()
    times = np.arange(6)[:, None] - 3
    centres = np.array([x, y]) + times * np.array(step, float)
    return Shape(
        instance, Appearance(colour, form, "small", "plain"), Motion(motion), 12, 0, centres
    )


def scene(*shapes: Shape) -> Scene:
    """A clip of six frames of 96 x 128, annotated in FRAMES; from the farthest to the nearest."""
    return Scene(0, 96, 128, shapes, FRAMES, np.zeros((6, 2)), False)


def three_stars() -> Scene:
    """Three red stars and two squares.

    "0" on the left goes right, "1" in the middle circles, "2" on the right stands still; of the
    two blue squares, "3" lies still under "0", and "4" goes up under "2".
    """
    return scene(
        shape("0", "red star", "right", 20, 30, (2, 0)),
        shape("1", "red star", "circling", 70, 30),
        shape("2", "red star", "still", 108, 30),
        shape("3", "blue square", "still", 22, 50),
        shape("4", "blue square", "up", 106, 50, (0, -1)),
    )
