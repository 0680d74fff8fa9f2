"""A tiny MovingShapes with an untrained model, for tests of what is particular to it."""

from __future__ import annotations

from pathlib import Path

import torch

from losh.download import download
from losh.frames.extract import extract_frames
from losh.model.build import build_model
from losh.model.checkpoint import save_model
from losh.params import FramesParams, MovingShapesParams, ShortTextParams
from losh.short_text.parse import parse_text
from losh.testing.tiny_training import tiny_params

SHAPES = MovingShapesParams(
    kind="moving_shapes", seed=0, train_videos=1, test_videos=4, num_frames=10, height=64, width=80
)


def prepare_shapes(root: Path) -> Path:
    """Run download, extract_frames and parse_text on it, in root/data; returns `root`."""
    data = root / "data"
    download("shapes", SHAPES, data / "raw" / "shapes")
    frames = FramesParams(window=4, short_side=None, jpeg_quality=95, on_error="stop")
    extract_frames(data / "raw" / "shapes", data / "frames" / "shapes", frames, root / "scratch")
    text = ShortTextParams(
        mode="subject_with_position", prefer_published=False, overrides=None, on_error="stop"
    )
    expressions = data / "raw" / "shapes" / "expressions.csv"
    parse_text(expressions, data / "short_text" / "shapes.csv", text)
    torch.manual_seed(0)
    params = tiny_params()
    config = {"model": params.model.model_dump(), "pipeline": params.pipeline.model_dump()}
    sizes = {"window": 4, "short_side": 48, "long_side": 576}
    model = build_model(params.model, params.pipeline)
    save_model(root / "model.safetensors", model, config | sizes)
    return root
