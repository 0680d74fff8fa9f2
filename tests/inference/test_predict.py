"""`losh predict`: from any folder; the checkpoint and the command line decide, params.yaml does
not.
"""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from losh.inference.predict import Settings
from losh.model.build import build_model
from losh.model.checkpoint import save_model
from losh.params import load_params
from losh.testing.tiny_training import tiny_params

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint and a clip of six frames, and no params.yaml."""
    place = tmp_path_factory.mktemp("elsewhere")
    params = tiny_params()
    config = {
        "model": params.model.model_dump(),
        "pipeline": params.pipeline.model_dump(),
        "window": 4,
        "short_side": 64,
        "long_side": 96,
    }
    model = build_model(params.model, params.pipeline)
    save_model(place / "model.safetensors", model, config)
    (place / "clip").mkdir()
    random = np.random.default_rng(0)
    for t in range(6):
        picture = random.integers(0, 256, (64, 80, 3), np.uint8)
        cv2.imwrite(str(place / "clip" / f"{t:03d}.png"), picture)
    return place


def losh(place: Path, *options: str, fails: bool = False) -> str:
    """Run `losh predict` there; its output, or (`fails`) the lines of its error."""
    command = ["predict", "clip", "the red square", "-o", "overlay.mp4"]
    done = subprocess.run(
        [sys.executable, "-m", "losh.cli", *command, "--model", "model.safetensors", *options],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "LOSH_DEVICE": "cpu"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode != 0) == fails, done.stderr
    return done.stderr if fails else done.stdout


def test_it_needs_no_params_file_and_reads_none(place):
    said = losh(place, "--masks", "masks")
    assert "short expression: " in said and "of 6 frames" in said
    masks = [path.read_bytes() for path in sorted((place / "masks").glob("*.png"))]
    assert len(masks) == 6
    (place / "params.yaml").write_text("not: ours\n")
    assert losh(place, "--masks", "again") == said.replace("masks/", "again/")
    assert [path.read_bytes() for path in sorted((place / "again").glob("*.png"))] == masks
    (place / "params.yaml").unlink()


def test_rule_threshold_and_chunk_are_options(place):
    said = losh(place, "--threshold", "0", "--chunk", "4", "--rule", "long", "--masks", "all")
    assert "cover 100.0 %" in said
    assert "1.5 does not lie between 0 and 1" in losh(place, "--threshold", "1.5", fails=True)


def test_the_defaults_are_those_of_the_shipped_file():
    shipped, settings = load_params(ROOT / "params.yaml"), Settings()
    assert (settings.rule, settings.threshold, settings.chunk, settings.mode) == (
        shipped.evaluate.rule,
        shipped.evaluate.threshold,
        shipped.evaluate.chunk,
        shipped.short_text.mode,
    )
