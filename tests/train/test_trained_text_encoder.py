"""A text encoder that is trained: its features are made anew each step, and a resumed training is
exactly what it would have been; augmentation and several datasets take part in that.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from losh.model.text_encoder import TextEncoder
from losh.testing.tiny_training import tiny_params
from losh.train.trainer import Trainer
from losh.train.training import train

ALL_ON = {
    "train__augmentation__reverse": 0.5,
    "train__augmentation__short_sides": [40, 48],
    "train__augmentation__crop__probability": 0.5,
    "train__augmentation__crop__short_sides": [60],
    "train__augmentation__crop__sides": [40, 56],
    "train__augmentation__colour__probability": 0.5,
}
TRAINED = {
    "train__epochs": 1,
    "train__short_side": 40,
    "train__milestones": [1],
    "train__text_encoder_learning_rate": 1e-3,
    "train__validation_fraction": 0.0,
    **ALL_ON,
}


def learnt(out: Path, data: Path, **changes: object) -> dict[str, torch.Tensor]:
    params = tiny_params(**{**TRAINED, **changes})
    train(params, out / "model", out / "metrics", data, out / "scratch")
    return load_file(out / "model" / "last.safetensors")


@pytest.mark.parametrize("base", ["mttr", "referformer", "sgmg"])
def test_it_trains_and_resumes_to_the_bit(
    base: str, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def no_cache(*_: object) -> None:
        raise AssertionError("features of a trained encoder were kept")

    monkeypatch.setenv("LOSH_WORKERS", "0")
    monkeypatch.setattr("losh.train.training.encode_together", no_cache)
    changes = {"model__base": base, f"{base}__dropout": 0.1}
    whole = learnt(tmp_path / "whole", tiny_data, **changes)
    save_if_due = Trainer._save_if_due

    def stopping(self: Trainer) -> None:
        if self._global_step == 2 and not self.state_path.exists():
            self.stop.signal = 15
        save_if_due(self)

    monkeypatch.setattr(Trainer, "_save_if_due", stopping)
    with pytest.raises(SystemExit):
        learnt(tmp_path / "stopped", tiny_data, **changes)
    resumed = learnt(tmp_path / "stopped", tiny_data, **changes)
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())
    start = TextEncoder("embedded", pooled=base != "mttr").state_dict()
    names = [name for name in whole if name.startswith("base.text_encoder.")]
    moved = [
        name
        for name in names
        if not torch.equal(whole[name], start[name.removeprefix("base.text_encoder.")])
    ]
    assert len(moved) > 0.5 * len(names), "the encoder did not learn"
