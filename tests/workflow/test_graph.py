"""Changing params.yaml reruns only what it affects: DVC itself, with stand-ins for the stages."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from losh.commands.ablation import ROWS

ROOT = Path(__file__).parents[2]
DATASET_STAGES = ["download", "extract_frames", "compute_flow", "parse_text", "evaluate"]


class Project:
    """A small git and DVC repository with the real dvc.yaml and params.yaml."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = {
            **os.environ,
            "DVC_NO_ANALYTICS": "1",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        for name in ("dvc.yaml", "params.yaml", ".dvcignore", ".gitignore"):
            shutil.copy(ROOT / name, root / name)
        with (root / ".gitignore").open("a") as file:
            file.write("ran.log\n")
        shutil.copytree(
            ROOT / "src" / "losh",
            root / "src" / "losh",
            ignore=shutil.ignore_patterns("__pycache__", "weights"),
        )
        (root / "stages").mkdir()
        for script in (ROOT / "stages").glob("*.py"):
            shutil.copy(ROOT / "tests" / "workflow" / "stub.py", root / "stages" / script.name)
        shutil.copytree(
            ROOT / ".dvc",
            root / ".dvc",
            ignore=shutil.ignore_patterns("cache", "tmp", "config.local"),
        )
        self.run("git", "init", "-q")
        self.run("git", "config", "user.email", "test@example.invalid")
        self.run("git", "config", "user.name", "test")

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=self.root, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def dvc(self, *command: str) -> str:
        return self.run(sys.executable, "-m", "dvc", *command)

    def repro(self) -> list[str]:
        """Run what needs to run; the stages that did."""
        log = self.root / "ran.log"
        log.unlink(missing_ok=True)
        self.dvc("repro", "-q")
        return log.read_text().split() if log.exists() else []

    def set(self, path: str, value: object) -> None:
        file = self.root / "params.yaml"
        params = yaml.safe_load(file.read_text())
        part = params
        *parents, last = path.split(".")
        for key in parents:
            part = part[key]
        part[last] = value
        file.write_text(yaml.safe_dump(params, sort_keys=False))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("graph"))
    ran = project.repro()
    assert (
        ran[0] == "download@moving_shapes" and ran[-1] == "evaluate@moving_shapes" and len(ran) == 7
    )
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "run")
    return project


def test_nothing_runs_without_a_change(project):
    assert project.repro() == []


MS = "moving_shapes"


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("evaluate.rule", "long", [f"evaluate@{MS}"]),
        ("train.seed", 7, ["train", f"evaluate@{MS}"]),
        ("model.cross_attention", False, ["train", f"evaluate@{MS}"]),
        ("flow.iterations", 5, [f"compute_flow@{MS}", "train_data", "train", f"evaluate@{MS}"]),
        (
            "short_text.mode",
            "subject",
            [f"parse_text@{MS}", "train_data", "train", f"evaluate@{MS}"],
        ),
        (
            "frames.window",
            5,
            [f"extract_frames@{MS}", f"compute_flow@{MS}", "train_data", "train", f"evaluate@{MS}"],
        ),
        (
            f"datasets.{MS}.seed",
            9,
            [*(f"{s}@{MS}" for s in DATASET_STAGES[:4]), "train_data", "train", f"evaluate@{MS}"],
        ),
    ],
)
def test_a_change_runs_what_it_affects_and_nothing_else(project, key, value, expected):
    project.set(key, value)
    assert sorted(project.repro()) == sorted(expected)


def test_another_dataset_runs_its_own_stages_and_does_not_train_again(project):
    project.set("datasets.other", {"kind": "jhmdb_sentences"})
    # train_data looks at which datasets there are (a second); train itself does not run.
    assert sorted(project.repro()) == sorted(
        [*(f"{s}@other" for s in DATASET_STAGES), "train_data"]
    )
    project.set("datasets.other.seed", 3)
    ran = project.repro()
    assert "train" not in ran and not any(MS in stage for stage in ran)


def test_training_on_it_too_trains_again(project):
    project.set("train.datasets", [MS, "other"])
    assert sorted(project.repro()) == sorted(
        ["train_data", "train", f"evaluate@{MS}", "evaluate@other"]
    )


def test_earlier_values_come_from_the_cache(project):
    project.run("git", "checkout", "-q", "params.yaml")
    # The folder of the dataset that is no longer named still lies in data/frames, so train_data
    # looks again; no work is done.
    assert project.repro() in ([], ["train_data"])


def test_experiments_metrics_params_and_plots(project):
    project.run("git", "checkout", "-q", ".")
    project.dvc(
        "exp",
        "run",
        "-q",
        "--name",
        "no-cross",
        "-S",
        "model.cross_attention=false",
        "-S",
        "train.learning_rate=1e-5",
    )
    differences = json.loads(project.dvc("params", "diff", "--json"))["params.yaml"]
    assert {key: (d["old"], d["new"]) for key, d in differences.items()} == {
        "model.cross_attention": (True, False),
        "train.learning_rate": (8e-4, 1e-5),
    }
    assert "metrics/eval/moving_shapes.json" in project.dvc("metrics", "diff", "--json")
    assert "no-cross" in project.dvc("exp", "show", "--csv")


def run_queue(project: Project) -> None:
    """Run what is queued, and wait for its end."""
    project.dvc("queue", "start")
    deadline = time.monotonic() + 240
    # The worker leaves by itself some seconds after the last one; `queue stop` would stop the next
    # worker too.
    while any(
        word in (status := project.dvc("queue", "status"))
        for word in ("Queued", "Running", "1 active", "1 idle")
    ):
        assert time.monotonic() < deadline, status
        time.sleep(2)


@pytest.mark.parametrize("where", ["--temp", "--queue"])
def test_an_experiment_in_another_folder_runs_its_own_code(project, where):
    """With an editable install, `import losh` would find the workspace's code: the stages' scripts
    must not.
    """
    project.run("git", "checkout", "-q", ".")
    script = (ROOT / "stages" / "train_data.py").read_text().split("from losh")[0]
    out = project.root / f"found{where}.txt"
    probe = (
        script + "import "
        'losh\nPath("data").mkdir(exist_ok=True)\nPath("data/train_data.json").write_text(losh.__file__)\n'
    )
    (project.root / "stages" / "train_data.py").write_text(probe + f"# {where}\n")
    project.run("git", "commit", "-qam", "probe")
    (project.root / "stages" / "train_data.py").write_text(
        probe + f"Path({str(out)!r}).write_text(losh.__file__)\n"
    )
    project.dvc("exp", "run", "-q", where, "train_data")
    if where == "--queue":
        # What the workspace holds when the queue runs must not matter.
        project.run("git", "checkout", "-q", ".")
        run_queue(project)
    found = Path(out.read_text())
    assert ".dvc/tmp/exps" in str(found) and not found.is_relative_to(ROOT)


def test_the_ablation_is_queued_run_and_shown(project):
    project.run("git", "checkout", "-q", ".")
    shutil.copy(ROOT / "tests" / "workflow" / "stub.py", project.root / "stages" / "train_data.py")
    project.run("git", "commit", "-qam", "stand-ins again")
    losh = [sys.executable, "-m", "losh.cli", "ablation"]
    project.run(*losh, "queue", "--seeds", "3", "-S", "train.epochs=2")
    assert project.dvc("queue", "status").count("Queued") == len(ROWS)
    run_queue(project)
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in project.run(*losh, "show").splitlines()[2:]
    ]
    assert [line[:3] for line in lines] == [[row, "3", MS] for row in ROWS]
    stated = {}
    for row in ROWS:
        reference = project.run(
            "git", "for-each-ref", "--format=%(refname)", f"refs/exps/*/*/ablation-{row}-3"
        ).strip()
        params = yaml.safe_load(project.run("git", "show", f"{reference}:params.yaml"))
        model, losses = params["model"], params["train"]["losses"]
        assert params["train"]["seed"] == 3 and params["train"]["epochs"] == 2
        stated[row] = (
            model["short_stream"],
            model["cross_attention"],
            losses["intersection"] > 0,
            losses["consistency"] > 0,
        )
    # Without a short stream the intersection's weight means nothing.
    assert stated == {
        "mttr": (False, False, True, False),
        "mttr-short": (True, False, False, False),
        "intersection": (True, False, True, False),
        "cross-attention": (True, True, False, False),
        "consistency": (True, False, False, True),
        "losh": (True, True, True, True),
    }
