"""J and F together, on all cores, and their running means over a video of any length."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import fsum

import numpy as np

from losh.evaluate.metrics import bitmaps
from losh.evaluate.metrics.boundary import pairwise_f
from losh.inference.overlap import iou
from losh.runtime.machine import core_count

# Pixels of one object that a thread takes at once: 3 to 10 frames at 480p. Fewer, and the threads
# wait for the interpreter's lock; more, and the packed masks fall out of the processor's cache.
FEWEST_AT_ONCE, MOST_AT_ONCE = 2**20, 2**22


def j_and_f(
    prediction: np.ndarray,
    truth: np.ndarray,
    void: np.ndarray | None = None,
    threads: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """J and F of each frame of one object.

    Args:
        prediction, truth: bool `[T, H, W]`.
        void: bool `[T, H, W]` or `[H, W]`: pixels that count neither way.
        threads: how many to use; None for one per core.

    Returns:
        J and F, float64 `[T]` each.
    """
    j, f = pairwise_j_and_f(prediction[None], truth[None], void, threads)
    return j[0, 0], f[0, 0]


def pairwise_j_and_f(
    predictions: np.ndarray,
    truths: np.ndarray,
    void: np.ndarray | None = None,
    threads: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """J and F of every predicted with every true object in each frame.

    Args:
        predictions: bool `[P, T, H, W]`, P objects.
        truths: bool `[O, T, H, W]`, O objects.
        void: bool `[T, H, W]` or `[H, W]`.
        threads: how many to use; None for one per core.

    Returns:
        J and F, float64 `[P, O, T]` each.

    Raises:
        ValueError: the masks are not bool, or their frames or sizes differ.
    """
    if (
        predictions.shape[1:] != truths.shape[1:]
        or predictions.dtype != bool
        or truths.dtype != bool
    ):
        raise ValueError(
            f"bool masks of one shape are needed, not {predictions.dtype} {predictions.shape} "
            f"and {truths.dtype} {truths.shape}"
        )
    num_frames, height, width = predictions.shape[1:]
    if void is not None:
        void = np.broadcast_to(void, predictions.shape[1:])
    result = np.empty((2, len(predictions), len(truths), num_frames))

    def score(frames: slice) -> None:
        predicted, true = bitmaps.pack(predictions[:, frames]), bitmaps.pack(truths[:, frames])
        if void is not None:
            seen = ~bitmaps.pack(void[frames])
            predicted, true = predicted & seen, true & seen
        result[0, :, :, frames] = _pairwise_j(predicted, true)
        result[1, :, :, frames] = pairwise_f(predicted, true, width)

    threads = threads or core_count()
    pixels = min(max(num_frames * height * width // threads, FEWEST_AT_ONCE), MOST_AT_ONCE)
    step = max(1, -(-pixels // (height * width)))
    _on_threads(
        score, [slice(start, start + step) for start in range(0, num_frames, step)], threads
    )
    return result[0], result[1]


@dataclass
class RunningJF:
    """The mean J and F of one object over frames that come in chunks.

    Memory does not grow with the frames.
    """

    frames: int = 0
    j_sum: float = 0.0
    f_sum: float = 0.0

    def add(
        self,
        prediction: np.ndarray,
        truth: np.ndarray,
        void: np.ndarray | None = None,
        threads: int | None = None,
    ) -> None:
        """Add a chunk of frames that have ground truth; the arguments are those of `j_and_f`."""
        j, f = j_and_f(prediction, truth, void, threads)
        self.frames += len(j)
        self.j_sum += float(j.sum())
        self.f_sum += float(f.sum())

    @property
    def j(self) -> float:
        """Mean J of the frames; ValueError if there were none."""
        return self._mean(self.j_sum)

    @property
    def f(self) -> float:
        """Mean F of the frames; ValueError if there were none."""
        return self._mean(self.f_sum)

    def _mean(self, total: float) -> float:
        if not self.frames:
            raise ValueError("no frames with ground truth were scored")
        return total / self.frames


def mean_scores(js: list[float], fs: list[float]) -> dict[str, float]:
    """`j`, `f` and `j_and_f` (the mean of both), each the mean over objects or expressions.

    Raises:
        ValueError: there are none.
    """
    if not js:
        raise ValueError("no objects or expressions were scored")
    # fsum: the same to the last bit in whatever order devices send them.
    j, f = fsum(js) / len(js), fsum(fs) / len(fs)
    return {"j": j, "f": f, "j_and_f": (j + f) / 2}


def _pairwise_j(predictions: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """J of packed masks `[P, T, H, words]` and `[O, T, H, words]` -> float64 `[P, O, T]`."""
    intersections = np.stack([bitmaps.count(truths & prediction) for prediction in predictions])
    return iou(
        intersections,
        bitmaps.count(predictions)[:, None] + bitmaps.count(truths)[None] - intersections,
    )


def _on_threads(task: Callable[[slice], None], parts: list[slice], threads: int) -> None:
    """Run `task` on each part.

    Threads suffice: NumPy lets go of the interpreter's lock in operations of this size.
    """
    if min(threads, len(parts)) <= 1:
        for part in parts:
            task(part)
        return
    with ThreadPoolExecutor(min(threads, len(parts))) as pool:
        list(pool.map(task, parts))  # the list raises what a thread raised
