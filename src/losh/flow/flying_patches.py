"""Generated frame pairs with exact flow, more varied than MovingShapes, to train RAFT (our choice).

Textured patches of many sizes drift, turn and grow over a textured background that may move too.
Everything moves by an affine map, so the flow of a pixel follows from the map of the surface that
is visible there.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class FlowPair:
    """Two frames and their exact flows."""

    first: np.ndarray
    """uint8 [H, W, 3] RGB."""
    second: np.ndarray
    """uint8 [H, W, 3] RGB."""
    forward: np.ndarray
    """float32 [2, H, W]: first -> second, pixels, u right and v down."""
    backward: np.ndarray
    """float32 [2, H, W]: second -> first."""


def render_pair(seed: int, height: int, width: int, longest: float = 10.0) -> FlowPair:
    """Draw one pair; the same arguments give the same pixels.

    `longest` is the longest shift of a surface in px.
    """
    rng = np.random.default_rng(seed)
    size = (width, height)
    surfaces = [_background(rng, height, width, longest)]
    surfaces += [_patch(rng, height, width, longest) for _ in range(rng.integers(2, 8))]
    frames, owners = [], []
    for t in range(2):
        frame = np.zeros((height, width, 3), np.float32)
        owner = np.zeros((height, width), np.int64)
        for number, surface in enumerate(surfaces):
            place = surface.places[t][:2]
            texture = cv2.warpAffine(
                surface.texture, place, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
            )
            cover = cv2.warpAffine(surface.cover, place, size, flags=cv2.INTER_LINEAR)
            frame += cover[..., None] * (texture - frame)
            owner[cover > 0.5] = number
        frames.append(np.clip(frame, 0, 255).round().astype(np.uint8))
        owners.append(owner)
    flows = [_flow(surfaces, owners[t], t, 1 - t) for t in range(2)]
    return FlowPair(frames[0], frames[1], flows[0], flows[1])


@dataclass(frozen=True)
class _Surface:
    texture: np.ndarray  # float32 [h, w, 3] in its own coordinates
    cover: np.ndarray  # float32 [h, w]: 1 inside the shape
    places: tuple[np.ndarray, np.ndarray]  # 3 x 3 maps of own coordinates into frame 0 and frame 1


def _flow(surfaces: list[_Surface], owner: np.ndarray, source: int, target: int) -> np.ndarray:
    height, width = owner.shape
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    flow = np.zeros((2, height, width), np.float32)
    for number, surface in enumerate(surfaces):
        visible = owner == number
        step = surface.places[target] @ np.linalg.inv(surface.places[source])
        x, y = columns[visible], rows[visible]
        flow[0][visible] = step[0, 0] * x + step[0, 1] * y + step[0, 2] - x
        flow[1][visible] = step[1, 0] * x + step[1, 1] * y + step[1, 2] - y
    return flow


def _affine(center: np.ndarray, anchor: np.ndarray, angle: float, scale: float) -> np.ndarray:
    """Return the map that puts `anchor` (own coordinates) on `center` (frame).

    It turns by `angle` radians and scales.
    """
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    turn = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    turn[:2, 2] = center - turn[:2, :2] @ anchor
    return turn


def _motion(
    rng: np.random.Generator, still: float, longest: float
) -> tuple[np.ndarray, float, float]:
    """Shift in pixels, turn in radians and growth; some have none."""
    if rng.random() < still:
        return np.zeros(2), 0.0, 1.0
    speed = longest * rng.random() ** 1.5
    way = rng.uniform(0, 2 * np.pi)
    turning = rng.random() < 0.3
    return (
        speed * np.array([np.cos(way), np.sin(way)]),
        rng.normal(0, 0.06) * turning,
        float(np.exp(rng.normal(0, 0.02) * turning)),
    )


def _background(rng: np.random.Generator, height: int, width: int, longest: float) -> _Surface:
    """Draw a texture larger than the frame by what it may move.

    What a turn uncovers beyond it is nobody's and stays black.
    """
    margin = 8 + int(np.ceil(longest))
    texture = _texture(rng, height + 2 * margin, width + 2 * margin)
    anchor = np.array([width / 2 + margin, height / 2 + margin])
    center = np.array([width / 2, height / 2])
    shift, turn, growth = _motion(rng, 0.15, longest)
    places = (
        _affine(center, anchor, 0.0, 1.0),
        _affine(center + shift, anchor, 0.3 * turn, growth),
    )
    return _Surface(texture, np.ones(texture.shape[:2], np.float32), places)


def _patch(rng: np.random.Generator, height: int, width: int, longest: float) -> _Surface:
    side = int(np.exp(rng.uniform(np.log(14), np.log(0.7 * min(height, width)))))
    texture = _texture(rng, side + 8, side + 8)
    cover = _shape(rng, side)
    anchor = np.array([side / 2 + 4, side / 2 + 4])
    center = np.array([rng.uniform(0, width), rng.uniform(0, height)])
    angle = rng.uniform(0, 2 * np.pi)
    shift, turn, growth = _motion(rng, 0.1, longest)
    return _Surface(
        texture,
        cover,
        (
            _affine(center, anchor, angle, 1.0),
            _affine(center + shift, anchor, angle + turn, growth),
        ),
    )


def _shape(rng: np.random.Generator, side: int) -> np.ndarray:
    """Draw an ellipse or a random polygon of about `side` pixels, margin 4, with soft edges."""
    fine = 4
    canvas = np.zeros(((side + 8) * fine, (side + 8) * fine), np.uint8)
    middle = (side / 2 + 4) * fine
    radius = side / 2 * fine
    if rng.random() < 0.4:
        cv2.ellipse(
            canvas,
            (round(middle), round(middle)),
            (round(radius), round(radius * rng.uniform(0.5, 1))),
            0,
            0,
            360,
            255,
            -1,
        )
    else:
        corners = int(rng.integers(3, 9))
        angles = 2 * np.pi * (np.arange(corners) + rng.uniform(-0.2, 0.2, corners)) / corners
        reach = radius * rng.uniform(0.6, 1.0, corners)
        points = np.stack(
            [middle + reach * np.cos(angles), middle + reach * np.sin(angles)], axis=1
        )
        cv2.fillPoly(canvas, [points.round().astype(np.int32)], 255)
    small = cv2.resize(canvas, (side + 8, side + 8), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / 255


def _texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw two colours mixed by noise (mostly), stripes, checks, dots or a ramp.

    float32 [height, width, 3], 0 to 255.

    Noise can be matched wherever it goes; the others repeat, and too many of them teach a network
    not to commit itself.
    """
    colours = rng.uniform(0, 255, (2, 3))
    if rng.random() < 0.25:  # low contrast
        colours[1] = colours[0] + rng.normal(0, 50, 3)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    way = rng.uniform(0, np.pi)
    along = columns * np.cos(way) + rows * np.sin(way)
    across = rows * np.cos(way) - columns * np.sin(way)
    period = float(np.exp(rng.uniform(np.log(4), np.log(30))))
    kind = rng.integers(16)
    if kind == 0:
        mix = 0.5 + 0.5 * np.sin(2 * np.pi * along / period)
    elif kind == 1:
        mix = 0.5 + 0.5 * np.tanh(
            3 * np.sin(2 * np.pi * along / period) * np.sin(2 * np.pi * across / period)
        )
    elif kind == 2:
        mix = (
            (np.hypot((along % period) - period / 2, (across % period) - period / 2)) < 0.3 * period
        ).astype(np.float32)
    elif kind == 3:
        mix = along / max(height, width) + 0.5
    else:
        mix = _noise(rng, height, width, octaves=4)
    mix = mix + rng.uniform(0.2, 0.7) * (_noise(rng, height, width, octaves=3) - 0.5)
    mix = np.clip(mix, 0, 1)[..., None]
    return (colours[0] * (1 - mix) + colours[1] * mix).astype(np.float32)


def _noise(rng: np.random.Generator, height: int, width: int, octaves: int) -> np.ndarray:
    """Smooth random values in 0 to 1, from coarse to fine."""
    total = np.zeros((height, width), np.float32)
    cell = float(np.exp(rng.uniform(np.log(3), np.log(40))))
    for octave in range(octaves):
        size = max(2, round(height / cell)), max(2, round(width / cell))
        total += (
            cv2.resize(rng.random(size, np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
            * 0.6**octave
        )
        cell = max(2.0, cell / 2)
    low, high = total.min(), total.max()
    return (total - low) / max(high - low, 1e-6)
