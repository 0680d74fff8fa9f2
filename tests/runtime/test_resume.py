"""What waits in scratch/: reused only where code, weights, parameters and inputs are the same;
removed when it is old and nobody's.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from losh.errors import UserError
from losh.runtime import resume
from losh.runtime.files import content_digest
from losh.runtime.resume import (
    fingerprint,
    held,
    keep_newest,
    stage_digest,
    stage_params,
    warn_if_changed,
)

ROOT = Path(__file__).parents[2]
VALUES = {"key": "toy", "model": {"base": "b"}, "train": {"epochs": 3}, "frames": {"window": 6}}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small repository: one stage of its own, one of a dataset's, a module that nobody names."""
    files = {
        "stages/one.py": "run",
        "src/p/base/a.py": "a",
        "src/p/base/deeper/w.bin": "w",
        "src/p/other.py": "o",
        "src/unwatched.py": "u",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    stages = {
        "one": {
            "params": ["model", "train.epochs"],
            "deps": ["stages/one.py", "src/p/${model.base}ase", "data/${key}"],
        },
        "each": {
            "foreach": "${datasets}",
            "do": {"params": ["frames"], "deps": ["src/p/other.py", "data/raw/${key}"]},
        },
    }
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    monkeypatch.setattr(resume, "ROOT", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("stages/one.py", "walk"),
        ("src/p/base/a.py", "b"),
        ("src/p/base/deeper/w.bin", "x"),
        ("src/p/base/new.py", ""),
    ],
)
def test_the_digest_follows_each_file_that_the_stage_depends_on(
    name: str, text: str, repository: Path
):
    before = stage_digest("one", **VALUES)
    assert stage_digest("one", **VALUES) == before
    (repository / name).write_text(text)
    assert stage_digest("one", **VALUES) != before


def test_the_digest_follows_nothing_else(repository: Path):
    one, each = stage_digest("one", **VALUES), stage_digest("each", key="toy")
    (repository / "src/unwatched.py").write_text("changed")
    (repository / "src/p/base/__pycache__").mkdir()
    (repository / "src/p/base/__pycache__/a.pyc").write_text("compiled")
    assert (stage_digest("one", **VALUES), stage_digest("each", key="toy")) == (one, each)
    (repository / "src/p/base/a.py").write_text("changed")
    assert stage_digest("each", key="toy") == each != one


def test_a_file_that_moves_is_other_code(repository: Path):
    before = stage_digest("one", **VALUES)
    (repository / "src/p/base/a.py").rename(repository / "src/p/base/z.py")
    assert stage_digest("one", **VALUES) != before


def test_the_parameters_are_those_that_the_stage_names(repository: Path):
    assert stage_params("one", **VALUES) == {"model": {"base": "b"}, "train.epochs": 3}
    assert stage_params("each", **VALUES) == {"frames": {"window": 6}}


def test_without_dvc_yaml_one_line_says_so(repository: Path):
    (repository / "dvc.yaml").unlink()
    with pytest.raises(UserError, match=r"dvc\.yaml is missing"):
        stage_digest("one", **VALUES)


def test_code_that_changed_meanwhile_is_said(repository: Path, capsys: pytest.CaptureFixture[str]):
    before = stage_digest("one", **VALUES)
    warn_if_changed(before, "one", **VALUES)
    assert capsys.readouterr().err == ""
    (repository / "src/p/base/a.py").write_text("changed")
    warn_if_changed(before, "one", **VALUES)
    assert "the code changed while this stage ran" in capsys.readouterr().err


def test_a_folder_s_digest_follows_names_and_bytes(tmp_path: Path):
    (tmp_path / "a").write_text("1")
    before = content_digest(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    renamed = content_digest(tmp_path)
    (tmp_path / "b").write_text("2")
    assert len({before, renamed, content_digest(tmp_path)}) == 3
    assert fingerprint(before) != fingerprint(renamed)


def aged(folder: Path, *names: str) -> None:
    """Folders of work, the first the oldest."""
    for age, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        (folder / name / "state.pt").touch()
        os.utime(folder / name, (age, age))


def names(folder: Path) -> list[str]:
    """The folders of work that are left."""
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def test_only_the_newest_work_stays(tmp_path: Path):
    aged(tmp_path, "1", "2", "3", "4")
    keep_newest(tmp_path, 3)
    keep_newest(tmp_path, 2)
    assert names(tmp_path) == ["3", "4"]


def test_work_that_another_process_holds_stays(tmp_path: Path):
    aged(tmp_path, "running", "2", "3")
    hold = f"""
import sys
from pathlib import Path
from losh.runtime.resume import held
with held(Path({str(tmp_path / "running")!r})) as ours:
    print(ours, flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "True\n"
        with held(tmp_path / "running") as ours:
            assert not ours
        keep_newest(tmp_path, 1)
        assert names(tmp_path) == ["3", "running"]
        process.kill()  # a holder that dies holds nothing
        process.wait()
        keep_newest(tmp_path, 1)
        assert names(tmp_path) == ["3"]
