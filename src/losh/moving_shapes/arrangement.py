"""Scenes: which objects a clip has, where they move, which lies over which."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from losh.moving_shapes.appearance import RADII, Appearance, sample_appearances
from losh.moving_shapes.motion import MOTIONS, Motion, path, sample_motion

REFERENCE = (96, 128)  # height and width of scale 1
REACH = 1.45  # the farthest point of any shape from its centre, in radii


@dataclass(frozen=True)
class Shape:
    """One object of a scene. The last object of a scene lies over all others."""

    instance: str
    """Its id in the annotations; "0", "1", ..."""
    look: Appearance
    motion: Motion
    radius: float
    """px, of a disc of about the same area."""
    tilt: float
    """radians; constant."""
    centres: np.ndarray
    """float64 [T, 2] (x, y) in px; whole numbers are the centres of pixels."""


@dataclass(frozen=True)
class Scene:
    """All that a clip shows, before it is drawn."""

    seed: int
    height: int
    width: int
    shapes: tuple[Shape, ...]
    """From the farthest to the nearest."""
    annotated: tuple[int, ...]
    """0-based frames with masks."""
    sway: np.ndarray
    """float64 [T, 2]: where the background's origin lies in each frame, in px."""
    twins: bool
    """Whether two objects look exactly alike."""

    @property
    def num_frames(self) -> int:
        return len(self.sway)

    @property
    def scale(self) -> float:
        """Lengths relative to a frame of 96 x 128."""
        return scale_of(self.height, self.width)


def scale_of(height: int, width: int) -> float:
    return min(height / REFERENCE[0], width / REFERENCE[1])


def sample_scene(
    rng: np.random.Generator, seed: int, num_frames: int, height: int, width: int
) -> Scene:
    """Draw a scene; `seed` is kept for its textures."""
    scale = scale_of(height, width)
    annotated = _sample_annotated(rng, num_frames)
    attempts = 0
    shapes = None
    while shapes is None:
        # A crowded scene that cannot be placed is drawn anew, with fewer objects after a while.
        count = max(2, int(rng.choice((3, 4, 5), p=(0.35, 0.45, 0.2))) - attempts // 20)
        twins = bool(rng.random() < 0.52)
        shapes = _sample_shapes(rng, count, twins, annotated, num_frames, height, width, scale)
        attempts += 1
    return Scene(
        seed, height, width, tuple(shapes), annotated, _sample_sway(rng, num_frames, scale), twins
    )


def _sample_annotated(rng: np.random.Generator, num_frames: int) -> tuple[int, ...]:
    """Return three frames around the middle, three to five apart where the clip is long enough."""
    if num_frames < 8:
        return tuple(sorted({num_frames // 4, num_frames // 2, max(num_frames - 2, 0)}))
    step = min(4, num_frames // 4)
    middle = num_frames // 2
    early, late = (int(rng.integers(-1, 2)) if step == 4 else 0 for _ in range(2))
    return (middle - step + early, middle, middle + step + late)


def _sample_sway(rng: np.random.Generator, num_frames: int, scale: float) -> np.ndarray:
    """Draw the background's slow drift, as of a camera held by hand; none in half of the clips."""
    times = np.arange(num_frames)[:, None]
    if rng.random() < 0.5:
        return np.zeros((num_frames, 2))
    # A swing instead of a straight drift keeps the needed background finite in long clips.
    reach = scale * rng.uniform(3.0, 8.0, size=2)
    speed = scale * rng.uniform(0.15, 0.6, size=2)
    return reach * np.sin(times * speed / reach + rng.uniform(0, 2 * np.pi, size=2))


def _sample_shapes(
    rng: np.random.Generator,
    count: int,
    twins: bool,
    annotated: tuple[int, ...],
    num_frames: int,
    height: int,
    width: int,
    scale: float,
) -> list[Shape] | None:
    """Draw and place the objects; None when one finds no place."""
    looks = sample_appearances(rng, count, twins)
    kinds = _sample_kinds(rng, count, twins)
    placed: list[Shape] = []
    for look, kind in zip(looks, kinds, strict=True):
        # Twins have one size to the pixel: nothing but motion and place tells them apart.
        radius = (
            placed[0].radius
            if twins and len(placed) == 1
            else scale * rng.uniform(*RADII[look.size])
        )
        motion = sample_motion(rng, kind, scale)
        centres = _place(rng, motion, radius, placed, annotated, num_frames, height, width)
        if centres is None:
            return None
        tilt = placed[0].tilt if twins and len(placed) == 1 else rng.uniform(-0.2, 0.2)
        placed.append(Shape(str(len(placed)), look, motion, radius, tilt, centres))
    # Neither the id nor the depth tells the twins.
    names, order = rng.permutation(count), rng.permutation(count)
    shapes = [replace(placed[k], instance=str(names[k])) for k in order]
    return (
        shapes
        if all(_seen(shape, shapes[k + 1 :], annotated) > 0.5 for k, shape in enumerate(shapes))
        else None
    )


def _seen(shape: Shape, nearer: list[Shape], annotated: tuple[int, ...]) -> float:
    """Return the least part of the object's disc that is seen in an annotated frame, 0 to 1.

    Seen is what no nearer disc covers.
    """
    grid = np.linspace(-1, 1, 11)
    points = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    points = shape.radius * points[np.linalg.norm(points, axis=1) <= 1]
    frames = list(annotated)
    spots = shape.centres[frames][:, None] + points  # [K, points, 2]
    free = np.ones(spots.shape[:2], bool)
    for other in nearer:
        free &= np.linalg.norm(spots - other.centres[frames][:, None], axis=2) > other.radius
    return float(free.mean(axis=1).min())


def _sample_kinds(rng: np.random.Generator, count: int, twins: bool) -> list[str]:
    """Draw motions; twins differ in theirs three times out of four.

    Else relation or place must tell them apart.
    """
    kinds = [str(k) for k in rng.choice(tuple(MOTIONS), size=count, p=tuple(MOTIONS.values()))]
    if twins and rng.random() < 0.25:
        kinds[1] = kinds[0]
    while twins and kinds[1] == kinds[0] and rng.random() < 0.99:
        kinds[1] = str(rng.choice(tuple(MOTIONS), p=tuple(MOTIONS.values())))
    return kinds


def _place(
    rng: np.random.Generator,
    motion: Motion,
    radius: float,
    placed: list[Shape],
    annotated: tuple[int, ...],
    num_frames: int,
    height: int,
    width: int,
) -> np.ndarray | None:
    """Return centres [T, 2] of an object that neither hides another nor is hidden.

    In all annotated frames it lies inside the frame. None where no try succeeds.

    None if none of the drawn homes gives that.
    """
    homes = rng.uniform((radius, radius), (width - radius, height - radius), size=(40, 2))
    crowd = rng.random() < 0.5
    times = np.array(annotated) - (num_frames - 1) / 2
    spots = homes[:, None] + motion.offsets(times)  # [homes, K, 2]
    edge = 1.08 * radius
    inside = ((spots > edge - 0.5) & (spots < np.array([width, height]) - edge - 0.5)).all(
        axis=(1, 2)
    )
    nearest = np.full(len(homes), np.inf)
    for other in placed:
        # Distance in sums of radii: 1 touches; at 0.66 a small object is half hidden.
        distance = np.linalg.norm(spots - other.centres[list(annotated)], axis=2) / (
            radius + other.radius
        )
        nearest = np.minimum(nearest, distance.min(axis=1))
    fits = np.flatnonzero(inside & (nearest > 0.66))
    if not len(fits):
        return None
    # Half of the objects take the closest place, so that objects do occlude each other.
    chosen = fits[np.argmin(nearest[fits])] if crowd else fits[0]
    return path(motion, homes[chosen], num_frames, height, width, margin=2 * REACH * radius)
