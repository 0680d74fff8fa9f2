"""Items worked on by a Dask cluster: a real scheduler and three workers on loopback, over TLS."""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import dask
import distributed  # noqa: F401 - its settings come with it, before `here` adds to them
import psutil
import pytest
import yaml
from runtime.items_of_workers import device_of, faults_of, freed_at_once, squared

from losh.download import download
from losh.errors import UserError
from losh.flow.compute import compute_flow
from losh.frames.extract import extract_frames
from losh.params import PublishedParams
from losh.runtime import cluster
from losh.runtime.parallel import Need, map_items
from losh.short_text.tagging import tag_words
from losh.testing.dataset_fixtures import make_a2d
from losh.testing.tiny_training import TINY_FLOW, TINY_FRAMES

ROOT = Path(__file__).parents[2]


CERTIFICATE = (
    "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=losh -keyout key.pem -out cert.pem"
)


class Cluster:
    """A scheduler and its workers."""

    def __init__(self, folder: Path, workers: int = 3) -> None:
        self.folder = folder
        subprocess.run(
            [*shlex.split(CERTIFICATE), "-days", "2"],
            cwd=folder,
            check=True,
            capture_output=True,
        )
        own = {"cert": str(folder / "cert.pem"), "key": str(folder / "key.pem")}
        tls = {"ca-file": own["cert"], "scheduler": own, "worker": own, "client": own}
        comm = {"require-encryption": True, "tls": tls}
        (folder / "dask.yaml").write_text(yaml.safe_dump({"distributed": {"comm": comm}}))
        self.config = {
            "distributed.comm.require-encryption": True,
            "distributed.comm.tls.ca-file": own["cert"],
            "distributed.comm.tls.client.cert": own["cert"],
            "distributed.comm.tls.client.key": own["key"],
        }
        self.processes: list[subprocess.Popen] = []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"tls://127.0.0.1:{free.getsockname()[1]}"
        port = self.address.rpartition(":")[2]
        self._start("scheduler", "--port", port, "--protocol", "tls")
        self.workers = [self.add_worker() for _ in range(workers)]

    def add_worker(self, *more: str, **variables: str) -> subprocess.Popen:
        local = ["--local-directory", str(self.folder / "local")]
        more = more or ("--no-nanny",)
        return self._start(
            "worker", self.address, "--nthreads", "1", *local, *more, variables=variables
        )

    def _start(
        self, what: str, *options: str, variables: dict[str, str] | None = None
    ) -> subprocess.Popen:
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *options]
        paths = [str(ROOT / "src"), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0"],
            cwd=self.folder,
            env={
                **os.environ,
                "DASK_CONFIG": str(self.folder / "dask.yaml"),
                "PYTHONPATH": os.pathsep.join(paths),
                "OMP_NUM_THREADS": "1",
                **(variables or {}),
            },
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / f"{what}.log").open("a"),
        )
        self.processes.append(process)
        return process

    def everyone(self) -> list[psutil.Process]:
        """All that run, with the workers that nannies have started."""
        up = [psutil.Process(p.pid) for p in self.processes if p.poll() is None]
        return [one for process in up for one in (process, *process.children(recursive=True))]

    def end(self) -> None:
        for process in self.everyone():  # a nanny before its worker, which it would start again
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for process in self.processes:
            process.wait()


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.end()


@pytest.fixture
def here(started: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder whose stages use the cluster."""
    with working_folder(started, tmp_path, monkeypatch) as folder:
        yield folder


@contextlib.contextmanager
def working_folder(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("LOSH_CLUSTER", cluster.address)
    with dask.config.set(cluster.config):
        yield folder


@pytest.fixture(scope="module")
def with_nannies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two workers as docs/cluster.md starts them, one of which offers a GPU."""
    cluster = Cluster(tmp_path_factory.mktemp("nannies"), workers=0)
    cluster.add_worker("--nworkers", "1", "--resources", "GPU=1", CUDA_VISIBLE_DEVICES="0")
    cluster.add_worker("--nworkers", "1", CUDA_VISIBLE_DEVICES="none")
    yield cluster
    cluster.end()


@pytest.fixture
def beside_a_gpu(
    with_nannies: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A working folder whose stages use the cluster with nannies."""
    with working_folder(with_nannies, tmp_path, monkeypatch) as folder:
        yield folder


def wait_for(what: object, seconds: float = 60) -> None:
    """Until `what()` is true."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_lost_workers_items_are_done_by_others_each_once_and_in_order(
    started: Cluster, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LOSH_PROBE", "as the stage has it")
    items = list(range(12))
    with map_items(partial(squared, tmp_path), items) as results:
        found = [next(results)]
        lost = started.workers.pop()

        def held() -> list[Path]:
            begun = [p for p in tmp_path.glob("begun.*") if int(p.suffix[1:]) > 2]
            return [p for p in begun if p.read_text().split() == [str(lost.pid)]]

        wait_for(held)  # it is in the middle of one
        [in_work] = held()
        lost.send_signal(signal.SIGKILL)
        lost.wait()
        started.workers.append(started.add_worker())
        (tmp_path / "go").touch()
        found += list(results)
    assert found == [item * item for item in items]
    assert len(in_work.read_text().split()) == 2, "the lost item was begun again"
    written = {path.name: path.read_text() for path in here.glob("*.txt")}
    assert written == {f"{item}.txt": "as the stage has it" for item in items}
    assert not list((here / "scratch").iterdir())


def test_frames_are_those_of_one_machine(here: Path, monkeypatch: pytest.MonkeyPatch):
    source = make_a2d(here / "source", train=6, test=2, num_frames=8)
    monkeypatch.setenv("LOSH_TINY", str(source))  # workers have it from us
    where = PublishedParams(kind="a2d_sentences", source=None)
    download("tiny", where, Path("raw/tiny"), here / "none")
    extract_frames(Path("raw/tiny"), Path("cluster"), TINY_FRAMES, Path("scratch"))
    monkeypatch.delenv("LOSH_CLUSTER")
    extract_frames(Path("raw/tiny"), Path("alone"), TINY_FRAMES, Path("scratch_alone"))
    assert contents(Path("cluster")) == contents(Path("alone"))
    assert len(contents(Path("alone"))) == 8 + 1


def test_a_decoding_check_says_what_one_machine_says(here: Path, monkeypatch: pytest.MonkeyPatch):
    source = make_a2d(here / "source", train=6, test=2, num_frames=8)
    clip = sorted((source / "Release/clips320H").glob("*.mp4"))[3]
    clip.write_bytes(clip.read_bytes()[:600])
    monkeypatch.setenv("LOSH_TINY", str(source))
    where = PublishedParams(kind="a2d_sentences", source=None, verify="decode")
    download("tiny", where, Path("cluster/tiny"), here / "none")
    monkeypatch.delenv("LOSH_CLUSTER")
    download("tiny", where, Path("alone/tiny"), here / "none")
    assert contents(Path("cluster")) == contents(Path("alone"))
    assert clip.stem in Path("cluster/tiny/report.txt").read_text()


@pytest.mark.slow  # three workers load spaCy's model
def test_words_are_those_of_one_machine(here: Path, monkeypatch: pytest.MonkeyPatch):
    sentences = [f"the {'small ' * (i % 5)}circle number {i} moves" for i in range(2100)]
    by_cluster = list(tag_words(sentences))
    assert len(by_cluster) == 2100
    monkeypatch.delenv("LOSH_CLUSTER")
    assert list(tag_words(sentences)) == by_cluster


@pytest.mark.slow  # three workers import RAFT
def test_flow_is_that_of_one_machine_though_a_worker_is_lost(
    started: Cluster, here: Path, monkeypatch: pytest.MonkeyPatch
):
    source = make_a2d(here / "source", train=12, test=1, num_frames=8)
    monkeypatch.setenv("LOSH_TINY", str(source))
    where = PublishedParams(kind="a2d_sentences", source=None)
    download("tiny", where, Path("raw/tiny"), here / "none")
    extract_frames(Path("raw/tiny"), Path("frames/tiny"), TINY_FRAMES, Path("scratch"))
    lost = started.workers.pop()
    pid = os.fork()
    if pid == 0:  # kill it while it works
        wait_for(lambda: list(Path("scratch/compute_flow/tiny").glob("*.json")), 300)
        os.kill(lost.pid, signal.SIGKILL)
        os._exit(0)
    compute_flow(
        Path("frames/tiny"), Path("cluster/tiny"), TINY_FLOW, Path("scratch"), progress=False
    )
    os.waitpid(pid, 0)
    assert lost.wait(10) == -signal.SIGKILL
    started.workers.append(started.add_worker())
    monkeypatch.delenv("LOSH_CLUSTER")
    compute_flow(
        Path("frames/tiny"), Path("alone/tiny"), TINY_FLOW, Path("scratch2"), progress=False
    )
    assert contents(Path("cluster")) == contents(Path("alone"))
    assert len(contents(Path("alone"))) == 12 + 1


def test_nothing_listens_beyond_loopback(started: Cluster, here: Path):
    with map_items(abs, [-1], Need()) as results:  # all are up
        assert list(results) == [1]
    assert listening(started) == {"127.0.0.1"}


def listening(cluster: Cluster) -> set[str]:
    """The addresses on which a cluster's processes listen."""
    return {
        connection.laddr.ip
        for process in cluster.everyone()
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    }


def test_work_that_wants_a_gpu_runs_on_the_workers_that_offer_one(
    with_nannies: Cluster, beside_a_gpu: Path, tmp_path: Path
):
    work, items = partial(device_of, tmp_path), list(range(24))
    with map_items(work, items) as results:  # its first items wait until both are at work
        assert set(results) == {"0", "none"}
    with map_items(work, items, Need(gpu=True)) as results:
        assert set(results) == {"0"}
    assert listening(with_nannies) == {"127.0.0.1"}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone has mallopt")
def test_a_worker_keeps_freed_memory_during_a_task_and_no_longer(beside_a_gpu: Path):
    # Dask's nanny asks malloc for the contrary, and pauses a worker that holds much.
    with map_items(faults_of, [20], Need(gpu=True)) as results:
        [faults] = results
    assert faults < 20 * 32_000_000 / 4096 / 100, "a hundredth of the pages at most"
    with map_items(freed_at_once, [512], Need(gpu=True)) as results:
        [(pid, held)] = results
    assert held > 512e6
    wait_for(lambda: psutil.Process(pid).memory_info().rss < held - 400e6, 10)


def test_items_that_cost_four_workers_their_life_stop_the_stage(beside_a_gpu: Path):
    one_line = r"begun 4 times on the cluster .* lost each time.*See that worker's log"
    with (
        pytest.raises(UserError, match=one_line) as error,
        map_items(signal.raise_signal, [signal.SIGKILL]) as results,
    ):
        list(results)
    assert "\n" not in str(error.value)
    with map_items(abs, [-1]) as results:  # the nannies have started others
        assert list(results) == [1]


def test_what_the_page_starts_listens_on_one_address():
    page = (ROOT / "docs" / "cluster.md").read_text().replace("\\\n", " ")
    commands = [line for line in page.splitlines() if line.startswith("    dask ")]
    assert len(commands) == 2 and all(" --host " in line for line in commands)


def test_who_has_no_certificate_is_refused_in_one_line(here: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LOSH_CLUSTER_WAIT", "1")
    none = {"distributed.comm.tls.ca-file": None, "distributed.comm.tls.client.cert": None}
    refused = pytest.raises(UserError, match=r"no scheduler answers.*docs/cluster\.md")
    with dask.config.set(none), refused as error:
        cluster_executor_opened()
    assert "\n" not in str(error.value)


def cluster_executor_opened() -> None:
    with cluster.cluster_executor(os.environ["LOSH_CLUSTER"]):
        pass


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("tcp://10.1.2.3:8786", "unencrypted and unchecked"),
        ("scheduler", "Give the scheduler's address"),
        ("tcp://127.0.0.1:high", "Give the scheduler's address"),
        ("http://127.0.0.1:80", "Give the scheduler's address"),
    ],
)
def test_addresses_that_are_refused(
    address: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOSH_CLUSTER", address)
    with pytest.raises(UserError, match=said), map_items(abs, [1]):
        pass
    assert not list(tmp_path.iterdir())


def test_a_worker_elsewhere_or_with_other_code_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    task = cluster.pickle.dumps(partial(abs, -1))
    with cluster._token() as token:
        order = cluster.Order(str(tmp_path), str(token), cluster._identity(), {})
        assert cluster.run_there(order, task) == 1
        other = cluster.Order(str(tmp_path), str(token), {"code": "0" * 16}, {})
        with pytest.raises(UserError, match=r"has code .* and this stage 0000"):
            cluster.run_there(other, b"must not be unpickled")
    shutil.rmtree(tmp_path / "scratch")
    with pytest.raises(UserError, match="does not see what the stage writes"):
        cluster.run_there(order, task)
