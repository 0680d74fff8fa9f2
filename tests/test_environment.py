"""Environment variables that hold no number are one line that names them, before any work."""

from pathlib import Path

import pytest

from losh.check.check import check_inputs
from losh.errors import UserError
from losh.params import load_params
from losh.runtime.machine import worker_count
from losh.train.state import Clock

ROOT = Path(__file__).parents[1]
NUMBERS = ["LOSH_SAVE_EVERY", "LOSH_WORKERS", "LOSH_PROCESSES", "LOSH_CLIPS_PER_DEVICE"]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", ["x", "-1", "nan", "²", "1e999"])
def test_no_number_is_one_line(name, value, monkeypatch, tmp_path):
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError) as error:
        check_inputs(load_params(ROOT / "params.yaml"), tmp_path / "out")
    assert str(error.value).startswith(f"{name} is {value!r}") and "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", ["", "2"])
def test_a_number_or_nothing_is_taken(name, value, monkeypatch, tmp_path):
    monkeypatch.setenv(name, value)
    check_inputs(load_params(ROOT / "params.yaml"), tmp_path / "out")


@pytest.mark.parametrize(("asked", "workers"), [("0", 1), ("1", 1), ("3", 3)])
def test_no_workers_are_none_beside_the_process(asked, workers, monkeypatch):
    monkeypatch.setenv("LOSH_WORKERS", asked)
    assert worker_count(8) == workers


def test_the_readers_refuse_it_too(monkeypatch):
    monkeypatch.setenv("LOSH_SAVE_EVERY", "x")
    monkeypatch.setenv("LOSH_WORKERS", "many")
    with pytest.raises(UserError, match="LOSH_SAVE_EVERY is 'x'"):
        Clock()
    with pytest.raises(UserError, match="LOSH_WORKERS is 'many'"):
        worker_count(3)
