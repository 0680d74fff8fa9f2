"""The files for Slurm: with stand-ins for its commands they start what docs/cluster.md says.

A job that is told to end passes that on, and queues again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMMANDS = {
    "scontrol": 'echo "scontrol $*" >> calls\n[ "$2" = hostnames ] && printf "node1\\nnode2\\n"\n'
    '[ "$2" = job ] && echo "   PreemptTime=${PREEMPTED:-None}"',
    "dvc": 'echo "dvc $*" >> calls',
    "dask": 'echo "dask $* THREADS=$OMP_NUM_THREADS" >> calls',
    "hostname": "echo node1",
    # As the real one, it has the cores of a task from its own variable alone. STEP stands for what
    # it starts.
    "srun": 'echo "srun $* TORCH=${TORCH_DISABLE_SHARE_RDZV_TCP_STORE:-}'
    ' CORES=${SRUN_CPUS_PER_TASK:-1}" >> calls\n'
    # As the real one: told to end itself, it kills its tasks at once.
    "trap 'kill -KILL $!' TERM\n"
    "$STEP & wait $!",
    "scancel": 'echo "scancel $*" >> calls\nkill -TERM $(cat pid)',
}


@pytest.fixture
def slurm(tmp_path: Path) -> dict[str, str]:
    """The environment of a job, in a folder where `calls` tells what was called."""
    (tmp_path / "bin").mkdir()
    for name, body in COMMANDS.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\n{body}\nexit ${{CODE:-0}}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    job = {"JOB_ID": "7", "JOB_NODELIST": "node[1-2]", "NNODES": "2", "SUBMIT_DIR": str(tmp_path)}
    job["CPUS_PER_TASK"] = "32"
    return {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        **{f"SLURM_{name}": value for name, value in job.items()},
    }


def start(slurm: dict[str, str], file: str, *arguments: str, **more: str) -> subprocess.Popen:
    command = ["bash", str(ROOT / "scripts" / "slurm" / f"{file}.sbatch"), *arguments]
    return subprocess.Popen(command, env={**slurm, **more}, start_new_session=True)


def calls(slurm: dict[str, str]) -> list[str]:
    return (Path(slurm["SLURM_SUBMIT_DIR"]) / "calls").read_text().splitlines()


def test_a_stage_runs_on_all_nodes_and_is_recorded(slurm: dict[str, str]):
    assert start(slurm, "stage", "evaluate", "a2d", STEP="true").wait(60) == 0
    _, step, last = calls(slurm)
    assert "--nnodes=2" in step and "--rdzv-endpoint=node1:29500" in step and "TORCH=1" in step
    assert step.endswith(" CORES=32")
    assert "stages/evaluate.py a2d" in step and last == "dvc commit -f evaluate@a2d"


def test_a_stage_that_fails_is_not_recorded_nor_queued_again(slurm: dict[str, str]):
    assert start(slurm, "stage", "train", STEP="true", CODE="3").wait(60) == 3
    assert not [call for call in calls(slurm) if call.startswith(("dvc", "scontrol requeue"))]


def test_a_job_that_is_told_to_end_passes_it_on_and_queues_again(slurm: dict[str, str]):
    folder = Path(slurm["SLURM_SUBMIT_DIR"])
    (folder / "step").write_text(
        'trap "echo told >> calls; exit 143" TERM; echo $$ > pid; '
        "for i in {1..600}; do sleep 0.1; done"
    )
    job = start(slurm, "stage", "train", STEP="bash step", CODE="143")
    deadline = time.monotonic() + 60
    while not (folder / "pid").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(job.pid, signal.SIGTERM)  # --signal=B: Slurm tells this shell alone
    assert job.wait(60) == 0
    assert calls(slurm)[-3:] == ["scancel --signal=TERM 7", "told", "scontrol requeue 7"]


def test_a_job_whose_steps_slurm_itself_ended_queues_again(slurm: dict[str, str]):
    said = "stopped by signal 15; the state is saved in scratch"
    job = start(slurm, "stage", "train", STEP="bash step", CODE="1")
    (Path(slurm["SLURM_SUBMIT_DIR"]) / "step").write_text(f"echo '{said}' >> losh-7.log")
    job.wait(60)
    assert calls(slurm)[-1] == "scontrol requeue 7"


def test_a_stage_that_keeps_no_state_begins_again_where_another_job_took_its_place(
    slurm: dict[str, str],
):
    more = {"CODE": "1", "PREEMPTED": "2026-11-30T03:17:15"}
    start(slurm, "stage", "evaluate", "a2d", STEP="true", **more).wait(60)
    assert calls(slurm)[-1] == "scontrol requeue 7"


def test_workers_join_the_scheduler_that_is_named(slurm: dict[str, str]):
    more = {"LOSH_CLUSTER": "tls://node0:8786", "SLURM_CPUS_PER_TASK": "4"}
    assert start(slurm, "workers", **more).wait(60) == 0
    assert start(slurm, "workers", **more, SLURM_GPUS_PER_TASK="1").wait(60) == 0
    of_cores, of_a_gpu = calls(slurm)
    for call in (of_cores, of_a_gpu):
        assert call.startswith("dask worker tls://node0:8786 ")
        assert " --host node1 " in call, "it listens on its own node's address alone"
    assert " --nworkers 4 " in of_cores and "GPU" not in of_cores
    assert of_cores.endswith(" THREADS=1")
    assert " --nworkers 1 --resources GPU=1 " in of_a_gpu and of_a_gpu.endswith(" THREADS=4")
    assert start(slurm, "workers").wait(60) != 0
