"""What a run is compared with: the newest scores in git that differ from it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from report.made_by_hand import NASTY, Page, make_root, page_of, put

from losh.report.earlier import earlier_scores
from losh.report.scores import score_rows

NAME = "jhmdb_sentences"
SCORES = Path(f"metrics/eval/{NAME}.json")
ROOT = Path(__file__).parents[2]


def git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True)
    return done.stdout


def repository(root: Path) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    git(root, "init", "-q")
    git(root, "config", "user.email", "t@example.invalid")
    git(root, "config", "user.name", "t")
    return root


def commit(root: Path, message: str) -> str:
    git(root, "add", "-A")
    git(root, "commit", "-qm", message)
    return git(root, "rev-parse", "--short", "HEAD").strip()


def scores(mean_iou: float) -> dict:
    interval = {"low": mean_iou - 0.05, "high": mean_iou + 0.05}
    return {"mean_iou": mean_iou, "mean_iou_interval": interval, "samples": 9, "skipped": 0}


def run(root: Path, mean_iou: float, epochs: int) -> str:
    """What a run with other parameters leaves; its page."""
    params = make_root(root, {NAME: scores(mean_iou)}, train__epochs=epochs)
    return page_of(root, params)


def test_the_commit_before_is_shown_before_and_after_committing(tmp_path):
    root = repository(tmp_path)
    (root / ".gitignore").write_text("metrics/report\n")
    first = run(root, 0.4, 3)
    assert "no earlier scores" in " ".join(first.split())
    before = commit(root, NASTY)
    page = run(root, 0.5, 4)
    found = Page(page)
    assert found.cells["earlier:mean_iou"] == "0.4000" and found.cells["mean_iou"] == "0.5000"
    assert '<td class="number beyond">+0.1000</td>' in page
    rows = found.text[found.text.index("train.epochs") :]
    assert rows[:3] == ["train.epochs", "3", "4"] and before in found.text
    assert NASTY in " ".join(found.text) and "b" not in found.tags
    commit(root, "the run")
    put(root / "README", "a later commit that changes no score")
    commit(root, "words")
    assert run(root, 0.5, 4) == page
    assert "+0.0300" in run(root, 0.53, 4)
    assert '<td class="number beyond">' not in run(root, 0.53, 4)


def test_it_works_in_a_folder_of_a_repository_and_without_one(tmp_path):
    assert earlier_scores(SCORES, scores(0.5), tmp_path) is None
    root = repository(tmp_path / "outer") / "inner"
    assert earlier_scores(SCORES, scores(0.5), root.parent) is None  # no commit
    put(root / SCORES, json.dumps(scores(0.4)))
    commit(root, "scores")
    found = earlier_scores(SCORES, scores(0.5), root)
    assert found is not None and found.scores == scores(0.4) and found.params == {}


def test_without_git_there_is_nothing_to_compare_with(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert earlier_scores(SCORES, scores(0.5), tmp_path) is None


def test_scores_that_cannot_be_read_are_passed_over(tmp_path):
    root = repository(tmp_path)
    for text in (json.dumps(scores(0.4)), "<<<<<<< damaged", "[1]"):
        put(root / SCORES, text)
        commit(root, "scores")
    (root / SCORES).unlink()
    commit(root, "gone")
    found = earlier_scores(SCORES, scores(0.5), root)
    assert found is not None and found.scores["mean_iou"] == 0.4


def test_an_experiment_in_dvcs_own_folder_is_compared_with_its_start(tmp_path):
    """`dvc exp run --temp`, as queued experiments are run."""
    root = repository(tmp_path)
    out = tmp_path / "found.json"
    put(root / "params.yaml", "epochs: 4\n")
    put(
        root / "work.py",
        f"""
import json, pathlib, sys, yaml
sys.path.insert(0, {str(ROOT / "src")!r})
from losh.report.earlier import earlier_scores
from losh.report.scores import score_rows
path = pathlib.Path({str(SCORES)!r})
path.parent.mkdir(parents=True, exist_ok=True)
now = {{"mean_iou": yaml.safe_load(open("params.yaml"))["epochs"] / 10}}
path.write_text(json.dumps(now))
found = earlier_scores(path, now)
pathlib.Path({str(out)!r}).write_text(
    json.dumps([str(pathlib.Path.cwd()), found and found.commit, found and found.params])
)
""",
    )
    stage = {
        "cmd": f"{sys.executable} work.py",
        "params": ["epochs"],
        "metrics": [{str(SCORES): {"cache": False}}],
    }
    put(root / "dvc.yaml", yaml.safe_dump({"stages": {"work": stage}}))
    (root / ".gitignore").write_text("found.json\n")

    def dvc(*arguments: str) -> None:
        environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
        command = [sys.executable, "-m", "dvc", *arguments]
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    dvc("init", "-q")
    dvc("repro", "-q")
    assert json.loads(out.read_text())[1:] == [None, None]
    start = commit(root, "start")
    dvc("exp", "run", "-q", "--temp", "-S", "epochs=5")
    where, found, params = json.loads(out.read_text())
    assert ".dvc/tmp/exps" in where and found == start and params == {"epochs": 4}


@pytest.mark.parametrize(("was", "now"), [(0.41, False), (0.35, True), (0.37, False), (0.47, True)])
def test_beyond_the_interval(was, now):
    [row] = score_rows(scores(0.41), {"mean_iou": was})
    assert row.beyond == now and row.difference == pytest.approx(0.41 - was)
