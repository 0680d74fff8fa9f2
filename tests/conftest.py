"""Shared by the tests: tiny prepared data, and where real data lies if it is there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Two tests run at once on two cores: more threads would only wait for each other. Before torch is
# imported, which reads the first when it starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("LOSH_PROCESSES", "1")

from losh.testing.tiny_shapes import prepare_shapes
from losh.testing.tiny_training import prepare


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
