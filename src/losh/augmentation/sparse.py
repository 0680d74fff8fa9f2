"""Which frames a sparse clip holds.

They are one, one before and one after it, and the others from all of the video.
"""

from __future__ import annotations

import numpy as np


def sparse_window(
    anchor: int, num_frames: int, length: int, reach: int, rng: np.random.Generator
) -> list[int]:
    """Draw the frames of a sparse clip, as published (ReferFormer, SgMg), in ascending order.

    The anchor is among them. The frame before it and the one after it are 1 to `reach` frames
    away, at most the video's ends. The others are drawn from the frames before the smallest of the
    three and from the largest on; where these are too few from all frames, where even they are too
    few each frame once and some again.

    Args:
        anchor: the frame that the clip is drawn around, 0-based.
        num_frames: of the video.
        length: T, frames of the clip; 1 is the anchor alone, 2 is not published.
        reach: published: 3.
    """
    if length == 1:
        return [anchor]
    before, after = (int(step) for step in rng.integers(1, reach + 1, 2))
    near = [anchor, max(0, anchor - before), min(num_frames - 1, anchor + after)]
    return sorted(near + _far(near, num_frames, length - 3, rng))


def _far(near: list[int], num_frames: int, count: int, rng: np.random.Generator) -> list[int]:
    """Draw the `count` frames of a clip that may lie anywhere."""
    if count == 0:
        return []
    # From the largest ON: it may come twice (published).
    pool = np.r_[0 : min(near), max(near) : num_frames]
    if len(pool) > count:
        return rng.choice(pool, count, replace=False).tolist()
    if num_frames >= count:
        return rng.choice(num_frames, count, replace=False).tolist()
    again = rng.choice(num_frames, count - num_frames, replace=count > 2 * num_frames)
    return [*range(num_frames), *again.tolist()]
