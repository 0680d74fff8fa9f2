"""scripts/slurm on a real Slurm of two nodes, on this machine: lost places, time and nodes.

Skipped without Slurm (Debian's slurm-wlm, munge, iproute2), and for any user but root.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from workflow.project import ROOT, Project, clone, environment

from losh.testing.tiny_training import TINY_SHAPES, tiny_raw

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not shutil.which("slurmctld", path=f"{os.environ['PATH']}:/usr/sbin") or os.getuid() != 0,
        reason="needs Slurm (slurm-wlm) and root",
    ),
]
HEAD = "10.77.0.1"


class Slurm(Project):
    """Two nodes, and a clone of this repository that both see."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, clone(folder / "losh")
        self.environment = {
            **environment(),
            "PYTHONPATH": str(self.root / "src"),
            "SLURM_CONF": str(folder / "slurm.conf"),
            "LOSH_DEVICE": "cpu",
            "LOSH_PROCESSES_PER_NODE": "1",
            "OMP_NUM_THREADS": "1",
        }

    def nodes(self, *words: str) -> None:
        with (self.folder / "nodes.log").open("a+") as log:  # not a pipe: daemons would hold it
            done = subprocess.run(
                [ROOT / "scripts" / "slurm" / "two_nodes.sh", *words, str(self.folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
            log.seek(0)
            assert done.returncode == 0, log.read()[-3000:]

    def submit(self, *words: str, **more: str) -> str:
        """The job's number."""
        variables = [f"{name}={value}" for name, value in more.items()]
        return self.run("env", *variables, "sbatch", "--parsable", *words).strip()

    def state(self, job: str) -> str:
        return self.run("squeue", "-h", "-t", "all", "-j", job, "-o", "%T").strip()

    def log(self, job: str) -> str:
        path = self.root / f"losh-{job}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def until(self, true: Callable[[], bool], seconds: float = 240, job: str = "") -> None:
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, self.run("squeue") + self.log(job)[-3000:]
            time.sleep(0.2)

    def begin_training(self, *options: str, **more: str) -> str:
        """A job that is in the middle of its training, from nothing."""
        for folder in ("scratch/train", "data/model"):
            shutil.rmtree(self.root / folder, ignore_errors=True)
        job = self.submit(*options, "scripts/slurm/stage.sbatch", "train", **more)
        self.until(lambda: "epoch 2: " in self.log(job), job=job)
        return job

    def ends_after_a_break(self, job: str, output: str = "data/model") -> None:
        self.until(lambda: self.state(job) == "PENDING", job=job)
        assert not (self.root / output).exists(), "it was to be lost in the middle"
        self.until(lambda: self.state(job) == "COMPLETED", job=job)

    def weights(self) -> bytes:
        return (self.root / "data" / "model" / "last.safetensors").read_bytes()

    def prepared(self) -> dict[str, str]:
        return {
            str(path.relative_to(self.root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for part in ("raw", "frames", "flow", "short_text")
            for path in (self.root / "data" / part).rglob("*")
            if path.is_file()
        }


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """With the data prepared on this machine alone."""
    made = Slurm(tmp_path_factory.mktemp("slurm"))
    try:
        made.nodes("up")
        made.until(lambda: made.run("sinfo", "-h", "-o", "%T").split() == ["idle"])
        shapes = {**TINY_SHAPES, "train_videos": 20}
        more = {"train__datasets": ["moving_shapes"], "train__epochs": 14}
        raw = tiny_raw({"moving_shapes": shapes}, **more)
        (made.root / "params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
        made.dvc("repro", "-q", "train_data")
        yield made
    finally:
        subprocess.run(["scancel", "-u", "root"], env=made.environment, check=False)
        made.nodes("down")


@pytest.fixture(scope="module")
def undisturbed(slurm: Slurm) -> bytes:
    """The weights of a training that nothing happened to."""
    job = slurm.begin_training()
    slurm.until(lambda: slurm.state(job) == "COMPLETED", job=job)
    assert "2 process(es) on cpu" in slurm.log(job)
    assert "up to date" in slurm.dvc("status", "train")
    return slurm.weights()


def test_a_job_of_higher_rank_takes_the_place_of_a_training(slurm: Slurm, undisturbed: bytes):
    job = slurm.begin_training()
    slurm.submit("-p", "high", "--nodes=2", "--exclusive", "--wrap", "sleep 1")
    slurm.ends_after_a_break(job)
    assert "stopped by signal 15; the state is saved" in slurm.log(job)
    assert slurm.weights() == undisturbed


def test_a_trainings_time_ends(slurm: Slurm, undisturbed: bytes):
    job = slurm.begin_training("--time=3", "--signal=B:TERM@150")
    slurm.ends_after_a_break(job)
    assert "stopped by signal 15; the state is saved" in slurm.log(job)
    assert slurm.weights() == undisturbed


def test_a_node_of_a_training_is_lost_and_comes_back(slurm: Slurm, undisturbed: bytes):
    job = slurm.begin_training(LOSH_SAVE_EVERY="1")
    slurm.nodes("kill", "node2")
    slurm.until(lambda: "down" in slurm.run("sinfo", "-h", "-o", "%T"), job=job)
    slurm.nodes("node2")
    slurm.ends_after_a_break(job)
    assert slurm.weights() == undisturbed


def test_a_job_of_higher_rank_takes_the_place_of_an_evaluation(slurm: Slurm, undisturbed: bytes):
    slurm.dvc("repro", "-q", "train", "parse_text@moving_shapes")
    job = slurm.submit("--nodes=1", "scripts/slurm/stage.sbatch", "evaluate", "moving_shapes")
    slurm.until(lambda: slurm.state(job) == "RUNNING", job=job)
    slurm.submit("-p", "high", "--nodes=2", "--exclusive", "--wrap", "sleep 1")
    slurm.ends_after_a_break(job, "data/evaluate/moving_shapes")
    assert "up to date" in slurm.dvc("status", "evaluate@moving_shapes")


def test_workers_of_a_lost_node_lose_no_item(slurm: Slurm):
    """With the commands of docs/cluster.md."""
    page = (ROOT / "docs" / "cluster.md").read_text().replace("HOST", HEAD)
    certificate, scheduler, stages = (
        re.search(pattern, page, re.DOTALL | re.MULTILINE).group()
        for pattern in (
            r"^    mkdir -p -m 700 tmp/cluster.*?^    cd \.\./\.\.$",
            r"^    export DASK_CONFIG=.*?^    dask scheduler [^\n]* &$",
            r"LOSH_CLUSTER=tls://[^\n]* dvc repro train_data$",
        )
    )
    slurm.run("bash", "-c", textwrap.dedent(certificate))
    alone = slurm.prepared()
    assert len(alone) > 50
    for folder in ("data", "scratch", ".dvc/cache"):
        shutil.rmtree(slurm.root / folder)
    known = slurm.folder / "scheduler.log"
    with known.open("w") as log:
        command = textwrap.dedent(scheduler).removesuffix(" &").replace("dask sch", "exec dask sch")
        running = subprocess.Popen(
            ["bash", "-c", command], cwd=slurm.root, env=slurm.environment, stdout=log, stderr=log
        )
    try:
        options = ["--array=1-2", "--nodes=1", "--exclusive", "--cpus-per-task=2"]
        address = f"tls://{HEAD}:8786"
        jobs = slurm.submit(*options, "scripts/slurm/workers.sbatch", LOSH_CLUSTER=address)
        slurm.until(lambda: known.read_text().count("Register worker") >= 4)
        settings = {"DASK_CONFIG": str(slurm.root / "tmp" / "cluster" / "dask.yaml")}
        preparing = subprocess.Popen(
            ["bash", "-c", stages], cwd=slurm.root, env={**slurm.environment, **settings}
        )
        slurm.until(lambda: any((slurm.root / "scratch").glob("compute_flow/**/*.h5")))
        # Without a word: no connection is closed.
        subprocess.run(["ip", "-n", "node2", "link", "set", "eth0", "down"], check=True)
        slurm.nodes("kill", "node2")
        assert preparing.wait(240) == 0
        assert "Remove worker addr: tls://10.77.0.12:" in known.read_text()
        assert slurm.prepared() == alone
        slurm.until(lambda: sorted(slurm.state(jobs).split()) == ["PENDING", "RUNNING"])
    finally:
        running.terminate()
        running.wait(60)
