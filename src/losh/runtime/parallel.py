"""Independent items worked on by every core."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import cv2

from losh.runtime.machine import worker_count

Item = TypeVar("Item")
Made = TypeVar("Made")
SHARE = 8
"""Items that a worker takes at once, where there are many; fewer are not worth a worker's start (a
second or two).
"""


@contextmanager
def map_in_processes(
    work: Callable[[Item], Made], items: Sequence[Item]
) -> Iterator[Iterator[Made]]:
    """Gives `work` of each item, in order, from one process a core with one thread each; few items
    are worked on right here.

    What no worker has begun when the caller leaves the context, by an error for one, is dropped.
    """
    workers = worker_count(len(items) // SHARE)
    if workers == 1:
        yield map(work, items)
        return
    # Not by fork: threads of OpenCV or torch that this process may have do not live on in a child,
    # which then waits for them for ever.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        workers, context, initializer=cv2.setNumThreads, initargs=(1,)
    ) as pool:
        try:
            yield pool.map(work, items, chunksize=max(1, min(SHARE, len(items) // 64)))
        finally:
            pool.shutdown(cancel_futures=True)
