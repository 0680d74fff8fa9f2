"""One process or many: start, sums over processes, and who may write files."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from dataclasses import dataclass

import torch
import torch.distributed as dist

from losh.errors import UserError
from losh.machine import core_count, pick_device

PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True)
class Processes:
    """This process among its `world`."""

    rank: int
    world: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Only this one writes files and shows progress."""
        return self.rank == 0

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Sum of a tensor over all processes, on all of them."""
        if self.world > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values

    def gather(self, value: object) -> list:
        """The value of every process, in rank order, on all of them."""
        if self.world == 1:
            return [value]
        gathered: list = [None] * self.world
        dist.all_gather_object(gathered, value)
        return gathered

    def wait(self) -> None:
        """Until all processes are here."""
        if self.world > 1:
            dist.barrier()


def start() -> Processes:
    """Join the processes that torchrun started, or be the only one."""
    rank, world, local = (int(os.environ.get(name, default)) for name, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0)))
    device = pick_device(local)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if world > 1 and not dist.is_initialized():
        _end_with_parent()
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Processes(rank, world, device)


def stop() -> None:
    """Leave the process group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def processes_wanted(on_cpu: int) -> int:
    """LOSH_PROCESSES, else one a visible GPU, else `on_cpu`. Not a parameter: results do not depend on it."""
    asked = os.environ.get("LOSH_PROCESSES")
    if asked is not None:
        if not asked.isdigit() or int(asked) < 1:
            raise UserError(f"LOSH_PROCESSES is {asked!r}", "Give a whole number of at least 1")
        return int(asked)
    return torch.cuda.device_count() if pick_device().type == "cuda" else on_cpu


def relaunch(script: str, arguments: list[str], on_cpu: int = 1) -> None:
    """Become torchrun with one process of `script` a device; return at once where one process is enough.

    Under an outer torchrun (a cluster's, over several nodes) its processes are used as they are.

    Args:
        script: the file to run.
        arguments: of the script.
        on_cpu: processes where there is no GPU; they share the cores.
    """
    wanted = processes_wanted(on_cpu)
    if "RANK" in os.environ or wanted == 1:
        return
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, core_count() // wanted)))
    # In this very process: whoever stops it stops torchrun, which hands SIGTERM and SIGINT to its workers, and they save before they leave.
    os.execv(sys.executable, [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={wanted}", script, *arguments])


def _end_with_parent() -> None:
    """Ask Linux for a SIGTERM when torchrun dies: killed by SIGKILL it cannot tell its workers, and they would work on unseen."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
