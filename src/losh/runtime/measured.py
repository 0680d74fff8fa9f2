"""How long each stage took and how much memory, for people to read.

The records lie in scratch/, not among the outputs: no stage depends on them, so DVC runs nothing
because of them, and outputs stay the same bytes on every run.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from losh.runtime.files import write_json
from losh.runtime.machine import core_count
from losh.runtime.resume import SCRATCH

FOLDER = SCRATCH / "stages"
MB = 10**6
MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes; getrusage(2)


@dataclass(frozen=True)
class Measured:
    """The last run of one stage that ended well, on this machine."""

    stage: str
    """As DVC calls it: `train`, `evaluate@moving_shapes`."""
    seconds: float
    """By the clock, from the start of the stage's work: without Python's own start."""
    memory_mb: int
    """Peak of the largest process."""
    gpu_memory_mb: int | None
    """Peak of what PyTorch held on this process's GPU; None without one."""
    processes: int
    device: str
    """The GPU's name, or `CPU`, and the cores that the process may use."""


@contextlib.contextmanager
def measuring(stage: str, folder: Path = FOLDER) -> Iterator[None]:
    """Measure the block; write its record where it ends well and this is the main process.

    A disk that takes no record is no reason for a stage to fail.
    """
    start = time.monotonic()
    yield
    if os.environ.get("RANK", "0") != "0":
        return
    with contextlib.suppress(OSError):
        write_json(folder / f"{stage}.json", asdict(_measured(stage, time.monotonic() - start)))


def read_measured(folder: Path = FOLDER) -> dict[str, Measured]:
    """Every record by its stage's name; one that another version wrote is left out."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        with contextlib.suppress(ValueError, TypeError):
            record = Measured(**json.loads(path.read_text(encoding="utf-8")))
            found[record.stage] = record
    return found


def _measured(stage: str, seconds: float) -> Measured:
    gpu, device = _gpu()
    return Measured(
        stage=stage,
        seconds=round(seconds, 1),
        memory_mb=round(max(_own_peak(), _peak(resource.RUSAGE_CHILDREN)) / MB),
        gpu_memory_mb=gpu,
        processes=int(os.environ.get("WORLD_SIZE", "1")),
        device=f"{device}, {core_count()} cores",
    )


def _own_peak() -> int:
    """Of this process, in bytes.

    Linux counts what the process was before it became Python (DVC, a fork of which it is) in
    getrusage, but not in VmHWM (proc(5)).
    """
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return _peak(resource.RUSAGE_SELF)


def _peak(who: int) -> int:
    return resource.getrusage(who).ru_maxrss * MAXRSS_UNIT


def _gpu() -> tuple[int | None, str]:
    """Peak memory and name of the GPU that this process used, if it used one."""
    torch = sys.modules.get("torch")  # a stage without tensors has not imported it
    if torch is None or not torch.cuda.is_initialized():
        return None, "CPU"
    return round(torch.cuda.max_memory_allocated() / MB), torch.cuda.get_device_name()
