"""An untrained model file of the default's form, and a folder of frames."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from losh.model.build import build_model
from losh.model.checkpoint import save_model
from losh.testing.tiny_training import tiny_params


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint and a clip of six frames, and no params.yaml."""
    place = tmp_path_factory.mktemp("elsewhere")
    torch.manual_seed(0)
    params = tiny_params()
    config = {
        "model": params.model.model_dump(),
        "pipeline": params.pipeline.model_dump(),
        "window": 4,
        "short_side": 64,
        "long_side": 96,
    }
    save_model(place / "model.safetensors", build_model(params.model, params.pipeline), config)
    (place / "clip").mkdir()
    random = np.random.default_rng(0)
    for t in range(6):
        picture = random.integers(0, 256, (64, 80, 3), np.uint8)
        cv2.imwrite(str(place / "clip" / f"{t:03d}.png"), picture)
    return place
