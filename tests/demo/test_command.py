"""`losh demo` as a command: loopback unless told, one line without Gradio, no slow import."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from losh.cli import main, parser
from losh.demo.demo_arguments import LOOPBACK
from losh.demo.example_clips import example_clips
from losh.demo.serve import INSTALL, Address
from losh.errors import UserError
from losh.own_video.settings import DEFAULT_MODEL

ROOT = Path(__file__).parents[2]


def test_the_defaults_are_this_machine_alone_and_the_model_of_predict():
    found = parser().parse_args(["demo"])
    assert (found.host, found.port, found.model) == (LOOPBACK, None, DEFAULT_MODEL)
    assert not Address(found.host, None, True).public


def test_both_streams_are_read_where_nobody_says_otherwise():
    """`losh predict` follows the shipped file; the page is there to show the two beside it."""
    assert parser().parse_args(["demo"]).rule == "mean"
    assert parser().parse_args(["demo", "--rule", "long"]).rule == "long"


@pytest.mark.parametrize(
    ("host", "public"),
    [
        *((host, False) for host in ("127.0.0.1", "127.8.0.1", "::1", "localhost")),
        *((host, True) for host in ("0.0.0.0", "::", "192.168.0.5", "my-machine")),
    ],
)
def test_which_addresses_others_reach(host: str, public: bool):
    assert Address(host, None, False).public is public


def test_help_imports_nothing_slow():
    code = "import sys; from losh.cli import parser; parser().format_help(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "losh.demo.demo_arguments" in loaded and not loaded & {"gradio", "torch", "numpy", "av"}


def test_without_gradio_it_is_one_line_with_the_command(monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "gradio" else find(name, *a)
    )
    with pytest.raises(SystemExit) as end:
        main(["demo"])
    said = capsys.readouterr().err
    assert end.value.code == 1 and said.count("\n") == 1 and INSTALL in said


def test_the_command_installs_what_the_extra_asks_for():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    [wanted] = project["optional-dependencies"]["demo"]
    assert f"pip install '{wanted}'" == INSTALL
    assert not any("gradio" in name for name in project["dependencies"])
    assert "gradio==" not in (ROOT / "requirements.lock").read_text()


@pytest.mark.parametrize(
    ("options", "told"),
    [(["--port", "0"], "--port is 0"), (["--max-seconds", "nan"], "--max-seconds is nan")],
)
def test_a_slip_is_one_line(options: list[str], told: str, capsys):
    with pytest.raises(SystemExit) as end:
        main(["demo", *options])
    said = capsys.readouterr().err
    assert end.value.code == 1 and said.count("\n") == 1 and told in said


def test_the_examples_are_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [path.name for path in example_clips()] == ["shapes.mp4"]
    (tmp_path / "examples").mkdir()
    for name in ("b10.mp4", "b2.mp4", "notes.txt"):
        (tmp_path / "examples" / name).touch()
    assert [path.name for path in example_clips()] == ["b2.mp4", "b10.mp4"]


def test_a_port_out_of_range_is_refused():
    with pytest.raises(UserError, match="65536"):
        Address("127.0.0.1", 65536, False)
