"""A small git and DVC repository with the real graph, for the tests of the workflow."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def environment() -> dict[str, str]:
    """Return what a command of a project needs: these tests' Python before others."""
    return {
        **os.environ,
        "DVC_NO_ANALYTICS": "1",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }


class Project:
    """A small git and DVC repository with the real dvc.yaml and params.yaml."""

    def __init__(self, root: Path) -> None:
        self.root, self.environment = root, environment()
        for name in ("dvc.yaml", "params.yaml", ".dvcignore", ".gitignore"):
            shutil.copy(ROOT / name, root / name)
        with (root / ".gitignore").open("a") as file:
            file.write("ran.log\n")
        shutil.copytree(
            ROOT / "src" / "losh",
            root / "src" / "losh",
            ignore=shutil.ignore_patterns("__pycache__", "weights"),
        )
        (root / "stages").mkdir()
        for script in (ROOT / "stages").glob("*.py"):
            # `check` is quick and runs for real.
            source = script if script.stem == "check" else ROOT / "tests" / "workflow" / "stub.py"
            shutil.copy(source, root / "stages" / script.name)
        shutil.copytree(
            ROOT / ".dvc",
            root / ".dvc",
            ignore=shutil.ignore_patterns("cache", "tmp", "config.local"),
        )
        self.run("git", "init", "-q")
        self.run("git", "config", "user.email", "test@example.invalid")
        self.run("git", "config", "user.name", "test")

    def run(self, *command: str, fails: bool = False) -> str:
        """Run a command that must end well, or (`fails`) must not; its output."""
        done = subprocess.run(
            command, cwd=self.root, env=self.environment, capture_output=True, text=True
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + (done.stderr if fails else "")

    def dvc(self, *command: str, fails: bool = False) -> str:
        return self.run(sys.executable, "-m", "dvc", *command, fails=fails)

    def repro(self) -> list[str]:
        """Run what needs to run; the stages that did."""
        log = self.root / "ran.log"
        log.unlink(missing_ok=True)
        self.dvc("repro", "-q")
        return log.read_text().split() if log.exists() else []

    def set(self, path: str, value: object) -> None:
        file = self.root / "params.yaml"
        params = yaml.safe_load(file.read_text())
        part = params
        *parents, last = path.split(".")
        for key in parents:
            part = part[key]
        part[last] = value
        file.write_text(yaml.safe_dump(params, sort_keys=False))


def clone(root: Path) -> Path:
    """The repository's working tree, as a fresh clone of it would be."""
    root.mkdir(parents=True)
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in files.split("\0"):
        if name and not name.startswith(("tests/", "docs/")) and (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
    for command in (
        ["init", "-q"],
        ["config", "user.email", "t@example.invalid"],
        ["config", "user.name", "t"],
        ["add", "-A"],
        ["commit", "-qm", "clone"],
    ):
        subprocess.run(["git", *command], cwd=root, check=True)
    return root
