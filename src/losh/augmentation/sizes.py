"""How large a clip is and which part of it is shown: one of several sizes, or a crop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from losh.clips.geometry import Crop, Geometry
from losh.media.resizing import InputSize, network_size
from losh.params import AugmentationParams

NO_LIMIT = 1_000_000
"""px: before a crop the long side has none (published)."""


@dataclass(frozen=True)
class Held:
    """A box that a crop shall hold, in parts of the frame's height and width."""

    top: float
    left: float
    bottom: float
    right: float


def draw_geometry(
    frame: tuple[int, int],
    usual: InputSize,
    params: AugmentationParams,
    rng: np.random.Generator,
    mirrored: bool,
    held: Held | None = None,
) -> Geometry:
    """Draw how a clip's frames become the network's input.

    Args:
        frame: height and width as stored.
        usual: where `params` names no sizes.
        held: with `crop.keeps: whole`, what the crop shall hold.
    """
    shorts = params.short_sides or [usual.short_side]
    limit = params.long_side or usual.long_side
    crop = None
    if params.crop.probability and rng.random() < params.crop.probability:
        crop = _draw_crop(frame, params, rng, held)
        frame = crop.height, crop.width
        shorts = params.crop.final_short_sides or shorts
        limit = params.crop.final_long_side or limit
    size = network_size(*frame, _one_of(shorts, rng), limit)
    return Geometry(size, crop, mirrored, usual.resize_filter)


def _draw_crop(
    frame: tuple[int, int],
    params: AugmentationParams,
    rng: np.random.Generator,
    held: Held | None,
) -> Crop:
    """Draw a crop; published: a resize, then each side, then the place.

    The frame is resized to one of `short_sides`, whatever the long one. Each side is uniform from
    the smallest to the largest that there is room for.
    """
    before = network_size(*frame, _one_of(params.crop.short_sides, rng), NO_LIMIT)
    smallest, largest = params.crop.sides
    width, height = (int(rng.integers(smallest, min(side, largest) + 1)) for side in before[::-1])
    spans: list[tuple[float, float] | None] = [None, None]
    if held is not None:
        spans = [
            (held.top * before[0], held.bottom * before[0]),
            (held.left * before[1], held.right * before[1]),
        ]
        longest = [min(side, largest) for side in before]
        height, width = (
            min(most, max(side, int(np.ceil(end)) - int(start)))
            for side, most, (start, end) in zip(
                (height, width), longest, (s for s in spans if s is not None), strict=True
            )
        )
    top, left = (
        _draw_start(side, whole, span, rng)
        for side, whole, span in zip((height, width), before, spans, strict=True)
    )
    return Crop(before, top, left, height, width)


def _one_of(sides: Sequence[int], rng: np.random.Generator) -> int:
    return int(rng.choice(sides)) if len(sides) > 1 else sides[0]


def _draw_start(
    side: int, whole: int, span: tuple[float, float] | None, rng: np.random.Generator
) -> int:
    """Draw where a crop of length `side` begins.

    That is anywhere without `span`; with it, so that the crop holds `span`, or where that is longer
    lies within it.
    """
    first, last = 0, whole - side
    if span is not None:
        holding = sorted((int(np.ceil(span[1])) - side, int(span[0])))
        first, last = max(first, holding[0]), min(last, holding[1])
    return int(rng.integers(first, last + 1))
