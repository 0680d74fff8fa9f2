"""`losh check` and `losh --version`: what this machine has, what is here, and the next command.

This is not the workflow's stage `check`, which looks at params.yaml. Neither imports torch: both
take a moment.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path

import yaml

from losh import __version__
from losh.commands.repository import is_repository
from losh.own_video.settings import DEFAULT_MODEL
from losh.runtime.machine import core_count

SHOWN = ("torch", "torchvision", "transformers", "ptlflow", "spacy", "av", "dvc")
NAME = re.compile(r"[\w.-]+")
CUDA = re.compile(r"^cuda[^=\n]*= *'([\d.]+)'", re.MULTILINE)
QUERY = "name,memory.total,memory.free,driver_version"
WAIT = 5.0
"""Seconds for nvidia-smi: a driver that sleeps takes some to wake."""


def version_line() -> str:
    """Our version, torch's, and the device that would be used, in one line."""
    return f"losh {__version__}, torch {_version('torch')} ({_build()}), device {_device()}"


def print_check(here: Path = Path()) -> None:
    """Print what this machine has, what of data and weights is here, and the next command."""
    rows = [
        ("losh", f"{__version__}, Python {platform.python_version()}, {platform.platform()}"),
        ("packages", ", ".join(f"{name} {_version(name)}" for name in SHOWN)),
        ("torch", _build()),
        ("device", _device()),
        ("processor", f"{core_count()} cores"),
        ("memory", _memory()),
        ("disk", _disk(here)),
        *_contents(here),
    ]
    if missing := _missing():
        rows.append(("missing", ", ".join(missing)))
    rows.append(("next", next_command(here, missing)))
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")


def next_command(here: Path, missing: list[str]) -> str:
    """Return what to type next."""
    if missing:
        return "make install (packages are missing)"
    if (here / DEFAULT_MODEL).is_file():
        return 'losh predict VIDEO "the red circle" -o overlay.mp4'
    if not is_repository(here):
        return (
            "cd into your clone of the repository, or name a model: losh predict VIDEO "
            '"SENTENCE" -o overlay.mp4 --model FILE'
        )
    return "make run (makes the data, trains, scores: half an hour on two cores)"


def gpus() -> list[str]:
    """Return the NVIDIA GPUs that CUDA may see, by what nvidia-smi says, a line each."""
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    found = [
        f"{parts[0]} ({parts[2]} of {parts[1]} free, driver {parts[3]})"
        for parts in (line.split(", ") for line in done.stdout.strip().splitlines())
        if len(parts) == 4
    ]
    return _visible(found)


def _visible(found: list[str]) -> list[str]:
    """Return those that CUDA_VISIBLE_DEVICES names by number; by other names it is not known."""
    names = os.environ.get("CUDA_VISIBLE_DEVICES")
    if names is None:
        return found
    seen: list[str] = []
    for name in names.replace(" ", "").split(","):
        if name and name[0] != "-" and not name.isdecimal():
            return found
        if not name.isdecimal() or int(name) >= len(found):
            break  # as CUDA does: the first that is none ends the list
        seen.append(found[int(name)])
    return seen


def _device() -> str:
    """Return what `losh.runtime.machine.pick_device` would take, without torch."""
    found = gpus()
    if os.environ.get("LOSH_DEVICE") == "cpu":
        return "cpu (LOSH_DEVICE)"
    if not found and "CUDA_VISIBLE_DEVICES" in os.environ:
        return "cpu (CUDA_VISIBLE_DEVICES names no GPU that is here)"
    if not found:
        return "cpu (no NVIDIA GPU is seen)"
    if "CUDA" not in _build():
        return f"cpu (this torch has no CUDA, for {'; '.join(found)})"
    return f"cuda: {'; '.join(found)}"


def _build() -> str:
    """Return for which CUDA the installed torch was built, from its own file."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return "not installed"
    try:
        text = (Path(spec.origin).parent / "version.py").read_text(encoding="utf-8")
    except OSError:
        return "build unknown"
    found = CUDA.search(text)
    return f"built for CUDA {found[1]}" if found else "built for the CPU alone"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def _missing() -> list[str]:
    """Return the packages that we need and that are not installed."""
    try:
        wanted = requires("losh") or []
    except PackageNotFoundError:
        wanted = list(SHOWN)
    names = [NAME.match(text) for text in wanted if "extra ==" not in text]
    return [name[0] for name in names if name and _version(name[0]) == "missing"]


def _memory() -> str:
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return "not told by this system"
    found = dict(re.findall(r"^(\w+): +(\d+) kB$", text, re.MULTILINE))
    total, free = (int(found[name]) / 2**20 for name in ("MemTotal", "MemAvailable"))
    return f"{total:.0f} GiB, {free:.0f} GiB free"


def _disk(here: Path) -> str:
    usage = shutil.disk_usage(here)
    return f"{usage.free / 2**30:.0f} GiB free of {usage.total / 2**30:.0f} GiB here"


def _dataset_names(here: Path) -> list[str]:
    try:
        return list(yaml.safe_load((here / "params.yaml").read_text(encoding="utf-8"))["datasets"])
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError):
        return []  # what is wrong with the file, `dvc repro` says


def _contents(here: Path) -> list[tuple[str, str]]:
    """Return which datasets and weights are here."""
    if not is_repository(here):
        return [("here", "no clone of the repository (no dvc.yaml and params.yaml)")]
    rows = []
    sources = sorted(path.name for path in (here / "data" / "sources").glob("[!.]*"))
    for name in _dataset_names(here):
        # As losh.datasets.locate.variable_of, whose package takes a second to import.
        variable = "LOSH_" + re.sub(r"\W", "_", name).upper()
        if place := os.environ.get(variable):
            there = "" if Path(place).exists() else ", which is not there"
            sources.append(f"{variable} ({place}{there})")
    rows.append(("data/sources", ", ".join(sources) or "nothing yet"))
    for folder, done in (("raw", "dataset.json"), ("frames", "index.json"), ("flow", "index.json")):
        found = sorted(path.parent.name for path in (here / "data" / folder).glob(f"*/{done}"))
        rows.append((f"data/{folder}", ", ".join(found) or "nothing yet"))
    model = here / DEFAULT_MODEL
    size = f"{DEFAULT_MODEL}, {model.stat().st_size / 2**20:.0f} MiB" if model.is_file() else ""
    rows.append(("model", size or f"{DEFAULT_MODEL} is missing"))
    weights = sorted(path.name for path in (here / "checkpoints").glob("[!.]*"))
    rows.append(("checkpoints", ", ".join(weights) or "nothing yet"))
    scored = sorted(path.stem for path in (here / "metrics" / "eval").glob("*.json"))
    rows.append(("scored", ", ".join(scored) or "nothing yet"))
    return rows
