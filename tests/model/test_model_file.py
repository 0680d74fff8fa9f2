"""Our model file: whole, deterministic, and refused with reasons where it is not ours."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from losh.errors import UserError
from losh.model.checkpoint import load_model, save_model
from losh.testing.small_models import MODEL, MTTR, run, small_model

CONFIG = {"model": MODEL, "pipeline": MTTR, "window": 4, "classes": ["a"]}


def test_round_trip_needs_nothing_else(tmp_path: Path) -> None:
    model = small_model(seed=3)
    save_model(tmp_path / "m.safetensors", model, CONFIG)
    again, config = load_model(tmp_path / "m.safetensors", tokenizer=False)
    assert not again.training
    assert {key: config[key] for key in CONFIG} == CONFIG
    assert torch.equal(run(model).long[-1].masks, run(again).long[-1].masks)
    assert any(p.requires_grad for p in again.base.backbone.parameters())


def test_same_model_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        save_model(tmp_path / name, small_model(seed=3), CONFIG)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    save_model(tmp_path / "c", load_model(tmp_path / "a", tokenizer=False)[0], CONFIG)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "c").read_bytes()


def test_what_the_backbone_started_from_is_not_asked_for(tmp_path: Path) -> None:
    model = {**MODEL, "backbone": {**MODEL["backbone"], "checkpoint": "/gone/kinetics.pth"}}
    save_model(tmp_path / "m", small_model(), {"model": model, "pipeline": MTTR})
    _, config = load_model(tmp_path / "m", tokenizer=False)
    assert config["model"]["backbone"]["checkpoint"] == "/gone/kinetics.pth"


def test_files_that_are_not_ours(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    save_file({"a": torch.zeros(2)}, tmp_path / "plain")
    save_file({"a": torch.zeros(2)}, tmp_path / "bad", {"losh": '{"model": {"base": "mttr"}}'})
    for name in ("text", "plain", "bad"):
        with pytest.raises(UserError, match="no model file of ours"):
            load_model(tmp_path / name)
    with pytest.raises(UserError, match="is missing"):
        load_model(tmp_path / "absent")


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    save_model(tmp_path / "m", small_model(), CONFIG)
    from safetensors import safe_open

    with safe_open(tmp_path / "m", "pt") as file:
        metadata = file.metadata()
    state = load_file(tmp_path / "m")
    del state["base.queries.weight"]
    state["base.reference_head.bias"] = torch.zeros(5)
    save_file(state, tmp_path / "m", metadata)
    with pytest.raises(UserError, match=r"base\.queries\.weight, base\.reference_head\.bias"):
        load_model(tmp_path / "m", tokenizer=False)


def test_a_tokenizer_that_cannot_be_had(tmp_path: Path) -> None:
    config = {**CONFIG, "model": {**MODEL, "text_encoder": str(tmp_path / "gone")}}
    save_model(tmp_path / "m", small_model(), config)
    with pytest.raises(UserError, match=r"text_encoder: .*gone"):
        load_model(tmp_path / "m")
