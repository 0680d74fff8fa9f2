"""The README's second walk-through on real input: 3,308 expressions, and a clip of DAVIS 2017."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from losh.model.build import build_model
from losh.model.checkpoint import save_model
from losh.testing.tiny_training import ROOT, tiny_params

DATA = Path(os.environ.get("LOSH_SHARED_DIR", ROOT.parent / "shared" / "data"))
QUERIES, CLIP = DATA / "a2d_short_queries_dev.csv", DATA / "real_clip_judo"
needs_queries = pytest.mark.skipif(
    not QUERIES.exists(), reason=f"the real expressions are not at {QUERIES}"
)
needs_clip = pytest.mark.skipif(not CLIP.exists(), reason=f"the real clip is not at {CLIP}")


def losh(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "losh.cli", *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model of the default's form: what is tested is the way through, not the
    masks.
    """
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    params = tiny_params()
    config = {"model": params.model.model_dump(), "pipeline": params.pipeline.model_dump()}
    config |= {"window": 4, "short_side": 96, "long_side": 576}
    save_model(path, build_model(params.model, params.pipeline), config)
    return path


@needs_queries
def test_the_real_expressions_keep_their_columns_and_order(tmp_path: Path):
    losh("short-text", str(QUERIES), "-o", str(tmp_path / "out.csv"))
    before, after = (
        pd.read_csv(path, dtype=str, keep_default_na=False)
        for path in (QUERIES, tmp_path / "out.csv")
    )
    assert len(after) == 3308 and list(after.columns) == [
        *before.columns,
        "short_text",
        "short_text_step",
    ]
    assert after[before.columns].equals(before)
    assert (after["short_text"].str.strip() != "").all()


@needs_clip
def test_a_real_clip_becomes_an_overlay(tmp_path: Path, checkpoint: Path):
    arguments = [
        "the man in white on the left",
        "-o",
        str(tmp_path / "overlay.mp4"),
        "--masks",
        str(tmp_path / "masks"),
        "--model",
        str(checkpoint),
    ]
    output = losh("predict", str(CLIP), *arguments)
    assert "short expression: the man in white on the left" in output and "16 frames" in output
    capture = cv2.VideoCapture(str(tmp_path / "overlay.mp4"))
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == 16
    # One of the frames is 853 wide: each mask has its own frame's size.
    for frame, mask in zip(
        sorted(CLIP.glob("*.jpg")), sorted((tmp_path / "masks").glob("*.png")), strict=True
    ):
        image = cv2.imread(str(mask), cv2.IMREAD_UNCHANGED)
        assert image.shape == cv2.imread(str(frame)).shape[:2] and set(np.unique(image)) <= {0, 255}


@needs_clip
def test_the_flow_of_a_real_clip_is_shown(tmp_path: Path):
    output = losh("flow", str(CLIP), "-o", str(tmp_path / "flow.mp4"))
    assert output.startswith("15 pairs at ")
    assert int(cv2.VideoCapture(str(tmp_path / "flow.mp4")).get(cv2.CAP_PROP_FRAME_COUNT)) == 15


def test_faults_of_own_clips_are_one_line(tmp_path: Path, checkpoint: Path):
    def fault(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "losh.cli", "predict", *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
        return done.stderr

    (tmp_path / "broken.mp4").write_bytes(b"no video at all")
    (tmp_path / "empty").mkdir()
    out, model = str(tmp_path / "o.mp4"), ["--model", str(checkpoint)]
    assert "does not exist" in fault(str(tmp_path / "none.mp4"), "a cat", "-o", out, *model)
    assert "broken.mp4" in fault(str(tmp_path / "broken.mp4"), "a cat", "-o", out, *model)
    assert "holds no image" in fault(str(tmp_path / "empty"), "a cat", "-o", out, *model)
    assert "sentence is empty" in fault(str(tmp_path / "empty"), "  ", "-o", out, *model)
    assert "is no .mp4" in fault(
        str(tmp_path / "empty"), "a cat", "-o", str(tmp_path / "o.gif"), *model
    )
    assert "missing" in fault(
        str(tmp_path / "empty"), "a cat", "-o", out, "--model", str(tmp_path / "none")
    )
    assert not Path(out).exists()
