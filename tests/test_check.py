"""Stage check: every file that a parameter names must be there, and its digest follows its contents
alone; no second is spent on it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from losh.check.check import STAGES, check_inputs
from losh.check.digests import Digests
from losh.errors import UserError
from losh.params import StrictLoader, check_params

ROOT = Path(__file__).parents[1]


def params_with(**changes: str):
    raw = yaml.load((ROOT / "params.yaml").read_text(), StrictLoader)
    for path, value in changes.items():
        *parents, last = path.split("__")
        part = raw
        for key in parents:
            part = part[key]
        part[last] = value
    return check_params(raw)


def written(folder: Path) -> dict[str, dict]:
    return {stage: json.loads((folder / f"{stage}.json").read_text())["files"] for stage in STAGES}


def test_names_that_libraries_resolve_are_no_files(tmp_path):
    params = params_with(
        flow__checkpoint="things",
        model__backbone__checkpoint="torchvision",
        model__backbone__name="video_swin_t",
        model__text_encoder="FacebookAI/roberta-base",
    )
    check_inputs(params, tmp_path / "out", tmp_path / "scratch")
    assert written(tmp_path / "out") == {stage: {} for stage in STAGES}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("short_text__overrides", "mine.csv"),
        ("flow__checkpoint", "raft.ckpt"),
        ("model__backbone__checkpoint", "swin.pth"),
        ("model__text_encoder", "./roberta"),
        ("evaluate__checkpoint", "model.safetensors"),
    ],
)
def test_a_missing_file_is_named_with_its_parameter(key, value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        check_inputs(params_with(**{key: value}), tmp_path / "out", tmp_path / "scratch")
    assert key.replace("__", ".") in str(error.value) and Path(value).name in str(error.value)
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


def test_a_folder_without_config_is_no_encoder(tmp_path):
    (tmp_path / "encoder").mkdir()
    with pytest.raises(UserError, match=r"has no config\.json"):
        check_inputs(params_with(model__text_encoder=str(tmp_path / "encoder")), tmp_path / "out")


def test_only_the_stages_that_read_a_file_hear_of_it(tmp_path):
    overrides, weights = tmp_path / "mine.csv", tmp_path / "swin.pth"
    overrides.write_text("long,short\n")
    weights.write_bytes(b"weights")
    params = params_with(
        short_text__overrides=str(overrides), model__backbone__checkpoint=str(weights)
    )
    check_inputs(params, tmp_path / "out", tmp_path / "scratch")
    found = written(tmp_path / "out")
    assert {stage: list(files) for stage, files in found.items() if files} == {
        "parse_text": ["short_text.overrides"],
        "train": ["model.backbone.checkpoint"],
    }


def test_a_digest_follows_names_and_contents_and_nothing_else(tmp_path):
    memory = tmp_path / "memory.json"

    def digest(folder: str) -> str:
        digests = Digests(memory)
        found = digests.of(tmp_path / folder)
        digests.save()
        return found

    for folder in ("a", "b"):
        (tmp_path / folder / "inner").mkdir(parents=True)
        (tmp_path / folder / "inner" / "one").write_text("1")
        (tmp_path / folder / "two").write_text("2")
    os.utime(tmp_path / "b" / "two", (1, 1))
    first = digest("a")
    assert first == digest("b") == digest("a")
    (tmp_path / "b" / ".cache").mkdir()
    (tmp_path / "b" / ".cache" / "downloaded").write_text("today")
    assert digest("b") == first
    (tmp_path / "b" / "two").write_text("3")
    assert digest("b") != first
    (tmp_path / "a" / "two").rename(tmp_path / "a" / "three")
    assert digest("a") != first


def test_an_unchanged_file_is_read_once(tmp_path, monkeypatch):
    (tmp_path / "large").write_text("half a gigabyte")
    first = Digests(tmp_path / "memory.json")
    expected = first.of(tmp_path / "large")
    first.save()
    monkeypatch.setattr("losh.check.digests.sha256_of", lambda path: pytest.fail("read again"))
    assert Digests(tmp_path / "memory.json").of(tmp_path / "large") == expected


def test_in_an_experiments_copy_an_ignored_file_is_found_at_home(tmp_path, monkeypatch):
    (tmp_path / "mine.csv").write_text("long,short\n")
    copy = tmp_path / ".dvc" / "tmp" / "exps" / "abc"
    copy.mkdir(parents=True)
    params = params_with(short_text__overrides="mine.csv")
    monkeypatch.chdir(copy)
    check_inputs(params)
    there = written(copy / "data" / "inputs")
    monkeypatch.chdir(tmp_path)
    check_inputs(params)
    assert written(tmp_path / "data" / "inputs") == there and there["parse_text"]


def test_it_loads_no_torch():
    code = "import sys, losh.check.check, losh.runtime.stage; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
