"""`losh check`, `losh --version`, `losh completion`, `losh --help`: at once, from any folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from losh import __version__
from losh.cli import main
from losh.commands import this_machine as machine
from losh.datasets.locate import variable_of

ROOT = Path(__file__).parents[2]
SLOW = {"torch", "transformers", "spacy", "numpy", "pydantic", "losh.params"}


@pytest.mark.parametrize("words", [["--help"], ["check"], ["--version"], ["predict", "--help"]])
def test_nothing_slow_is_imported(words):
    code = (
        "import sys; from losh.cli import main\n"
        f"try: main({words})\nexcept SystemExit as end: assert not end.code\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout and not set(done.stderr.split()) & SLOW


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [["completion", "bash"], ["check"]])
def test_a_reader_that_goes_ends_it_quietly(words, unbuffered):
    """`losh ... | head -1`: no traceback, the code of SIGPIPE, whoever notices it first."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "losh.cli", *words],
        stdout=writing,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_the_version_is_torchs_own(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    said = capsys.readouterr().out
    plain = torch.__version__.split("+")[0]
    assert end.value.code == 0 and said.startswith(f"losh {__version__}, torch {plain}")
    assert (f"CUDA {torch.version.cuda}" if torch.version.cuda else "for the CPU alone") in said


def test_check_says_what_is_here_and_the_next_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["check"])
    said = capsys.readouterr().out
    assert "no clone of the repository" in said and "--model FILE" in said.splitlines()[-1]
    for name in ("dvc.yaml", "params.yaml"):
        (tmp_path / name).touch()
    (tmp_path / "data" / "raw" / "mine").mkdir(parents=True)
    (tmp_path / "data" / "raw" / "mine" / "dataset.json").touch()
    main(["check"])
    rows = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    rows = {name.strip(): value.strip() for name, value in rows.items()}
    assert rows["data/raw"] == "mine" and rows["data/flow"] == "nothing yet"
    assert rows["model"].endswith("is missing") and rows["next"].startswith("make run")
    assert rows["data/sources"] == rows["checkpoints"] == "nothing yet"
    (tmp_path / "data" / "sources" / "a2d").mkdir(parents=True)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "first.safetensors").touch()
    (tmp_path / "params.yaml").write_text("datasets: {my-clips: {kind: folder}}")
    monkeypatch.setenv("LOSH_MY_CLIPS", "/none/there")
    main(["check"])
    said = capsys.readouterr().out
    assert "a2d, LOSH_MY_CLIPS (/none/there, which is not there)" in said
    assert variable_of("my-clips") == "LOSH_MY_CLIPS" and "first.safetensors" in said
    (tmp_path / "data" / "model").mkdir()
    (tmp_path / "data" / "model" / "model.safetensors").write_bytes(bytes(2**20))
    main(["check"])
    said = capsys.readouterr().out
    assert "model.safetensors, 1 MiB" in said and "losh predict" in said.splitlines()[-1]


def test_a_gpu_is_what_nvidia_smi_says(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\necho "NVIDIA H100, 81559 MiB, 80000 MiB, 575.1"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("LOSH_DEVICE", raising=False)
    assert machine.gpus() == ["NVIDIA H100 (80000 MiB of 81559 MiB free, driver 575.1)"]
    monkeypatch.setattr(machine, "_build", lambda: "built for CUDA 13.0")
    assert "cuda: NVIDIA H100" in machine.version_line()
    monkeypatch.setattr(machine, "_build", lambda: "built for the CPU alone")
    assert "device cpu (this torch has no CUDA" in machine.version_line()
    monkeypatch.setenv("LOSH_DEVICE", "cpu")
    assert "device cpu (LOSH_DEVICE)" in machine.version_line()


@pytest.mark.parametrize(
    ("names", "seen"),
    [
        (None, "ab"),
        ("", ""),
        ("-1", ""),
        ("1", "b"),
        ("1, 0", "ba"),
        ("0,7,1", "a"),
        ("GPU-8932f937", "ab"),
    ],
)
def test_a_gpu_that_cuda_may_not_see_is_none(monkeypatch, names, seen):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if names is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", names)
    assert machine._visible(["a", "b"]) == list(seen)
    monkeypatch.delenv("LOSH_DEVICE", raising=False)
    monkeypatch.setattr(machine, "gpus", lambda: list(seen))
    hidden = "cpu (CUDA_VISIBLE_DEVICES names no GPU that is here)"
    assert (machine._device() == hidden) == (not seen)


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(machine, "requires", lambda name: ["torch>=2", "no-such-package>=1"])
    assert machine._missing() == ["no-such-package"]
    assert machine.next_command(ROOT, ["no-such-package"]).startswith("make install")


def test_completion_knows_commands_options_and_files(capsys):
    main(["completion", "bash"])
    said = capsys.readouterr().out
    assert "predict" in said and "--masks" in said and "_shtab_compgen_files" in said


@pytest.mark.parametrize("words", [["recipe"], ["ablation", "queue"], ["ablation", "show"]])
def test_without_a_repository_it_says_so(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(words)
    said = capsys.readouterr().err
    assert end.value.code == 1 and said.count("\n") == 1 and "no clone of the repository" in said
    assert list(tmp_path.iterdir()) == []
