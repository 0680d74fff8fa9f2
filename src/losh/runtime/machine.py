"""What the machine offers: workers, devices, precision.

Read from the machine and the environment, never from params.yaml.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from losh.runtime.environment import whole_number

if TYPE_CHECKING:
    import torch


M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # malloc.h of glibc
TOP_PAD = 64 * 2**20


def keep_freed_memory(unchosen: Mapping[str, str] | None = None) -> bool:
    """Let glibc keep what is freed instead of giving it back and asking for it again.

    Large tensors come and go thousands of times, and each page of each would be faulted in anew:
    with it, optical flow on two CPU cores ran at 18.0 pairs/s where it ran at 7.6 before (the same
    busy machine, minutes apart, 2026-11-25). A process then keeps the memory of its peak to its
    end, or to `give_back_freed_memory`. In a thread beside the main one, what is larger than 64 MB
    is given back all the same: glibc maps it apart. Results do not change.

    Args:
        unchosen: variables of the environment that a library sets, with the values that it gives
            them: those are no settings of the user's.

    Returns:
        Whether it was done: not where malloc is another's, nor where the environment names
        settings of its own (`MALLOC_...`, `GLIBC_TUNABLES`).
    """
    known = unchosen or {}
    settings_of_malloc = (
        name for name in os.environ if name.startswith("MALLOC_") or name == "GLIBC_TUNABLES"
    )
    if any(os.environ[name] != known.get(name) for name in settings_of_malloc):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: 2**31 - 1, M_TOP_PAD: TOP_PAD}
    return all(mallopt(name, value) == 1 for name, value in settings.items())


def give_back_freed_memory() -> None:
    """Give the system, once, what glibc has kept of freed memory."""
    try:
        malloc_trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return
    malloc_trim(ctypes.c_size_t(0))


def core_count() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worker_count(items: int) -> int:
    """Count worker processes for `items` independent items: LOSH_WORKERS, else one a usable core.

    LOSH_WORKERS 0 and 1 are the same here: none beside the process that asks.
    """
    asked = whole_number("LOSH_WORKERS", least=0)
    return max(1, min(core_count() if asked is None else asked, items))


def pick_device(local_rank: int = 0) -> torch.device:
    """Return the process's device: its CUDA device where there is one, else the CPU.

    LOSH_DEVICE=cpu asks for the CPU.
    """
    import torch  # takes seconds: stages that need no tensors do without

    if torch.cuda.is_available() and os.environ.get("LOSH_DEVICE", "cuda") != "cpu":
        return torch.device("cuda", local_rank)
    return torch.device("cpu")


def pick_precision(asked: str, device: torch.device) -> torch.dtype:
    """Return the autocast type.

    `auto` is bf16 where the device computes it, else fp16 on CUDA, else fp32 (a CPU's bf16 is
    rarely faster).
    """
    import torch

    if asked == "auto":
        if device.type != "cuda":
            return torch.float32
        return (
            torch.bfloat16
            if torch.cuda.is_bf16_supported(including_emulation=False)
            else torch.float16
        )
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[asked]


def loader_workers(device: torch.device) -> int:
    """Return how many processes load samples for one training or evaluating process.

    LOSH_WORKERS, else up to 8 beside a GPU; beside a CPU 1, or none where several processes share
    the cores: then they are all busy anyway.
    """
    asked = whole_number("LOSH_WORKERS", least=0)
    if asked is not None:
        return asked
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if device.type == "cuda":
        return min(8, max(1, core_count() // here - 1))
    return int(here == 1)
