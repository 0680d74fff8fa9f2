"""The walk-through of docs/own_data.md: each command typed as it stands there, at tiny sizes."""

from __future__ import annotations

import json
import re
import sys

import pytest
import yaml
from PIL import Image
from test_whole_pipeline import call, clone

from losh.datasets.folder.check_folder import check_folder
from losh.testing.own_folder_fixture import ROWS, make_own_folder, write_rows
from losh.testing.tiny_training import ROOT, tiny_raw

PAGE = (ROOT / "docs/own_data.md").read_text(encoding="utf-8")
SIZES = "--frames 8 --height 64 --width 80"


def commands() -> list[str]:
    """The indented lines of the walk-through that are typed, but for the installation."""
    section = PAGE.split("## Walk-through\n")[1].split("\n## ")[0].replace("\\\n", " ")
    lines = re.findall(r"^    ((?:python|losh|dvc|git) .*)$", section, re.MULTILINE)
    assert len(lines) == section.count("\n    python ") + section.count("\n    losh ") + 2
    return lines


def test_the_made_folder_is_whole_and_a_second_one_is_refused(tmp_path):
    made = [sys.executable, str(ROOT / "scripts/make_own_data.py"), "my_clips", *SIZES.split()]
    output = call(tmp_path, *made)
    assert "10 videos" in output
    forms = {path.suffix for path in (tmp_path / "my_clips/videos").iterdir()}
    assert forms == {"", ".mp4"}
    assert {path.suffix for path in (tmp_path / "my_clips/masks").iterdir()} == {"", ".json"}
    checked = call(tmp_path, sys.executable, "-m", "losh.cli", "check-data", "my_clips")
    assert re.search(r"^10 videos, .*; train: 8 videos, .*; 0 faults$", checked, re.MULTILINE)
    assert "my_clips is there already" in call(tmp_path, *made, fails=True)


@pytest.mark.slow
def test_the_walk_through(tmp_path, monkeypatch):
    root = clone(tmp_path / "clone")
    monkeypatch.setenv("PYTHONPATH", str(root / "src"))
    shapes = yaml.safe_load((ROOT / "params.yaml").read_text())["datasets"]
    raw = tiny_raw(shapes, train__datasets=["moving_shapes"], train__epochs=1)
    (root / "params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    call(root, "git", "commit", "-qam", "tiny")
    for command in commands():
        sizes = f" {SIZES}" if "make_own_data" in command else ""
        output = call(root, "bash", "-c", command + sizes)
        if command.startswith("losh summary"):
            assert "my_clips: " in output
    scores = json.loads((root / "metrics/eval/my_clips.json").read_text())
    assert scores["samples"] > 0 and {"mean_iou", "overall_iou", "j_and_f"} <= scores.keys()
    assert (root / "tmp/clip_4.mp4").stat().st_size > 1000
    assert list((root / "data/evaluate/my_clips/pictures").glob("*.jpg"))
    assert yaml.safe_load((root / "params.yaml").read_text()) == raw


def test_the_page_shows_what_the_check_prints(tmp_path):
    folder = make_own_folder(tmp_path / "my_clips")
    rows = [f"walk,shape number {word},1,train," for word in ("one", "two", "three")]
    rows += ["wlak,a disc,1,train,", "ride,a red square,1,train,", "walk,a disc,2,vaild,"]
    write_rows(folder, *ROWS[:3], *rows, "ride,the square,1,train,")
    Image.new("P", (48, 64)).save(folder / "masks/walk/00003.png")
    checked = check_folder(folder)
    checked.notes.clear()
    for line in checked.lines("my_clips"):
        assert f"    {line}\n" in PAGE
