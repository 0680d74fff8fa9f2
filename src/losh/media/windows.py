"""Which frames a window holds: the published rules for sparse and for dense annotation."""

from __future__ import annotations

import itertools


def window_around(center: int, window: int, num_frames: int) -> list[int]:
    """Return the `window` frames around an annotated one, clamped to the video's ends.

    A2D-Sentences' published rule.

    Frames center - window//2 ... center + (window+1)//2 - 1; the annotated frame is at position
    window//2.
    """
    span = range(center - window // 2, center + (window + 1) // 2)
    return [min(max(t, 0), num_frames - 1) for t in span]


def consecutive_windows(num_frames: int, window: int) -> list[list[int]]:
    """Return non-overlapping windows over a densely annotated video.

    Refer-YouTube-VOS' published rule for training.

    The last window is shifted back to be full; a video shorter than a window has its last frame
    repeated.
    """
    if num_frames <= window:
        return [[min(t, num_frames - 1) for t in range(window)]]
    starts = list(range(0, num_frames - window + 1, window))
    if starts[-1] + window < num_frames:
        starts.append(num_frames - window)
    return [list(range(start, start + window)) for start in starts]


def chunks(num_frames: int, size: int) -> list[list[int]]:
    """Return consecutive frames in pieces of at most `size`, each frame once.

    Sizes are as equal as can be (our choice, for whole videos).
    """
    pieces = -(-num_frames // size)
    edges = [round(i * num_frames / pieces) for i in range(pieces + 1)]
    return [list(range(a, b)) for a, b in itertools.pairwise(edges)]
