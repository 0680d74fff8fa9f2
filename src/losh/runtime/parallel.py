"""Independent items worked on at once: by the cores or GPUs of this machine, or by a cluster.

`executor` is the one place that chooses. All preparing stages go through `map_items`, so that the
cores of one machine and the workers of a cluster (`LOSH_CLUSTER`) run the very same functions on
the very same items, and their results are taken in the items' order.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import cv2

from losh.runtime.machine import core_count, keep_freed_memory, pick_device, worker_count

Item = TypeVar("Item")
Made = TypeVar("Made")
SHARE = 8
"""Items that a worker takes at once, where there are many; fewer are not worth a worker's start (a
second or two).
"""
PARTS = 64
"""Parts that the items are cut into at least, where there are enough: all workers end together."""


@dataclass(frozen=True)
class Need:
    """What items ask of a worker."""

    worth: int = SHARE
    """Items that are worth the start of a process on this machine."""
    gpu: bool = False
    """Each needs a GPU, where there is one; else each process shares the cores for its threads."""
    memory: float = 0.0
    """GB that a process may take where there is no GPU: the machine's memory limits their number.
    """


@contextmanager
def map_items(
    work: Callable[[Item], Made], items: Sequence[Item], need: Need | None = None
) -> Iterator[Iterator[Made]]:
    """Give `work` of each item, in order; see `map_parts` for what holds of items and `work`."""
    with map_parts(partial(_one_by_one, work), items, need) as made:
        yield made


@contextmanager
def map_parts(
    work: Callable[[Sequence[Item]], Sequence[Made]],
    items: Sequence[Item],
    need: Need | None = None,
) -> Iterator[Iterator[Made]]:
    """Give what `work` makes of parts of the items, one result for each item, in order.

    A part is what one worker does at once: it may prepare one of its items while it works on
    another.

    An item that a lost worker had begun is begun again: what `work` writes must be whole or absent
    (`losh.runtime.files`) and must have a name that the item decides. What no worker has begun when
    the caller leaves the context, by an error for one, is dropped.

    Args:
        work: a function of a module of ours, or a `functools.partial` of one: workers import it.
    """
    if not items:
        yield iter(())
        return
    size = max(1, min(SHARE, len(items) // PARTS))
    parts = [items[start : start + size] for start in range(0, len(items), size)]
    with executor(len(items), need or Need()) as pool:
        waiting: deque[Future[Sequence[Made]]] = deque()
        # Right here an item is worked on when it is asked for, and after an error none is.
        ahead = 1 if isinstance(pool, RightHere) else len(parts)
        try:
            yield _in_order(pool, work, parts, waiting, ahead)
        finally:
            for future in waiting:
                future.cancel()


def _in_order(
    pool: Executor,
    work: Callable[[Sequence[Item]], Sequence[Made]],
    parts: Sequence[Sequence[Item]],
    waiting: deque[Future[Sequence[Made]]],
    ahead: int,
) -> Iterator[Made]:
    """Yield results, having handed out `ahead` parts at most that are not yielded yet."""
    for part in parts:
        waiting.append(pool.submit(work, part))
        if len(waiting) == ahead:
            yield from waiting.popleft().result()
    while waiting:
        yield from waiting.popleft().result()


def _one_by_one(work: Callable[[Item], Made], part: Sequence[Item]) -> list[Made]:
    return [work(item) for item in part]


@contextmanager
def executor(items: int, need: Need) -> Iterator[Executor]:
    """Give the executor for so many items.

    It is the cluster's that LOSH_CLUSTER names, else processes on this machine, else, where they
    are not worth a process, this very one.
    """
    address = os.environ.get("LOSH_CLUSTER", "").strip()
    if address:
        from losh.runtime.cluster import cluster_executor  # an optional package

        with cluster_executor(address, need.gpu) as pool:
            yield pool
        return
    devices = _gpus() if need.gpu else []
    limit = len(devices) or min(items // need.worth, _processes_in_memory(need.memory))
    workers = worker_count(min(items, limit))
    if workers == 1:
        yield RightHere()
        return
    # Not by fork: threads of OpenCV or torch that this process may have do not live on in a child,
    # which then waits for them for ever.
    context = multiprocessing.get_context("spawn")
    free = context.SimpleQueue()
    for device in devices:
        free.put(device)
    given = (free if devices else None, max(1, core_count() // workers))
    with ProcessPoolExecutor(workers, context, _begin, given) as processes:
        try:
            yield processes
        finally:
            processes.shutdown(cancel_futures=True)


class RightHere(Executor):
    """Works in this process: a task is done when it has been submitted."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run `fn` now; an error waits in the future, as other executors have it."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def _begin(free: Any, threads: int) -> None:
    """Start a worker process: its share of the cores, and a GPU of the free ones."""
    keep_freed_memory()
    cv2.setNumThreads(1)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # torch reads it when it is imported
    if free is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = free.get()


def _processes_in_memory(each: float) -> int:
    """Return how many processes of `each` GB fit the machine's memory; at least 1."""
    if not each:
        return sys.maxsize
    return max(1, int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9 / each))


def _gpus() -> list[str]:
    """Return the visible GPUs, as CUDA_VISIBLE_DEVICES names them."""
    if pick_device().type != "cuda":
        return []
    import torch

    given = os.environ.get("CUDA_VISIBLE_DEVICES", "").strip()
    every = given.split(",") if given else [str(i) for i in range(torch.cuda.device_count())]
    return every[: torch.cuda.device_count()]
