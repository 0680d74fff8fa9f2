"""LoSh on ReferFormer through the workflow's own functions: trains, resumes, scores, predicts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from losh.evaluate.evaluation import evaluate
from losh.inference.forward import Predictor
from losh.inference.text_features import TextFeatures
from losh.inference.whole_video import track
from losh.media.resizing import InputSize
from losh.model.checkpoint import load_model
from losh.params import Params
from losh.testing.tiny_training import tiny_params
from losh.train.trainer import Trainer
from losh.train.training import train

OWN = {"reference", "box", "giou", "focal", "dice"}


def params(**changes: object) -> Params:
    return tiny_params(**{"model__base": "referformer", **changes})


def run(out: Path, data: Path, **changes: object) -> dict:
    return train(params(**changes), out / "model", out / "metrics", data, out / "scratch")


@pytest.fixture(scope="module")
def trained(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three epochs with every part of the method, and dropout, so that random numbers matter."""
    out = tmp_path_factory.mktemp("referformer")
    summary = run(out, tiny_data, referformer__dropout=0.1)
    assert OWN | {"intersection", "consistency"} <= set(summary["loss"])
    assert summary["skipped_steps"] == 0
    return out


def test_every_part_of_it_learns(trained: Path, tiny_data: Path, tmp_path: Path) -> None:
    """Three epochs move every weight that is not frozen."""
    still = {"train__learning_rate": 1e-12, "train__backbone_learning_rate": 1e-12}
    run(tmp_path, tiny_data, train__epochs=1, referformer__dropout=0.1, **still)
    first = load_file(tmp_path / "model" / "last.safetensors")
    last = load_file(trained / "model" / "last.safetensors")
    assert first.keys() == last.keys()
    same = [n for n in last if torch.allclose(first[n].float(), last[n].float(), atol=1e-9)]
    assert all(name.startswith("base.text_encoder.") for name in same), same


def test_it_resumes_exactly(
    trained: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_if_due = Trainer._save_if_due

    def stopping(self: Trainer) -> None:
        if self._global_step == 3 and not self.state_path.exists():
            self.stop.signal = 15
        save_if_due(self)

    monkeypatch.setattr(Trainer, "_save_if_due", stopping)
    with pytest.raises(SystemExit) as stop:
        run(tmp_path, tiny_data, referformer__dropout=0.1)
    assert stop.value.code == 128 + 15
    run(tmp_path, tiny_data, referformer__dropout=0.1)
    again = load_file(tmp_path / "model" / "last.safetensors")
    for name, value in load_file(trained / "model" / "last.safetensors").items():
        assert torch.equal(value, again[name]), name


@pytest.mark.parametrize(
    "changes",
    [
        {"model__short_stream": False},
        {"model__cross_attention": False, "train__losses__intersection": 0.0},
        {"model__cross_attention_place": "after"},
        {"train__losses__auxiliary": False, "train__losses__consistency": 0.0},
        {"train__text_encoder_learning_rate": 1e-4},
        {"train__precision": "bf16"},
        {"train__expressions_per_window": 4},
        {"referformer__feature_levels": 4, "referformer__losses__box": 0.0},
    ],
    ids=lambda changes: " ".join(f"{key.split('__')[-1]}={changes[key]}" for key in changes),
)
def test_every_switch_trains(changes: dict, tiny_data: Path, tmp_path: Path) -> None:
    summary = run(tmp_path, tiny_data, train__epochs=1, **changes)
    assert summary["epochs"] == 1 and summary["loss"]["total"] > 0
    assert ("box" in summary["loss"]) == (changes.get("referformer__losses__box") != 0.0)


def test_it_is_evaluated(trained: Path, tiny_data: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name in ("raw", "frames", "short_text"):
        (tmp_path / "data" / name).symlink_to(tiny_data / name)
    model = trained / "model" / "model.safetensors"
    scores = evaluate("tiny", params().evaluate, tmp_path / "data", tmp_path / "metrics", model)
    assert scores["samples"] > 0 and 0 <= scores["mean_iou"] <= 1


@pytest.mark.parametrize("chunk", [None, 3])
def test_it_tracks_a_whole_video(trained: Path, chunk: int | None) -> None:
    model, config = load_model(trained / "model" / "model.safetensors")
    assert config["pipeline"]["mask_layers"] == 3 and model.base.text_encoder.pooled
    texts = TextFeatures(model.base.text_encoder, torch.device("cpu"))
    predictor = Predictor(model, texts, InputSize(48, 576), torch.float32, "mean")
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (6, 48, 64, 3), np.uint8)
    sentences = [("a red disc moving left", "a red disc")]
    with track(predictor, frames.__getitem__, 6, sentences, chunk, "davis") as [found]:
        assert found.mask(5, (90, 100)).shape == (90, 100)
