"""How a shape can move: paths of its centre over time, in pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DIRECTIONS: dict[str, tuple[int, int]] = {
    "left": (-1, 0),
    "right": (1, 0),
    "up": (0, -1),
    "down": (0, 1),
}
MOTIONS: dict[str, float] = {
    "left": 0.15,
    "right": 0.15,
    "up": 0.15,
    "down": 0.15,
    "circling": 0.13,
    "bouncing": 0.13,
    "still": 0.14,
}
"""Name -> how often it is drawn."""


@dataclass(frozen=True)
class Motion:
    """A motion with its sizes; lengths in px of the clip."""

    kind: str
    """One of MOTIONS."""
    speed: float = 0.0
    """left, right, up, down: px a frame."""
    amplitude: float = 0.0
    """circling: the circle's radius; bouncing: the jump's height."""
    period: float = 1.0
    """circling, bouncing: frames a turn, or a jump; negative circles the other way."""
    phase: float = 0.0
    """circling, bouncing: part of the period at time 0; 0 to 1."""

    def offsets(self, times: np.ndarray) -> np.ndarray:
        """Return places [K, 2] (x, y) of the centre relative to its home at times [K].

        Times are in frames; 0 is the clip's middle.
        """
        turn = times / self.period + self.phase
        if self.kind in DIRECTIONS:
            return self.speed * times[:, None] * np.array(DIRECTIONS[self.kind], float)
        if self.kind == "circling":
            return self.amplitude * np.stack(
                [np.cos(2 * np.pi * turn), np.sin(2 * np.pi * turn)], axis=1
            )
        if self.kind == "bouncing":
            part = turn % 1.0
            return np.stack(
                [np.zeros_like(part), self.amplitude * (0.5 - 4 * part * (1 - part))], axis=1
            )
        return np.zeros((len(times), 2))


def sample_motion(rng: np.random.Generator, kind: str, scale: float) -> Motion:
    """Draw a motion's sizes. `scale` is 1 for a frame of 96 x 128.

    All but `still` move at least 1.5 px a frame on average at scale 1, and turn or jump far enough
    within six frames to be told from straight motion.
    """
    if kind in DIRECTIONS:
        return Motion(kind, speed=scale * rng.uniform(1.6, 2.5))
    if kind == "circling":
        sense = 1 if rng.random() < 0.5 else -1
        return Motion(
            kind,
            amplitude=scale * rng.uniform(5.5, 7.5),
            period=sense * rng.uniform(9.5, 13.0),
            phase=rng.random(),
        )
    if kind == "bouncing":
        return Motion(
            kind,
            amplitude=scale * rng.uniform(10.5, 13.0),
            period=rng.uniform(6.5, 7.8),
            phase=rng.random(),
        )
    return Motion("still")


def path(
    motion: Motion, home: np.ndarray, num_frames: int, height: int, width: int, margin: float
) -> np.ndarray:
    """Return the centre [T, 2] (x, y) in each frame of a clip.

    `home` [2] is its place, or that around which it moves, at the clip's middle.

    One that leaves the frame by more than `margin` comes in again at the other side, so that long
    clips keep their motion.
    """
    times = np.arange(num_frames) - (num_frames - 1) / 2
    places = home + motion.offsets(times)
    if motion.kind in DIRECTIONS:
        span = np.array([width, height]) + 2 * margin
        places = (places + margin) % span - margin
    return places
