"""Each stage leaves a record of its time and memory in scratch/, and no output changes by it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from losh.errors import UserError
from losh.runtime.measured import FOLDER, measuring, read_measured
from losh.runtime.stage import stage_name
from losh.testing.tiny_training import ROOT


def test_a_stage_that_ends_well_leaves_its_record(tmp_path):
    with measuring("evaluate@x", tmp_path):
        held = bytearray(300 * 10**6)
        held[::4096] = b"1" * len(held[::4096])
    with pytest.raises(UserError), measuring("train", tmp_path):
        raise UserError("no")
    [(name, record)] = read_measured(tmp_path).items()
    assert name == record.stage == "evaluate@x" and 0 <= record.seconds < 60
    assert 300 < record.memory_mb < 20_000 and record.processes == 1
    assert record.device.endswith(" cores")


def test_only_the_main_process_writes(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with measuring("train", tmp_path):
        pass
    assert not read_measured(tmp_path)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with measuring("train", tmp_path):
        pass
    assert read_measured(tmp_path)["train"].processes == 2


def test_a_disk_that_takes_no_record_stops_no_stage(tmp_path):
    (tmp_path / "file").touch()
    with measuring("train", tmp_path / "file" / "folder"):
        pass


def test_records_of_another_version_are_left_out(tmp_path):
    (tmp_path / "old.json").write_text('{"stage": "train", "hours": 3}')
    (tmp_path / "cut.json").write_text('{"stage"')
    assert read_measured(tmp_path) == {}


def test_a_real_stage_is_measured_under_dvcs_name_for_it(tmp_path):
    """And without what its launcher had used: DVC is larger than a small stage."""
    for name in ("params.yaml",):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    held = bytearray(500 * 10**6)
    held[::4096] = b"1" * len(held[::4096])
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run(
        [sys.executable, ROOT / "stages/check.py"], cwd=tmp_path, env=environment, check=True
    )
    record = read_measured(tmp_path / FOLDER)["check"]
    assert record.stage == "check" and record.memory_mb < 400
    assert stage_name(["stages/evaluate.py", "moving_shapes"]) == "evaluate@moving_shapes"
    assert Path(FOLDER).parts[0] == "scratch"  # which git and DVC ignore
