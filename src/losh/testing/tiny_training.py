"""A tiny dataset through the real stages, and a tiny model's parameters, for the tests."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from losh.download import download
from losh.flow.compute import neighbour_pairs
from losh.flow.flow_store import write_fields
from losh.frames import FrameStore
from losh.frames.extract import extract_frames
from losh.params import (
    FlowParams,
    FramesParams,
    Params,
    PublishedParams,
    ShortTextParams,
    StrictLoader,
    check_params,
)
from losh.runtime.files import quoted, write_json
from losh.short_text.parse import parse_text
from losh.testing.dataset_fixtures import make_a2d
from losh.train.dataset_digests import describe_train_data

ROOT = Path(__file__).parents[3]
MODEL = {
    "backbone.checkpoint": None,
    "backbone.embed_dim": 8,
    "backbone.depths": [1, 1, 2],
    "backbone.num_heads": [1, 2, 2],
    "backbone.window_size": [4, 4, 4],
    "cross_attention_blocks": 1,
}
MTTR = {
    "d_model": 16,
    "num_heads": 2,
    "ffn_dim": 32,
    "num_queries": 5,
    "encoder_layers": 2,
    "decoder_layers": 2,
}
REFERFORMER = {
    "d_model": 16,
    "num_heads": 2,
    "ffn_dim": 32,
    "num_queries": 3,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "feature_levels": 3,
    "points": 2,
    "mask_channels": 4,
}
SGMG = {
    "d_model": 16,
    "num_heads": 2,
    "ffn_dim": 32,
    "num_queries": 3,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "feature_levels": 2,
    "points": 2,
}
TRAIN = {
    "datasets": ["tiny"],
    "epochs": 3,
    "batch_size": 4,
    "backbone_frozen_stages": 0,
    "expressions_per_window": 1,
    "short_side": 48,
    "warmup_steps": 2,
    "schedule": "milestones",
    "milestones": [2],
    "validation_fraction": 0.3,
    "validation_every": 1,
}


TINY_SHAPES = {
    "kind": "moving_shapes",
    "seed": 1,
    "train_videos": 3,
    "test_videos": 2,
    "num_frames": 10,
    "height": 64,
    "width": 80,
}
"""MovingShapes of five small clips, as params.yaml's `datasets` names it."""


def tiny_raw(datasets: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return the shipped params.yaml with a tiny model.

    `changes` are by dotted key, with `__` for the dot.
    """
    raw = yaml.load((ROOT / "params.yaml").read_text(), StrictLoader)
    raw["datasets"] = datasets
    values = (
        {f"model.{key}": value for key, value in MODEL.items()}
        | {f"mttr.{key}": value for key, value in MTTR.items()}
        | {f"referformer.{key}": value for key, value in REFERFORMER.items()}
        | {f"sgmg.{key}": value for key, value in SGMG.items()}
        | {f"train.{key}": value for key, value in TRAIN.items()}
    )
    values |= {
        "frames.window": 4,
        "flow.short_side": 64,
        "flow.iterations": 2,
        "evaluate.rule": "long",
        "evaluate.pictures": 2,
        "evaluate.chunk": 4,
    }
    for path, value in (
        values | {key.replace("__", "."): value for key, value in changes.items()}
    ).items():
        part = raw
        *parents, last = path.split(".")
        for key in parents:
            part = part[key]
        part[last] = value
    if "train__milestones" not in changes:  # a shorter training passes fewer of them
        train = raw["train"]
        train["milestones"] = [m for m in train["milestones"] if m <= train["epochs"]]
    return raw


def tiny_params(**changes: Any) -> Params:
    """Return checked parameters for `prepare`'s data."""
    return check_params(tiny_raw({"tiny": {"kind": "a2d_sentences"}}, **changes))


TINY_FRAMES = FramesParams(window=4, short_side=None, jpeg_quality=95, on_error="stop")
TINY_FLOW = FlowParams(
    model="raft_small",
    checkpoint="embedded",
    short_side=64,
    iterations=2,
    stored_stride=2,
    batch_size=8,
    on_error="stop",
)


def prepare(root: Path) -> Path:
    """Run download, extract_frames and parse_text on a tiny A2D-Sentences.

    Flow is made up (a constant), since RAFT takes long to import.
    """
    source = make_a2d(root / "source", train=5, test=2, num_frames=10)
    data = root / "data"
    prepare_dataset(root, data, "tiny", "a2d_sentences", source)
    describe_train_data(["tiny"], data / "train_data.json", data)
    return data


def prepare_dataset(
    root: Path, data: Path, name: str, kind: str, source: Path, keep: str = "windows"
) -> None:
    """Run the stages before training on a tiny dataset in `source`, for windows of 4 frames."""
    published = PublishedParams.model_validate({"kind": kind, "source": str(source)})
    download(name, published, data / "raw" / name, root / "sources")
    os.environ[f"LOSH_{name.upper()}"] = str(source)  # where the media lie, for workers too
    frames = FramesParams.model_validate(
        {"window": 4, "short_side": None, "jpeg_quality": 95, "keep": keep, "on_error": "stop"}
    )
    extract_frames(data / "raw" / name, data / "frames" / name, frames, root / "scratch")
    text = ShortTextParams(
        mode="subject_with_position", prefer_published=False, overrides=None, on_error="stop"
    )
    parse_text(data / "raw" / name / "expressions.csv", data / "short_text" / f"{name}.csv", text)
    constant_flow(data, name)


def constant_flow(data: Path, name: str = "tiny") -> None:
    """Flow of one pixel to the right for all training videos, in the stage's own format."""
    store = FrameStore(data / "frames" / name)
    rows = {}
    for video, row in store.videos.items():
        if row["split"] != "train":
            continue
        field = np.zeros((2, row["height"] // 2, row["width"] // 2), np.float32)
        field[0] = 1
        pairs = [
            way
            for pair in neighbour_pairs(row["annotated"], row["stored"])
            for way in (pair, pair[::-1])
        ]
        path = data / "flow" / name / f"{quoted(video)}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_fields(path, video, dict.fromkeys(pairs, field))
        rows[video] = {
            "pairs": [list(pair) for pair in pairs],
            "height": field.shape[1],
            "width": field.shape[2],
        }
    index = {"name": name, "videos": rows, "skipped": []}
    write_json(data / "flow" / name / "index.json", index)
