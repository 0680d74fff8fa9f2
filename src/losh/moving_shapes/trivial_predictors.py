"""Predictors that see the true masks but hardly the sentence: what a model must beat."""

from __future__ import annotations

import zlib

import numpy as np

from losh.moving_shapes.appearance import COLOURS


def trivial_masks(
    text: str, masks: dict[str, np.ndarray], objects: dict[str, dict], seed: int
) -> dict[str, np.ndarray]:
    """Predict a mask for one frame without understanding.

    Args:
        text: the expression.
        masks: instance -> bool [H, W] of each object that is seen in the frame; at least one.
        objects: instance -> attributes, of the frame's video (`objects.json`).
        seed: of the random choice; it also depends on the text, not on the order of calls.

    Returns:
        bool [H, W] for `largest_object` (most pixels in this frame) and for
        `random_object_of_named_colour` (the sentence's first colour is its subject's).
    """
    return {
        "largest_object": largest_object(masks),
        "random_object_of_named_colour": random_object_of_named_colour(text, masks, objects, seed),
    }


def largest_object(masks: dict[str, np.ndarray]) -> np.ndarray:
    """Return the mask with most pixels; of equal ones the first by id."""
    return masks[max(sorted(masks), key=lambda name: int(masks[name].sum()))]


def random_object_of_named_colour(
    text: str, masks: dict[str, np.ndarray], objects: dict[str, dict], seed: int
) -> np.ndarray:
    """Return the mask of a random object of the first colour that the text names.

    Of any object where it names none, or none is seen.
    """
    colour = next((word for word in text.lower().split() if word in COLOURS), None)
    fitting = sorted(name for name in masks if objects[name]["colour"] == colour) or sorted(masks)
    # crc32, not hash(): Python salts the latter anew in each process.
    rng = np.random.default_rng((seed, zlib.crc32(text.encode())))
    return masks[fitting[int(rng.integers(len(fitting)))]]
