"""Options of training that published recipes set: the last batch, the filter of resized frames."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from losh.clips.dataset import ClipDataset
from losh.clips.samples import group_samples
from losh.model.checkpoint import load_model
from losh.testing.tiny_training import tiny_params
from losh.train.split import load_train_samples
from losh.train.training import train

SHORT = {
    "train__epochs": 1,
    "train__validation_fraction": 0.0,
    "train__losses__consistency": 0.0,
    "train__milestones": [1],
}


def weights(out: Path, data: Path, **changes: object) -> dict[str, torch.Tensor]:
    params = tiny_params(**{**SHORT, **changes})
    train(params, out / "model", out / "metrics", data, out / "scratch")
    return load_file(out / "model" / "last.safetensors")


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_a_kept_last_batch_is_trained_on(tiny_data: Path, tmp_path: Path, monkeypatch):
    read: list[int] = []
    load = ClipDataset._load
    monkeypatch.setattr(
        ClipDataset, "_load", lambda *args: (read.append(len(args[1])), load(*args))[1]
    )
    monkeypatch.setenv("LOSH_WORKERS", "0")
    count = len(group_samples(load_train_samples(["tiny"], tiny_data)[0], 1))
    batch = next(size for size in (4, 3) if count % size)
    dropped = weights(tmp_path / "drop", tiny_data, train__batch_size=batch)
    once = len(read)
    read.clear()
    kept = weights(tmp_path / "keep", tiny_data, train__batch_size=batch, train__last_batch="keep")
    assert len(read) - once == count % batch and not equal(kept, dropped)


def test_with_nothing_held_out_the_last_epoch_is_kept(tiny_data: Path, tmp_path: Path):
    last = weights(tmp_path, tiny_data, train__epochs=2)
    assert equal(load_file(tmp_path / "model" / "model.safetensors"), last)


def test_the_filter_is_used_and_saved_with_the_model(tiny_data: Path, tmp_path: Path):
    changes = {"train__short_side": 40}
    area = weights(tmp_path / "area", tiny_data, **changes)
    published = weights(tmp_path / "pil", tiny_data, **changes, train__resize_filter="pil_bilinear")
    assert not equal(area, published)
    for name, saved in (("area", "area"), ("pil", "pil_bilinear")):
        _, config = load_model(tmp_path / name / "model" / "model.safetensors")
        assert (config["resize_filter"], config["short_side"]) == (saved, 40)
