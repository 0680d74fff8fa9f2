"""Items for the workers of the tests, which import them from here."""

from __future__ import annotations

import os
import time
from pathlib import Path

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
