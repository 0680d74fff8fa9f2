"""`losh report`: the page beside the scores of a real experiment, a commit, a branch or a tag, and
one line where there is nothing to compare with.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from report.made_by_hand import Page, make_root, put

from losh.cli import main

NAME = "jhmdb_sentences"
SCORES = Path(f"metrics/eval/{NAME}.json")
STAGES_PAGE = Path("metrics/report/index.html")
WORK = f"""
import json, pathlib, yaml
epochs = yaml.safe_load(open("params.yaml"))["train"]["epochs"]
scores = {{"mean_iou": epochs / 10, "samples": 9, "skipped": 0}}
scores["mean_iou_interval"] = {{"low": epochs / 10 - 0.05, "high": epochs / 10 + 0.05}}
pathlib.Path("{SCORES}").write_text(json.dumps(scores))
"""


def call(root: Path, *command: str, date: str = "") -> str:
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"} | (
        {"GIT_COMMITTER_DATE": date} if date else {}
    )
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def dvc(root: Path, *arguments: str) -> None:
    call(root, sys.executable, "-m", "dvc", *arguments)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A repository with scores of 2 epochs committed, the tag `empty` before them, an experiment of
    3 epochs, and 5 epochs in the workspace; the hash of its commit.
    """
    root = tmp_path_factory.mktemp("comparison")
    make_root(root, {NAME: {}}, train__epochs=2)
    put(root / "work.py", WORK)
    stage = {
        "cmd": f"{sys.executable} work.py",
        "params": ["train.epochs"],
        "metrics": [{str(SCORES): {"cache": False}}],
    }
    put(root / "dvc.yaml", yaml.safe_dump({"stages": {"work": stage}}))
    put(root / ".gitignore", "comparison.html\nmetrics/report\n")
    (root / SCORES).unlink()
    for command in ("init -q", "config user.email t@example.invalid", "config user.name t"):
        call(root, "git", *command.split())
    dvc(root, "init", "-q")
    call(root, "git", "add", "-A")
    call(root, "git", "commit", "-qm", "before any scores")
    call(root, "git", "tag", "empty")
    dvc(root, "repro", "-q")
    call(root, "git", "add", "-A")
    call(root, "git", "commit", "-qm", "two <epochs>")
    dvc(root, "exp", "run", "-q", "--name", "dowdy-lamb", "-S", "train.epochs=3")
    make_root(root, {NAME: {}}, train__epochs=5)
    call(root, sys.executable, "work.py")
    return root, call(root, "git", "rev-parse", "HEAD")


@pytest.fixture
def root(start: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, as the working folder."""
    monkeypatch.chdir(start[0])
    return start[0]


def compared(*arguments: str) -> Page:
    main(["report", *arguments])
    return Page(Path("comparison.html").read_text())


def error(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line of a command that fails."""
    with pytest.raises(SystemExit) as stop:
        main(["report", *arguments])
    assert stop.value.code == 1
    [line] = capsys.readouterr().err.splitlines()
    return line


def sentences(page: Page) -> str:
    return " ".join(" ".join(page.text).split())


def test_an_experiment_is_named_with_its_start_and_what_it_changed(root, start, capsys):
    page = compared("--against", "dowdy-lamb")
    assert capsys.readouterr().out == "wrote comparison.html\n"
    assert page.cells["mean_iou"] == "0.5000" and page.cells["earlier:mean_iou"] == "0.3000"
    assert "Other: the scores of experiment dowdy-lamb (" in sentences(page)
    short = call(root, "git", "rev-parse", "--short", start[1])
    assert f"started from commit {short} )" in sentences(page)
    rows = page.text[page.text.index("train.epochs") :]
    assert rows[:3] == ["train.epochs", "3", "5"]
    assert "other" in page.text and "earlier" not in sentences(page)
    assert "the other value lies outside" in sentences(page)
    assert '<td class="number beyond">+0.2000</td>' in Path("comparison.html").read_text()
    assert not STAGES_PAGE.exists()


@pytest.mark.parametrize("name", ["commit", "short", "HEAD", "branch", "v1"])
def test_a_commit_is_named_by_whatever_git_takes(name, root, start, tmp_path):
    call(root, "git", "branch", "-f", "branch")
    call(root, "git", "tag", "-f", "-a", "v1", "-m", "release")
    name = {"commit": start[1], "short": start[1][:8]}.get(name, name)
    main(["report", "--against", name, "-o", str(tmp_path / "page.html")])
    page = Page((tmp_path / "page.html").read_text())
    assert page.cells["earlier:mean_iou"] == "0.2000"
    assert "two <epochs>" in sentences(page) and name in page.text


def test_of_several_experiments_of_a_name_the_newest_counts(root, start):
    """There may be one of each commit; DVC keeps other things beside them."""
    commits = {}
    for epochs, date in ((7, "2001-01-01T00:00:00"), (8, "2099-01-01T00:00:00")):
        tree = tree_with(root, {"mean_iou": epochs / 10, "samples": 9, "skipped": 0})
        commits[epochs] = call(root, "git", "commit-tree", "-m", "dvc", tree, date=date)
    older, newer = f"refs/exps/00/{'0' * 38}/twice", f"refs/exps/ff/{'f' * 38}/twice"
    others = ["refs/exps/stash", "refs/exps/00/twice", "refs/exps/celery/failed/00/twice"]
    for reference in (older, newer, *others):
        call(root, "git", "update-ref", reference, commits[7 if reference == older else 8])
    try:
        page = compared("--against", "twice")
    finally:
        for reference in (older, newer, *others):
            call(root, "git", "update-ref", "-d", reference)
    assert page.cells["earlier:mean_iou"] == "0.8000" and "fffffff" in page.text


def tree_with(root: Path, scores: dict[str, float]) -> str:
    """A tree that holds these scores and nothing else."""
    put(root / ".git/scores.json", json.dumps(scores))
    entry = call(root, "git", "hash-object", "-w", ".git/scores.json")
    for kind, name in (("blob", SCORES.name), ("tree", "eval"), ("tree", "metrics")):
        mode = "100644" if kind == "blob" else "040000"
        done = subprocess.run(
            ["git", "mktree"],
            cwd=root,
            input=f"{mode} {kind} {entry}\t{name}\n",
            capture_output=True,
            text=True,
            check=True,
        )
        entry = done.stdout.strip()
    return entry


def test_a_dataset_that_the_other_lacks_is_said(root):
    text = Path("params.yaml").read_text()
    make_root(root, {NAME: json.loads(SCORES.read_text()), "folder": {"samples": 1, "skipped": 0}})
    try:
        page = compared("--against", "HEAD")
    finally:
        Path("metrics/eval/folder.json").unlink()
        Path("params.yaml").write_text(text)
    assert "HEAD has no scores of this dataset to compare with." in sentences(page)
    assert page.cells["earlier:mean_iou"] == "0.2000"


@pytest.mark.parametrize("name", ["no-such", "", "--all", "HEAD:params.yaml", "HEAD..empty"])
def test_an_unknown_name(name, root, capsys):
    line = error(capsys, f"--against={name}")
    assert line.startswith(f"error: no commit, branch, tag or experiment is called {name!r}. ")
    assert "git log --oneline -- metrics/eval" in line and "losh compare --all" in line


def test_a_commit_without_scores(root, capsys):
    line = error(capsys, "--against", "empty")
    assert line.startswith(f"error: empty has no scores to compare with: no {SCORES}. `git log")


def test_nothing_is_evaluated_yet(root, capsys):
    content = SCORES.read_text()
    SCORES.unlink()
    try:
        assert "no dataset has been evaluated. Run `dvc repro`" in error(capsys, "--against=HEAD")
    finally:
        SCORES.write_text(content)


def test_outside_git_and_outside_a_clone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert "is no clone of the repository" in error(capsys, "--against", "HEAD")
    make_root(tmp_path, {NAME: {"samples": 0, "skipped": 0}})
    put(tmp_path / "dvc.yaml", "")
    line = error(capsys, "--against", "HEAD")
    assert f"{tmp_path} is in no git repository" in line and line.endswith("work in a clone")


@pytest.mark.parametrize("way", ["itself", "another way", "hard link"])
def test_the_stages_own_page_is_refused(way, root, tmp_path, capsys):
    put(STAGES_PAGE, "the stage's")
    os.link(STAGES_PAGE, tmp_path / "link.html")
    out = {
        "itself": STAGES_PAGE,
        "another way": Path("metrics/../metrics/report/index.html"),
        "hard link": tmp_path / "link.html",
    }[way]
    try:
        line = error(capsys, "--against", "HEAD", "-o", str(out))
        assert "is what the stage `report` wrote" in line and "another file for -o" in line
        assert STAGES_PAGE.read_text() == "the stage's"
        STAGES_PAGE.unlink()  # DVC has removed it: still no place for another page
        if way != "hard link":
            assert "is what the stage" in error(capsys, "--against", "HEAD", "-o", str(out))
    finally:
        STAGES_PAGE.unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("out", "told"),
    [
        ("params.yaml", "params.yaml is no .html"),
        ("folder.html", "folder.html is a folder"),
        ("work.py/page.html", "work.py/page.html cannot be written"),
    ],
)
def test_other_files_that_cannot_be_the_page(out, told, root, capsys):
    Path("folder.html").mkdir(exist_ok=True)
    before = Path("params.yaml").read_text()
    assert told in error(capsys, "--against", "HEAD", "-o", out)
    assert Path("params.yaml").read_text() == before


def test_it_is_told_what_is_missing(root, capsys):
    assert "required: --against. `losh report --help`" in error(capsys)


def test_git_does_not_see_the_page():
    ignored = (Path(__file__).parents[2] / ".gitignore").read_text().splitlines()
    assert "/comparison.html" in ignored
