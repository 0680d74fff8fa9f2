"""One process or many: start, sums over processes, and who may write files."""

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
from losh.runtime.machine import core_count, pick_device

PR_SET_PDEATHSIG = 1  # linux/prctl.h
GRACE = 30.0  # seconds, as torchrun gives
RENDEZVOUS = (
    "LOSH_RENDEZVOUS"  # set by `relaunch` for its workers: the file in which they find each other
)


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
    """Join the processes that `relaunch` or torchrun started, or be the only one."""
    rank, world, local = (
        int(os.environ.get(name, default))
        for name, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))
    )
    device = pick_device(local)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if world > 1 and not dist.is_initialized():
        backend, meeting = "nccl" if device.type == "cuda" else "gloo", os.environ.get(RENDEZVOUS)
        if meeting:
            _end_with_parent()
            dist.init_process_group(
                backend, init_method=f"file://{meeting}", rank=rank, world_size=world
            )
        else:
            dist.init_process_group(backend)
    return Processes(rank, world, device)


def stop() -> None:
    """Leave the process group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def processes_wanted(on_cpu: int) -> int:
    """LOSH_PROCESSES, else one a visible GPU, else `on_cpu`. Not a parameter: results do not depend
    on it.
    """
    asked = os.environ.get("LOSH_PROCESSES")
    if asked is not None:
        if not asked.isdigit() or int(asked) < 1:
            raise UserError(f"LOSH_PROCESSES is {asked!r}", "Give a whole number of at least 1")
        return int(asked)
    return torch.cuda.device_count() if pick_device().type == "cuda" else on_cpu


def relaunch(script: str, arguments: list[str], on_cpu: int = 1) -> None:
    """Run `script` in one process a device and leave with their exit code; return at once where one
    process is enough.

    The processes meet in a file and talk over the loopback interface alone: torchrun's store would
    listen on every network. Under an outer torchrun (a cluster's, over several nodes) its processes
    are used as they are.

    Args:
        script: the file to run.
        arguments: of the script.
        on_cpu: processes where there is no GPU; they share the cores.
    """
    wanted = processes_wanted(on_cpu)
    if "RANK" in os.environ or wanted == 1:
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
        said = Path(folder) / "error"
        common |= {RENDEZVOUS: str(Path(folder) / "meeting"), ERROR_FILE: str(said)}
        for rank in range(wanted):
            workers.append(
                subprocess.Popen(
                    [sys.executable, script, *arguments],
                    env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                )
            )
        code = _wait_for(workers)
        if said.exists():
            raise UserError(said.read_text())
    raise SystemExit(code if code >= 0 else 128 - code)


def _wait_for(workers: list[subprocess.Popen]) -> int:
    """Wait for all. When one fails the others, which would wait for it, are ended too: asked first,
    after GRACE seconds not asked any more.

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
    """Ask Linux for a SIGTERM when the parent dies: killed by SIGKILL it cannot tell its workers,
    and they would work on unseen.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
