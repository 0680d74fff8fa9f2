"""A tiny MovingShapes with an untrained model, for tests of what is particular to it."""

from __future__ import annotations

from pathlib import Path

from losh.download import download
from losh.frames.extract import extract_frames
from losh.params import MovingShapesParams, ShortTextParams
from losh.short_text.parse import parse_text
from losh.testing.small_models import save_untrained
from losh.testing.tiny_training import TINY_FRAMES

SHAPES = MovingShapesParams(
    kind="moving_shapes", seed=0, train_videos=1, test_videos=4, num_frames=10, height=64, width=80
)


def prepare_shapes(root: Path) -> Path:
    """Run download, extract_frames and parse_text on it, in root/data; returns `root`."""
    data = root / "data"
    download("shapes", SHAPES, data / "raw" / "shapes")
    places = data / "raw" / "shapes", data / "frames" / "shapes"
    extract_frames(*places, TINY_FRAMES, root / "scratch")
    text = ShortTextParams(
        mode="subject_with_position", prefer_published=False, overrides=None, on_error="stop"
    )
    expressions = data / "raw" / "shapes" / "expressions.csv"
    parse_text(expressions, data / "short_text" / "shapes.csv", text)
    save_untrained(root / "model.safetensors")
    return root
