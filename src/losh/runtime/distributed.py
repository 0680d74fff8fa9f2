"""One process or many: start, sums over processes, and who may write files.

Why there is a launcher here beside torchrun, which `relaunch` leaves alone where it is in charge:

- `dvc repro` runs the same command on one CPU and on eight GPUs, so the script starts its own
  processes, as many as the machine and the batch allow.
- torchrun's store listens on every network interface; ours meet in a file and talk over the
  loopback interface alone.
- Each process of torchrun would print a user's mistake, and torchrun its own report after them;
  ours shows the one line once (`ERROR_FILE`).
- The exit code is that of the first process that failed, 143 after a SIGTERM for one; torchrun's is
  its own.

Over several nodes torchrun is in charge: `torchrun --nnodes ... stages/train.py` (docs/cluster.md).
"""

from __future__ import annotations

import ctypes
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist

from losh.errors import ERROR_FILE, UserError
from losh.runtime.environment import whole_number
from losh.runtime.machine import core_count, pick_device

PR_SET_PDEATHSIG = 1  # linux/prctl.h
GRACE = 30.0
"""Seconds between asking a process to end and ending it, as torchrun gives."""
RENDEZVOUS_FILE = "LOSH_RENDEZVOUS_FILE"
"""Environment variable that names a file. Workers of `relaunch` have it from their launcher: there
they find each other.
"""


@dataclass(frozen=True)
class Processes:
    """This process among its `world`."""

    rank: int
    world: int
    device: torch.device
    keeper: bool | None = None
    """Whether it keeps its folder (`losh.runtime.folders.keepers_of`); None: only the main does."""

    @property
    def is_main(self) -> bool:
        """Only this one shows progress."""
        return self.rank == 0

    @property
    def keeps(self) -> bool:
        """Only such ones write files: one in each folder that some of the processes share."""
        return self.is_main if self.keeper is None else self.keeper

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Sum of a tensor over all processes, on all of them."""
        if self.world > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values

    def gather(self, value: object) -> list:
        """Return the value of every process, in rank order, on all of them."""
        if self.world == 1:
            return [value]
        gathered: list = [None] * self.world
        dist.all_gather_object(gathered, value)
        return gathered

    def broadcast(self, values: torch.Tensor, source: int) -> torch.Tensor:
        """Return the tensor of process `source`, on the CPU; all give one of its size and type."""
        values = values.to(self.device)
        dist.broadcast(values, source)
        return values.cpu()

    def wait(self) -> None:
        """Until all processes are here."""
        if self.world > 1:
            dist.barrier()


def start() -> Processes:
    """Join the processes that `relaunch` or torchrun started, or be the only one."""
    rank, world, local = (
        int(os.environ.get(name, default))
        for name, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))
    )
    device = pick_device(local)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if world > 1 and not dist.is_initialized():
        backend = "nccl" if device.type == "cuda" else "gloo"
        _end_with_parent()
        if RENDEZVOUS_FILE in os.environ:
            where = f"file://{os.environ[RENDEZVOUS_FILE]}"
            dist.init_process_group(backend, init_method=where, rank=rank, world_size=world)
        else:
            dist.init_process_group(backend)
    return Processes(rank, world, device)


def stop() -> None:
    """Leave the process group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()


@dataclass(frozen=True)
class Divisible:
    """Work that cannot be divided among more than `parts` processes, since `why`."""

    parts: int
    why: str


def processes_wanted(on_cpu: int, work: Divisible | None = None) -> int:
    """Return how many processes to run.

    LOSH_PROCESSES, else one for each visible GPU, else `on_cpu` or as many as there are cores. Not
    a parameter: results do not depend on it.

    Args:
        on_cpu: processes where there is no GPU.
        work: how many there may be; where that leaves GPUs idle, a line says so.
    """
    asked = whole_number("LOSH_PROCESSES")
    if asked is not None:
        return asked
    on_gpus = pick_device().type == "cuda"
    available = torch.cuda.device_count() if on_gpus else min(on_cpu, core_count())
    wanted = min(available, work.parts) if work else available
    if work and on_gpus and wanted < available:
        print(f"{wanted} of {available} GPUs are used: {work.why}")
    return wanted


def relaunch(
    script: str, arguments: list[str], on_cpu: int = 1, work: Divisible | None = None
) -> None:
    """Run `script` in one process a device and leave with their exit code.

    Return at once where one process is enough.

    Under an outer torchrun (a cluster's, over several nodes) its processes are used as they are.

    Args:
        script: the file to run.
        arguments: of the script.
        on_cpu: processes where there is no GPU; they share the cores.
        work: into how many processes the work can be divided.
    """
    if "RANK" in os.environ:
        return
    wanted = processes_wanted(on_cpu, work)
    if wanted == 1:
        return
    loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), "lo")
    common = {
        "OMP_NUM_THREADS": str(max(1, core_count() // wanted)),
        "GLOO_SOCKET_IFNAME": loopback,
        "NCCL_SOCKET_IFNAME": loopback,
        **os.environ,
    }
    common |= {"WORLD_SIZE": str(wanted), "LOCAL_WORLD_SIZE": str(wanted)}
    workers: list[subprocess.Popen] = []

    def pass_on(number: int, _: object) -> None:
        for worker in workers:
            worker.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)
    with tempfile.TemporaryDirectory() as folder:
        error = Path(folder) / "error"
        common |= {RENDEZVOUS_FILE: str(Path(folder) / "rendezvous"), ERROR_FILE: str(error)}
        for rank in range(wanted):
            workers.append(
                subprocess.Popen(
                    [sys.executable, script, *arguments],
                    env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                )
            )
        code = _wait_for(workers)
        if error.exists():
            raise UserError(error.read_text())
    raise SystemExit(code if code >= 0 else 128 - code)


def _wait_for(workers: list[subprocess.Popen]) -> int:
    """Wait for all.

    When one fails the others, which would wait for it, are ended too: asked first, after GRACE
    seconds not asked any more.

    Returns the first exit code that is not 0, or 0.
    """
    code, patience = 0, math.inf
    while None in [worker.poll() for worker in workers]:
        if not code:
            code = next((worker.returncode for worker in workers if worker.returncode), 0)
            for worker in workers if code else []:
                worker.terminate()
                patience = time.monotonic() + GRACE
        for worker in workers if time.monotonic() > patience else []:
            worker.kill()
        time.sleep(0.05)
    return code or next((worker.returncode for worker in workers if worker.returncode), 0)


def _end_with_parent() -> None:
    """Ask Linux for a SIGTERM when the parent dies.

    Killed by SIGKILL it cannot tell its workers, and they would work on unseen.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
