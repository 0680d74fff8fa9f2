"""Shared by the tests: tiny prepared data, and where real data lies if it is there."""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

# Two tests run at once on two cores: more threads would only wait for each other. Before torch is
# imported, which reads the first when it starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("LOSH_PROCESSES", "1")

from losh.testing.tiny_shapes import prepare_shapes
from losh.testing.tiny_training import prepare

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make data/ as it is before training, of a tiny A2D-Sentences named `tiny`; read only."""
    return prepare(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with data/ of a tiny MovingShapes named `shapes`, as it is before an
    evaluation, and model.safetensors, an untrained model; read only.
    """
    return prepare_shapes(tmp_path_factory.mktemp("shapes"))


@pytest.fixture(scope="module")
def scripts() -> Iterator[None]:
    """Let the modules of scripts/ be imported, as when one of them is run from the root."""
    root = Path(__file__).parents[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(root / "scripts")
        patch.chdir(root)
        yield


@pytest.fixture(scope="module")
def worker(scripts: None) -> ModuleType:
    """Import scripts/benchmark_worker.py."""
    return importlib.import_module("benchmark_worker")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Start Chromium, headless; where it or Playwright is missing, skip the test."""
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with api.sync_playwright() as play:
        found = next(filter(None, map(shutil.which, BROWSERS)), play.chromium.executable_path)
        if not Path(found).exists():
            pytest.skip("Chromium is not installed")
        chromium = play.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield chromium
        chromium.close()
