"""Results shared through a DVC remote: another clone pulls them and runs nothing."""

import subprocess
from pathlib import Path

import pytest
from project import Project

pytestmark = pytest.mark.slow


class Clone(Project):
    """Another person's copy of a project."""

    def __init__(self, project: Project, root: Path) -> None:
        subprocess.run(["git", "clone", "-q", project.root, root], check=True)
        self.root, self.environment = root, project.environment


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose results are in a remote, which is a local folder."""
    project = Project(tmp_path_factory.mktemp("pushed"))
    assert len(project.repro()) == 8
    project.dvc("remote", "add", "-d", "shared", str(tmp_path_factory.mktemp("remote")))
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "run")
    project.dvc("push", "-q")
    return project


def outputs(project: Project) -> dict[str, bytes]:
    return {
        str(path.relative_to(project.root)): path.read_bytes()
        for folder in ("data", "metrics")
        for path in (project.root / folder).rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("way", ["pull", "repro --pull"])
def test_a_second_clone_pulls_and_runs_nothing(pushed: Project, way: str, tmp_path: Path):
    clone = Clone(pushed, tmp_path / "clone")
    assert not (clone.root / "data" / "model").exists()
    clone.dvc(*way.split(), "-q")
    assert not (clone.root / "ran.log").exists() and clone.repro() == []
    assert outputs(clone) == outputs(pushed)
    clone.set("evaluate.rule", "mean")  # and goes on from there
    assert clone.repro() == ["evaluate@moving_shapes", "report"]


def test_two_projects_share_one_cache_folder(pushed: Project, tmp_path: Path):
    clone = Clone(pushed, tmp_path / "clone")
    clone.dvc("cache", "dir", "--local", str(pushed.root / ".dvc" / "cache"))
    clone.dvc("checkout", "-q")
    assert clone.repro() == [] and outputs(clone) == outputs(pushed)
    assert not (clone.root / ".dvc" / "cache").exists()
