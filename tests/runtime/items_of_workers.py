"""Items for the workers of the tests, which import them from here."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

import numpy as np
import psutil

from losh.runtime.files import atomic_write


def squared(log: Path, item: int) -> int:
    """Say who begins the item, write it down whole, and return its square."""
    with (log / f"begun.{item}").open("a") as file:
        file.write(f"{os.getpid()}\n")
    while not (log / "go").exists() and item > 2:
        time.sleep(0.02)
    with atomic_write(Path(f"{item}.txt")) as part:
        part.write_text(os.environ["LOSH_PROBE"])
    return item * item


def device_of(log: Path, item: int) -> str:
    """Say which GPU this worker has, once all workers are at work."""
    device = os.environ["CUDA_VISIBLE_DEVICES"]
    (log / f"at-work.{device}").touch()
    deadline = time.monotonic() + 120
    while len(list(log.glob("at-work.*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    return device


def faults_of(rounds: int) -> int:
    """How many pages are faulted in when so many arrays of 32 MB come and go."""
    np.ones(4_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        np.ones(4_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def freed_at_once(megabytes: int) -> tuple[int, int]:
    """This process, and the bytes that it still holds after so many in arrays of 32 MB."""
    arrays = [np.ones(4_000_000) for _ in range(megabytes // 32)]
    del arrays
    return os.getpid(), psutil.Process().memory_info().rss
