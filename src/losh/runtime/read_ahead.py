"""Decoding in a thread while the network works."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from typing import TypeVar

T = TypeVar("T")
WAIT = 0.1
"""Seconds between two looks at whether anybody still reads."""


def read_ahead(items: Iterable[T], size: int) -> Generator[T]:
    """Yield the items in order; a thread has up to `size` of them ready.

    Its errors are raised here. Closing the generator ends the thread.
    """
    ready: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(size)
    stopped = threading.Event()

    def put(item: T | None, error: BaseException | None) -> None:
        while not stopped.is_set():
            try:
                ready.put((item, error), timeout=WAIT)
                return
            except queue.Full:
                continue

    def read() -> None:
        end: BaseException = StopIteration()
        try:
            for item in items:
                put(item, None)
                if stopped.is_set():
                    return
        except BaseException as error:  # it belongs to the reader, whatever it is
            end = error
        put(None, end)

    thread = threading.Thread(target=read, name="read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]  # an item may be None of its own
    finally:
        stopped.set()
        thread.join()
