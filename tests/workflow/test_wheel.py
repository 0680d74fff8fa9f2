"""The wheel that `pip install git+...` builds: every file of the package, embedded weights among
them, and the command.
"""

from __future__ import annotations

import configparser
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from test_whole_pipeline import clone

EMBEDDED = {
    "losh/backbones/embedded/model.safetensors",
    "losh/flow/weights/raft_small/model.safetensors",
    "losh/model/embedded_text_encoder/model.safetensors",
    "losh/model/embedded_text_encoder/tokenizer.json",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, zipfile.ZipFile]:
    """A clone of the repository, and the wheel that was built of it without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    root = clone(folder / "clone")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*command, "--no-index", "-w", str(folder), "."], cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (wheel,) = folder.glob("losh-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        yield root, archive


def test_the_wheel_holds_every_file_of_the_package(built):
    root, wheel = built
    files = subprocess.run(
        ["git", "ls-files", "-z", "src/losh"], cwd=root, capture_output=True, text=True, check=True
    ).stdout
    tracked = {name.removeprefix("src/") for name in files.split("\0") if name}
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == tracked
    assert packed >= EMBEDDED
    for name in EMBEDDED:
        assert wheel.getinfo(name).file_size == (root / "src" / name).stat().st_size


def test_the_wheel_names_the_command_and_the_licence(built):
    _, wheel = built
    (entry,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    points = configparser.ConfigParser()
    points.read_string(wheel.read(entry).decode())
    assert points["console_scripts"]["losh"] == "losh.cli:console"
    assert any(name.endswith("licenses/LICENSE") for name in wheel.namelist())
