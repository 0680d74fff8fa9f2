"""Every command of README.md, typed as it stands there in a fresh clone, at tiny sizes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from test_whole_pipeline import call, clone

from losh.testing.tiny_training import ROOT, TINY_SHAPES, tiny_raw

README = (ROOT / "README.md").read_text(encoding="utf-8")
PROGRAMS = ("git", "make", "dvc", "losh", "python", "pip", "source")
TYPED = re.compile(rf"^(?:{'|'.join(PROGRAMS)}) \S")
# Beside the blocks, in a sentence: what is not typed here, and why.
NOT_TYPED = {
    "make test": "is what runs this",
    "make test-slow": "is what runs this",
    "make docs": "fetches packages",
    "make benchmark": "takes long",
    "make run": "is typed in a block",
    "losh demo": "needs the extra `demo`, a server that waits",
    "dvc repro": "is typed in a block",
}
FILLED = {
    "<this repository>": "the one that the test clones",
    "FOLDER": "made by scripts/make_own_data.py",
    "CKPT": "made by `losh export-checkpoint`",
}
"""What a person puts something else for, and what it is here."""
PLACEHOLDER = re.compile(
    r"<[^<>'\n]+>|\.\.\.|…"  # <address>, model.base=...
    r"|(?<![\w./=-])[A-Z][A-Z_]+(?![\w./-])"  # CLIP
    r"|(?<=\w)=[A-Z_]*(?!\S)"  # model.base= and model.base=NAME
)
STOPS = "losh recipe losh_a2d_sentences && dvc repro"
"""Ends with the list of files that only a person can fetch."""


def blocks(text: str) -> list[list[str]]:
    """The indented blocks of a page, without their indentation."""
    found = re.findall(r"(?:^    .*\n)+", text, re.MULTILINE)
    return [[line[4:] for line in block.splitlines()] for block in found]


def commands(text: str) -> list[str]:
    """What the blocks have to be typed, one a line, Python as one command."""
    found = []
    for block in blocks(text.replace("\\\n    ", "")):
        if block[0].startswith("import "):
            found.append("python <<'end'\n" + "\n".join(block) + "\nend")
        elif TYPED.match(block[0]):
            found += block
    return found


def inline_commands(text: str) -> list[str]:
    """Commands in sentences, in backquotes."""
    prose = " ".join(line for line in text.splitlines() if not line.startswith("    "))
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]
    return list(dict.fromkeys(span for span in spans if TYPED.match(span)))


def unfilled(command: str) -> list[str]:
    """What stands in a command for something else, and is not made here."""
    return [found for found in PLACEHOLDER.findall(command) if found not in FILLED]


def test_what_is_typed_is_told_from_what_is_printed():
    page = "text `make help` and\n`dvc\nrepro`, `model.base`\n\n    dvc repro\n    losh check\n\n"
    page += "    import losh\n    losh.load()\n\n    printed: 3 samples\n    losh 3\n"
    assert commands(page) == [
        "dvc repro",
        "losh check",
        "python <<'end'\nimport losh\nlosh.load()\nend",
    ]
    assert inline_commands(page) == ["make help", "dvc repro"]
    assert commands(README)[:2] == [
        "git clone <this repository> losh && cd losh",
        "make run",
    ]
    assert STOPS in commands(README)


def test_no_command_of_the_readme_holds_a_placeholder():
    for typed in (*commands(README), *inline_commands(README)):
        assert unfilled(typed) == [], typed
    assert unfilled("dvc exp run -S model.base=...") == ["..."]
    assert unfilled("dvc exp run -S model.base=") == ["="]
    assert unfilled("dvc exp run -S model.base=NAME") == ["=NAME"]
    assert unfilled("pip install git+<address>") == ["<address>"]
    assert unfilled("losh predict CLIP 'a disc' -o overlay.mp4") == ["CLIP"]


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """The repository to clone, with a tiny dataset, model and training as its default."""
    root = clone(tmp_path / "origin")
    raw = tiny_raw(
        {"moving_shapes": TINY_SHAPES},
        train__datasets=["moving_shapes"],
        train__epochs=1,
        model__backbone__motion_channels=0,
    )
    (root / "params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    (root / "dvc.lock").unlink()
    call(root, "git", "commit", "-qam", "tiny")
    return root


def install(root: Path) -> None:
    """Give a clone this environment, as `make install` would leave it, without installing."""
    here, there = Path(sys.prefix), root / ".venv"
    there.mkdir()
    for name in ("bin", "lib"):
        (there / name).symlink_to(here / name)
    shutil.copy(here / "pyvenv.cfg", there)
    (there / ".installed").touch()


def type_in(root: Path, command: str, fails: bool = False) -> str:
    environment = {
        **os.environ,
        "PYTHONPATH": str(root / "losh" / "src"),
        "TQDM_MININTERVAL": "60",
        "DVC_NO_ANALYTICS": "1",
        "GIT_AUTHOR_NAME": "t",
        "GIT_AUTHOR_EMAIL": "t@example.invalid",
        "GIT_COMMITTER_NAME": "t",
        "GIT_COMMITTER_EMAIL": "t@example.invalid",
    }
    inside = root / "losh"
    first = "source .venv/bin/activate\n" if inside.exists() else ""
    done = subprocess.run(
        ["bash", "-c", first + command],
        cwd=inside if inside.exists() else root,
        env=environment,
        capture_output=True,
        text=True,
    )
    said = done.stdout + done.stderr
    assert (done.returncode != 0) == fails, f"{command}\n{said[-4000:]}"
    return said


@pytest.mark.slow
def test_every_command_of_the_readme_works_in_a_fresh_clone(origin, tmp_path):
    inside = tmp_path / "losh"
    said = {}
    for command in commands(README):
        typed = command.replace("<this repository>", str(origin))
        if "FOLDER" in typed:
            type_in(tmp_path, "python scripts/make_own_data.py FOLDER --frames 8")
        said[command] = type_in(tmp_path, typed, fails=command == STOPS)
        if not (inside / ".venv").exists():
            install(inside)
    _check_blocks(said, inside)
    _check_sentences(tmp_path)


def _check_blocks(said: dict[str, str], inside: Path) -> None:
    """What README.md says that its commands do."""
    (shown,) = [block for block in blocks(README) if block[0].startswith("moving_shapes: ")]
    _, header, *rows = shown
    labels = [re.split(r" {2,}", row.strip())[0] for row in rows]
    assert len(labels) >= 2
    for label in [*header.split(), *labels, "95 % interval"]:
        assert label in said["make run"], label
    assert (inside / "metrics/report/index.html").is_file()
    assert "model.cross_attention=false" in said["losh compare"]
    assert (inside / "overlay.mp4").stat().st_size > 1000
    (checked,) = [output for command, output in said.items() if "check-data" in command]
    assert "0 faults" in checked
    assert "a2d_annotation_with_instances.zip" in said[STOPS] and "Traceback" not in said[STOPS]


def _check_sentences(root: Path) -> None:
    """The commands between the blocks."""
    for command in inline_commands(README):
        if command in NOT_TYPED:
            continue
        if "CKPT" in command:
            type_in(root, "losh export-checkpoint data/model/model.safetensors -o CKPT")
        output = type_in(root, command)
        if command == "losh recipe":
            count = int(re.search(r"`losh recipe` lists (\d+) recipes", README)[1])
            recipes = list((root / "losh" / "recipes").glob("*.yaml"))
            assert count == len(recipes)
            assert all(path.stem in output for path in recipes)
        if command == "make help":
            assert "make run" in output
