"""Training from the weights of an earlier one: what is taken, left out and lacking is said; what
does not fit is one line.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from losh.check.check import check_inputs
from losh.errors import UserError
from losh.model.build import build_model
from losh.model.checkpoint import save_model
from losh.params import Params
from losh.runtime.files import read_json, write_json
from losh.testing.tiny_training import tiny_params
from losh.train.fingerprint import training_fingerprint
from losh.train.start import start_from
from losh.train.training import train

HEAD = "base.class_heads"


def model_file(path: Path, seed: int = 5, **changes: object) -> Path:
    """A model file of random weights, as a pretraining would have left it."""
    params = tiny_params(**{"model__base": "referformer", **changes})
    torch.manual_seed(seed)
    model = build_model(params.model, params.pipeline)
    with torch.no_grad():  # as a pretraining that changed the text encoder too
        for parameter in model.text_encoder.parameters():
            parameter.add_(0.01)
    config = {
        "model": params.model.model_dump(),
        "pipeline": params.pipeline.model_dump(),
        "window": 1,
        "short_side": 48,
        "long_side": 576,
    }
    save_model(path, model, config)
    return path


def starting(path: Path, **changes: object) -> Params:
    changes = {"model__base": "referformer", "train__start_from": str(path), **changes}
    return tiny_params(**changes)


def started(params: Params) -> tuple[dict[str, torch.Tensor], list[str]]:
    torch.manual_seed(0)
    model = build_model(params.model, params.pipeline)
    notes = start_from(model, params)
    return model.state_dict(), notes


def test_all_of_it_is_taken_the_text_encoder_included(tmp_path: Path):
    path = model_file(tmp_path / "pretrained.safetensors")
    state, notes = started(starting(path))
    file = load_file(path)
    assert state.keys() == file.keys()
    assert all(torch.equal(state[name], value) for name, value in file.items())
    assert notes == [f"train: starts from {path}, {len(file)} of its {len(file)} weights"]


def test_what_starts_afresh_by_request_is_said(tmp_path: Path):
    path = model_file(tmp_path / "pretrained.safetensors")
    params = starting(path, train__start_without=[HEAD])
    torch.manual_seed(0)
    untouched = build_model(params.model, params.pipeline).state_dict()
    state, notes = started(params)
    heads = [name for name in state if name.startswith(HEAD)]
    assert heads and all(torch.equal(state[name], untouched[name]) for name in heads)
    said = f"{HEAD} ({len(heads)} weights)"
    assert notes[1:] == [
        f"train: left out of it: {said}",
        f"train: starts afresh, not taken from it: {said}",
    ]


def test_parts_of_losh_may_be_lacking_or_be_left_out(tmp_path: Path):
    """LoSh starts from the base pipeline alone, and the other way round."""
    alone = model_file(tmp_path / "alone.safetensors", model__short_stream=False)
    state, notes = started(starting(alone))
    blocks = sum(name.startswith("cross_blocks.") for name in state)
    assert notes[1:] == [
        f"train: starts afresh, not taken from it: cross_blocks ({blocks} weights)"
    ]
    whole = model_file(tmp_path / "whole.safetensors")
    _, notes = started(starting(whole, model__short_stream=False))
    assert notes[1:] == [f"train: left out of it: cross_blocks ({blocks} weights)"]


@pytest.mark.parametrize(
    ("file", "here", "expected"),
    [
        ({"model__base": "sgmg"}, {}, ["model.base sgmg", "params.yaml has referformer"]),
        ({"referformer__d_model": 32}, {}, ["referformer.d_model 32", "has 16"]),
        ({}, {"referformer__encoder_layers": 3}, ["referformer.encoder_layers 2", "has 3"]),
        ({"model__backbone__depths": [1, 1, 3]}, {}, ["model.backbone.depths [1, 1, 3]"]),
        ({}, {"train__start_without": ["base.hands"]}, ["'base.hands'", HEAD]),
    ],
)
def test_what_does_not_fit_is_one_line(file: dict, here: dict, expected: list[str], tmp_path: Path):
    path = model_file(tmp_path / "other.safetensors", **file)
    with pytest.raises(UserError) as error:
        started(starting(path, **here))
    assert "\n" not in str(error.value)
    for part in [*expected, str(path)]:
        assert part in str(error.value)


def test_another_text_encoder_is_one_line(tmp_path: Path):
    path = model_file(tmp_path / "other.safetensors")
    with safe_open(path, "pt") as opened:
        metadata = opened.metadata()
    state = load_file(path)
    name = next(name for name in state if name.endswith("word_embeddings.weight"))
    save_file({**state, name: state[name][:-1].clone()}, path, metadata)
    with pytest.raises(UserError, match=r"does not fit: base\.text_encoder.*there and .* here"):
        started(starting(path))
    state.pop("base.level_embed", None)
    lacking = {key: value for key, value in state.items() if not key.startswith("base.box_heads")}
    save_file(lacking, path, metadata)
    with pytest.raises(UserError, match=r"base\.box_heads.* is in the model alone"):
        started(starting(path))


def test_a_file_that_is_not_there_or_not_ours_is_one_line(tmp_path: Path):
    with pytest.raises(UserError, match=r"train\.start_from: there is no file"):
        check_inputs(starting(tmp_path / "none.safetensors"), tmp_path / "out", tmp_path / "memory")
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(UserError, match="no model file of ours"):
        started(starting(tmp_path / "text.safetensors"))
    with pytest.raises(UserError, match="DVC deletes it before"):
        tiny_params(train__start_from="data/model/model.safetensors")
    with pytest.raises(UserError, match="start_without needs start_from"):
        tiny_params(train__start_without=[HEAD])


def test_other_contents_start_the_training_afresh(tmp_path: Path):
    """For DVC by the file that the stage check writes, for scratch/ by the fingerprint."""
    write_json(tmp_path / "data" / "train_data.json", {"datasets": {}})
    path = tmp_path / "pretrained.safetensors"
    digests, marks = [], []
    for seed in (1, 2, 1):
        params = starting(model_file(path, seed))
        marks.append(training_fingerprint(params, tmp_path / "data", "code"))
        check_inputs(params, tmp_path / "out", tmp_path / "memory")
        digests.append(read_json(tmp_path / "out" / "train.json", "")["files"]["train.start_from"])
        assert not read_json(tmp_path / "out" / "evaluate.json", "")["files"]
    assert digests[0] == digests[2] != digests[1] and marks[0] == marks[2] != marks[1]


def test_a_training_starts_from_it_and_reads_sentences_with_its_encoder(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Two files that differ in their text encoder alone: kept features of one are not the other's.
    All rates but one are tiny, so that the weights stay where they started.
    """
    still = {
        "train__learning_rate": 1e-12,
        "train__backbone_learning_rate": 0.0,
        "train__epochs": 1,
        "train__batch_size": 100,
        "train__validation_fraction": 0.0,
    }
    losses = []
    for name in ("one", "other"):
        path = model_file(tmp_path / f"{name}.safetensors")
        if name == "other":
            _shift_text_encoder(path)
        params, out = starting(path, **still), tmp_path / name
        summary = train(params, out / "model", out / "metrics", tiny_data, tmp_path / "scratch")
        losses.append(summary["loss"]["total"])
        assert f"train: starts from {path}" in capsys.readouterr().out
        learnt, file = load_file(out / "model" / "last.safetensors"), load_file(path)
        assert all(torch.allclose(learnt[key], value, atol=1e-6) for key, value in file.items())
    assert losses[0] != losses[1]


def _shift_text_encoder(path: Path) -> None:
    with safe_open(path, "pt") as opened:
        metadata = opened.metadata()
    state = load_file(path)
    for name, value in state.items():
        if name.startswith("base.text_encoder.") and value.is_floating_point():
            state[name] = value + 0.05
    save_file(state, path, metadata)
