"""Textures of objects and backgrounds, drawn at twice the clip's resolution.

They are band-limited, so that sub-pixel motion stays exact.
"""

from __future__ import annotations

import cv2
import numpy as np

from losh.moving_shapes.appearance import COLOURS
from losh.moving_shapes.arrangement import REACH, Shape

OVERSAMPLING = 2  # texture pixels per clip pixel, along each axis
DRAWN = 4  # resolution at which outlines are drawn before they are brought down to OVERSAMPLING
# Of a disc with the nominal radius; pointed shapes would else reach too far.
AREAS = {"circle": 1.0, "square": 1.0, "triangle": 0.78, "star": 0.84}


def smooth_noise(
    rng: np.random.Generator, height: int, width: int, cell: float, channels: int = 1
) -> np.ndarray:
    """Return smooth noise in about -1 to 1, with blobs of about `cell` px.

    float32 [height, width, channels].
    """
    rows, columns = max(2, round(height / cell)) + 1, max(2, round(width / cell)) + 1
    grid = rng.uniform(-1, 1, size=(rows, columns, channels)).astype(np.float32)
    return cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC).reshape(
        height, width, channels
    )


def sprite(rng: np.random.Generator, shape: Shape, scale: float) -> np.ndarray:
    """Draw an object: float32 [D, D, 4], its centre that of the array.

    RGB of 0 to 255 (defined beyond the outline too) and alpha of 0 to 1.
    """
    half = int(np.ceil(REACH * shape.radius)) + 3
    side = 2 * half * DRAWN
    outline = _outline(shape, side)
    colour = _surface(rng, shape, side)
    base = np.array(COLOURS[shape.look.colour], np.float32)
    # A thin dark rim keeps two objects of one colour apart where they overlap.
    rim = cv2.distanceTransform(outline, cv2.DIST_L2, 5)[..., None] < 1.2 * scale * DRAWN
    colour = np.where(rim, 0.45 * base, colour)
    drawn = np.dstack([colour, outline.astype(np.float32) / 255])
    small = cv2.resize(
        drawn, None, fx=OVERSAMPLING / DRAWN, fy=OVERSAMPLING / DRAWN, interpolation=cv2.INTER_AREA
    )
    return cv2.GaussianBlur(small, (0, 0), 0.9, borderType=cv2.BORDER_REPLICATE)


def _outline(shape: Shape, side: int) -> np.ndarray:
    """uint8 [side, side]: 255 within the shape."""
    image = np.zeros((side, side), np.uint8)
    radius = shape.radius * DRAWN
    centre = (side - 1) / 2
    if shape.look.shape == "circle":
        corners = _ring(np.full(180, radius), 0.0)
    elif shape.look.shape == "square":
        corners = _ring(np.full(4, 1.0), np.pi / 4)
    elif shape.look.shape == "triangle":
        corners = _ring(np.full(3, 1.0), -np.pi / 2)
    else:
        corners = _ring(np.array([1.0, 0.56] * 5), -np.pi / 2)
    x, y = corners.T
    area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
    corners = corners * np.sqrt(AREAS[shape.look.shape] * np.pi * radius**2 / area)
    turn = np.array(
        [[np.cos(shape.tilt), np.sin(shape.tilt)], [-np.sin(shape.tilt), np.cos(shape.tilt)]]
    )
    # fillPoly takes fixed point: 8 bits of fraction.
    points = np.rint((corners @ turn + centre) * 256).astype(np.int32)
    return cv2.fillPoly(image, [points], 255, shift=8)


def _ring(radii: np.ndarray, start: float) -> np.ndarray:
    """Corners [K, 2] at the given distances from the centre, at equal angles."""
    angles = start + 2 * np.pi * np.arange(len(radii)) / len(radii)
    return radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _surface(rng: np.random.Generator, shape: Shape, side: int) -> np.ndarray:
    """Return the object's surface, float32 [side, side, 3]."""
    base = np.array(COLOURS[shape.look.colour], np.float32)
    # Light colours carry a dark pattern, dark ones a light pattern.
    accent = 0.5 * base if base @ (0.3, 0.59, 0.11) > 140 else 0.28 * base + 0.72 * 255
    mask = _pattern(rng, shape.look.texture, shape.radius * DRAWN, side)[..., None]
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j].astype(np.float32)
    light = 1.02 - 0.1 * (x + y)[..., None]
    grain = (
        smooth_noise(rng, side, side, 3 * DRAWN) * 13
        + smooth_noise(rng, side, side, 8 * DRAWN) * 12
    )
    return np.clip((base * (1 - mask) + accent * mask) * light + grain, 0, 255).astype(np.float32)


def _pattern(rng: np.random.Generator, texture: str, radius: float, side: int) -> np.ndarray:
    """float32 [side, side]: 1 where the accent colour goes."""
    if texture == "plain":
        return np.zeros((side, side), np.float32)
    y, x = np.mgrid[:side, :side].astype(np.float32) - side / 2
    angle = rng.uniform(0, np.pi) if texture == "striped" else rng.uniform(-0.3, 0.3)
    across, along = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    across, along = across + rng.uniform(0, radius), along + rng.uniform(0, radius)
    if texture == "striped":
        return (across % (0.62 * radius) < 0.31 * radius).astype(np.float32)
    if texture == "checkered":
        cell = 0.52 * radius
        return ((across // cell + along // cell) % 2).astype(np.float32)
    pitch = 0.68 * radius
    row = np.floor(along / (0.87 * pitch))
    dx = (across + 0.5 * pitch * (row % 2)) % pitch - pitch / 2
    dy = along % (0.87 * pitch) - 0.87 * pitch / 2
    return (np.hypot(dx, dy) < 0.3 * pitch).astype(np.float32)


def background(rng: np.random.Generator, height: int, width: int, scale: float) -> np.ndarray:
    """Draw a greyish background of `height` x `width` texture pixels.

    float32 [height, width, 3] of 0 to 255.
    """
    unit = scale * OVERSAMPLING
    first, second = (_grey(rng) for _ in range(2))
    y, x = np.mgrid[:height, :width].astype(np.float32) / unit
    angle = rng.uniform(0, 2 * np.pi)
    ramp = x * np.cos(angle) + y * np.sin(angle)
    ramp = (ramp - ramp.min()) / (np.ptp(ramp) + 1e-6)
    style = str(rng.choice(("clouds", "gradient", "bands", "tiles")))
    if style == "clouds":
        ramp = (
            0.5
            + 0.5 * smooth_noise(rng, height, width, 26 * unit)[..., 0]
            + 0.25 * smooth_noise(rng, height, width, 11 * unit)[..., 0]
        )
    elif style == "bands":
        ramp = 0.5 + 0.35 * np.sin(
            ramp * rng.uniform(25, 60) + 2.5 * smooth_noise(rng, height, width, 40 * unit)[..., 0]
        )
    elif style == "tiles":
        cell = rng.uniform(9, 16)
        ramp = 0.7 * ramp + 0.25 * ((np.floor(x / cell) + np.floor(y / cell)) % 2)
    ramp = np.clip(ramp, 0, 1)[..., None]
    grain = (
        smooth_noise(rng, height, width, 1.6 * unit) * 9
        + smooth_noise(rng, height, width, 5 * unit) * 9
    )
    image = np.clip(first * (1 - ramp) + second * ramp + grain, 0, 255).astype(np.float32)
    return cv2.GaussianBlur(image, (0, 0), 0.9, borderType=cv2.BORDER_REPLICATE)


def _grey(rng: np.random.Generator) -> np.ndarray:
    """Return a greyish colour, float32 [3] of 0 to 255."""
    value = rng.uniform(75, 205)
    return (value * (1 + rng.uniform(-0.1, 0.1, size=3))).astype(np.float32)
