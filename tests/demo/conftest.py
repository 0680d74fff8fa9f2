"""An untrained model, and clips that need no training."""

from pathlib import Path

import pytest
from own_video.made_clips import picture, write_clip

from losh.testing.small_models import save_untrained


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file with both streams."""
    return save_untrained(tmp_path_factory.mktemp("untrained") / "model.safetensors")


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of six frames, 25 a second, 80 x 64 pixels, with sound."""
    path = tmp_path_factory.mktemp("clip") / "six.mp4"
    return write_clip(path, [picture(64, 80, t) for t in range(6)], sound="aac")
