"""`losh compare` in a small repository with real experiments: a table of 120 columns, in which only
what differs is named.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SCRIPT = """
import json, pathlib, sys, yaml
params = yaml.safe_load(open("params.yaml"))
if params["train"]["epochs"] == 13:
    sys.exit("error: unlucky")
out = pathlib.Path("metrics/eval")
out.mkdir(parents=True, exist_ok=True)
scores = {"mean_iou": params["train"]["epochs"] / 100, "overall_iou": 0.5, "samples": 3}
(out / "shapes.json").write_text(json.dumps(scores))
"""
PARAMS = {
    "train": {"epochs": 5, "datasets": ["a", "b"], "losses": {"consistency": 0.5}},
    "model": {f"a_switch_with_a_long_name_{i}": True for i in range(6)},
}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("compare")
    (root / "work.py").write_text(SCRIPT)
    (root / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    stage = {
        "cmd": f"{sys.executable} work.py",
        "params": ["train", "model"],
        "metrics": [{"metrics/eval/shapes.json": {"cache": False}}],
    }
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"work": stage}}))
    for command in ("init -q", "config user.email t@example.invalid", "config user.name t"):
        run(root, "git", *command.split())
    dvc(root, "init", "-q")
    dvc(root, "repro", "-q")
    run(root, "git", "add", "-A")
    run(root, "git", "commit", "-qm", "start")
    for name, values in {
        "longer": ["train.epochs=8", "train.losses.consistency=0.25"],
        "many": [f"model.a_switch_with_a_long_name_{i}=false" for i in range(6)],
    }.items():
        options = [part for value in values for part in ("-S", value)]
        dvc(root, "exp", "run", "-q", "--name", name, *options)
        run(root, "git", "checkout", "-q", ".")
    return root


def run(root: Path, *command: str) -> str:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "COLUMNS": "120",
        "DVC_NO_ANALYTICS": "1",
    }
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def dvc(root: Path, *arguments: str) -> str:
    return run(root, sys.executable, "-m", "dvc", *arguments)


def test_names_changes_and_scores_fit_into_120_columns(repository):
    lines = run(repository, sys.executable, "-m", "losh.cli", "compare").splitlines()
    assert max(map(len, lines)) <= 120
    assert lines[0].split() == ["experiment", "changed", "mIoU", "oIoU"]
    rows = {line.split()[0]: line for line in lines[2:] if not line.startswith(" ")}
    assert next(iter(rows)) == "workspace" and {"longer", "many"} <= set(rows)
    assert rows["workspace"].split()[1:] == ["0.050", "0.500"]
    changed = ["train.epochs=8", "train.losses.consistency=0.25"]
    assert sorted(rows["longer"].split()[1:]) == sorted([*changed, "0.080", "0.500"])
    text = " ".join(" ".join(lines).split())
    assert all(f"model.a_switch_with_a_long_name_{i}=false" in text for i in range(6))
    assert "train.datasets" not in text and "samples" not in text


def test_the_workspace_is_held_against_its_commit(repository):
    params = json.loads(json.dumps(PARAMS))
    params["train"]["datasets"] = ["a"]
    (repository / "params.yaml").write_text(yaml.safe_dump(params))
    try:
        output = run(repository, sys.executable, "-m", "losh.cli", "compare")
    finally:
        run(repository, "git", "checkout", "-q", "params.yaml")
    [line] = [line for line in output.splitlines() if line.startswith("workspace")]
    assert 'train.datasets=["a"]' in line


def test_experiments_of_another_commit_are_shown_when_asked_for(repository):
    run(repository, "git", "commit", "-q", "--allow-empty", "-m", "later")
    command = [sys.executable, "-m", "losh.cli", "compare"]
    assert "longer" not in run(repository, *command)
    assert "longer" in run(repository, *command, "--all")
