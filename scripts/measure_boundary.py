"""Time the boundary measure on 480p frames: ours, OpenCV's dilation, the literal definition.

OpenCV's is bare, with the same disk.

    python scripts/measure_boundary.py [--frames 48] [--repeats 9] [--dask]

One object a frame, as large as DAVIS's are, and for the worst case noise over the whole frame. Ours
computes J and F: packing, boundaries, both dilations and all counts. OpenCV's is the pair of
`cv2.dilate` that the public evaluation calls, and nothing else. Prints the median wall time in ms a
frame (and the processor time, which shows whether the cores were free). With --dask (the extra
`cluster`) it times too what handing the predictions to a Dask worker on this machine takes, packed
to bits, where nothing is done with them: the least that scoring on a cluster would cost.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from losh.evaluate.metrics.boundary import boundary_map, tolerance_of
from losh.evaluate.metrics.j_and_f import j_and_f
from losh.runtime.machine import core_count
from losh.testing.literal_davis import literal_f

HEIGHT, WIDTH = 480, 854


def blobs(seed: int, frames: int) -> np.ndarray:
    """bool [T, H, W]: a ragged disk of about 300 pixels across, another one in each frame."""
    rng = np.random.default_rng(seed)
    angles = np.linspace(0, 2 * np.pi, 40)
    masks = np.zeros((frames, HEIGHT, WIDTH), np.uint8)
    for mask in masks:
        radii = 150 * rng.uniform(0.7, 1.2, (2, 40))
        outline = np.stack(
            [WIDTH / 2 + radii[0] * np.cos(angles), HEIGHT / 2 + radii[1] * np.sin(angles)], axis=1
        )
        cv2.fillPoly(mask, [outline.astype(np.int32)], 1)
    return masks.astype(bool)


def dilations(boundaries: list[np.ndarray], threads: int) -> None:
    """OpenCV's dilation of every boundary map, uint8 [H, W], by the tolerance's disk."""
    radius = tolerance_of(HEIGHT, WIDTH)
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk = (x * x + y * y <= radius * radius).astype(np.uint8)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda boundary: cv2.dilate(boundary, disk), boundaries))


def timed(task: Callable[[], object], frames: int, repeats: int) -> str:
    task()
    walls, processor = [], []
    for _ in range(repeats):
        wall, used = time.perf_counter(), time.process_time()
        task()
        walls.append(time.perf_counter() - wall)
        processor.append(time.process_time() - used)
    wall, used = (1000 * np.median(seconds) / frames for seconds in (walls, processor))
    return f"{wall:8.3f} ms per frame (processor {used:.3f})"


def hand_over(packed: np.ndarray) -> int:
    """Do nothing: the worker's work."""
    return packed.size


def time_handing_over(masks: np.ndarray, repeats: int) -> str:
    from dask.distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        pool = client.get_executor(pure=False)
        return timed(
            lambda: pool.submit(hand_over, np.packbits(masks)).result(), len(masks), repeats
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--dask", action="store_true")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)  # the threads are ours
    noise = np.random.default_rng(0).random((2, arguments.frames, HEIGHT, WIDTH)) < 0.5
    cases = {
        "objects": (blobs(1, arguments.frames), blobs(2, arguments.frames)),
        "noise": tuple(noise),
    }
    for name, (prediction, truth) in cases.items():
        boundaries = [
            boundary.astype(np.uint8)
            for masks in (prediction, truth)
            for boundary in boundary_map(masks)
        ]
        for threads in sorted({1, core_count()}):
            print(f"{name}, {threads} of {core_count()} cores")
            print(
                "  ours, J and F        ",
                timed(
                    lambda t=threads, p=prediction, g=truth: j_and_f(p, g, threads=t),
                    arguments.frames,
                    arguments.repeats,
                ),
            )
            print(
                "  cv2.dilate, the pair ",
                timed(
                    lambda t=threads, b=boundaries: dilations(b, t),
                    arguments.frames,
                    arguments.repeats,
                ),
            )
    prediction, truth = cases["objects"]
    if arguments.dask:
        print("objects, one Dask worker")
        print("  handing over alone   ", time_handing_over(prediction, arguments.repeats))
    print("objects, 1 core")
    print("  literal definition   ", timed(lambda: literal_f(prediction[0], truth[0]), 1, 1))


if __name__ == "__main__":
    main()
