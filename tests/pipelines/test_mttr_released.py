"""Checkpoints of the released code: in and out again to the bit, or refused with reasons."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from losh.errors import UserError
from losh.model.checkpoint import load_model
from losh.model.losh import LoSh
from losh.model.released import (
    _blank,
    export_checkpoint,
    export_released,
    import_checkpoint,
    import_released,
    read_released,
)
from losh.params import ModelParams
from losh.pipelines.mttr.released import RELEASED_FORMAT
from losh.testing.parity_fixture import FOLDER, TEXT_CONFIG, parity_model
from losh.testing.small_models import BACKBONE, small_model

MANIFEST = FOLDER / "losh_mttr_manifest.json"
WEIGHTS = FOLDER / "losh_mttr_parity_weights.json"


def full_index() -> Tensor:
    """The fixture's formula for the window (8, 7, 7), apart from our code."""
    n = np.arange(392)
    place = np.stack([n // 49, n // 7 % 7, n % 7])
    d, h, w = place[:, :, None] - place[:, None, :]
    return torch.from_numpy((d + 7) * 169 + (h + 6) * 13 + (w + 6))


def content(key: str, shape: list[int], dtype: str, i: int) -> Tensor:
    """Something for a key: one number, seen in every place, so that 146 million of them need no
    memory.
    """
    if key.endswith("relative_position_index"):
        return full_index()
    if dtype == "int64":
        return torch.arange(shape[-1]).expand(shape)
    return torch.tensor(float(i)).expand(shape)


def released_state() -> dict[str, Tensor]:
    """The parity model in the released format."""
    return {
        name: value.clone()
        for name, value in export_released(parity_model("A"), RELEASED_FORMAT).items()
    }


@pytest.mark.skipif(not MANIFEST.is_file(), reason=f"{MANIFEST} is missing (set LOSH_PARITY_DIR)")
@pytest.mark.parametrize("which", ["state_dict", "state_dict_pinned"])
def test_parity_full_size_manifest_round_trip(which: str) -> None:
    keys = json.loads(MANIFEST.read_text())[which]
    state = {key: content(key, shape, dtype, i) for i, (key, shape, dtype) in enumerate(keys)}
    ours, config = import_released({"model_state_dict": state, "epoch": 3})
    assert config["model"]["backbone"]["name"] == "video_swin_t"
    assert (
        config["model"]["text_encoder"] == "roberta-base"
        and config["text_encoder_config"]["num_attention_heads"] == 12
    )
    ModelParams.model_validate(config["model"])
    model = _blank(config)
    model.load_state_dict(ours, assign=True)
    assert (
        sum(p.numel() for p in model.parameters())
        == json.loads(MANIFEST.read_text())["params_total"]
    )
    back = export_released(model, RELEASED_FORMAT)
    state.pop("transformer.text_encoder.embeddings.position_ids", None)
    assert back.keys() == state.keys()
    assert all(
        back[key].dtype == state[key].dtype and torch.equal(back[key], state[key]) for key in state
    )


@pytest.mark.skipif(not WEIGHTS.is_file(), reason=f"{WEIGHTS} is missing (set LOSH_PARITY_DIR)")
def test_parity_weights_and_names() -> None:
    """Every key of the reference model, with its shape, and the recipes' first values and sums
    under it.
    """
    rows = json.loads(WEIGHTS.read_text())
    for kind in ("A", "B"):
        state = export_released(parity_model(kind), RELEASED_FORMAT)
        assert {row["key"]: row["shape"] for row in rows} == {
            key: list(value.shape) for key, value in state.items()
        }
        for row in rows:
            if kind in row:
                values = state[row["key"]].double()
                assert values.flatten()[:3].tolist() == pytest.approx(row[kind]["first3"])
                assert float(values.square().sum()) == pytest.approx(row[kind]["sumsq"])


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("wrapped", [True, False])
def test_file_round_trip(
    tmp_path: Path, prefix: str, wrapped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = released_state()
    kept = {prefix + key: value for key, value in state.items()}
    torch.save(
        {"model_state_dict": kept, "epoch": 1, "optimizer_state_dict": {"state": {}}}
        if wrapped
        else kept,
        tmp_path / "in.pth",
    )
    monkeypatch.setattr(
        "losh.model.released.infer_text_config", lambda *_: dict(TEXT_CONFIG)
    )  # heads of 16 channels, which no published RoBERTa has
    import_checkpoint(tmp_path / "in.pth", tmp_path / "model.safetensors")
    export_checkpoint(tmp_path / "model.safetensors", tmp_path / "out.pth")
    back = read_released(tmp_path / "out.pth")
    assert back.keys() == state.keys() and all(torch.equal(back[key], state[key]) for key in state)


def test_imported_model_computes_what_the_exported_one_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"model_state_dict": released_state()}, tmp_path / "in.pth")
    monkeypatch.setattr("losh.model.released.infer_text_config", lambda *_: dict(TEXT_CONFIG))
    import_checkpoint(tmp_path / "in.pth", tmp_path / "model.safetensors")
    model, config = load_model(tmp_path / "model.safetensors", tokenizer=False)
    assert config["window"] == 10 and config["short_side"] == 320
    assert config["resize_filter"] == "pil_bilinear"
    model.one_batch = True  # as the parity model runs its streams
    assert outputs_equal(model, parity_model("A"))


def outputs_equal(one: LoSh, other: LoSh) -> bool:
    from losh.model.structures import Clips, TextIds

    clips = Clips(
        torch.randn(1, 2, 3, 32, 32),
        torch.zeros(1, 2, 32, 32, dtype=torch.bool),
        torch.tensor([[1]]),
    )
    text = TextIds(torch.tensor([[0, 5, 2]]), torch.ones(1, 3, dtype=torch.long))
    with torch.no_grad():
        return torch.equal(
            one(clips, text, text).long[-1].masks, other(clips, text, text).long[-1].masks
        )


def test_every_fault_is_listed() -> None:
    state = released_state()
    state["extra.weight"] = torch.zeros(1)
    del state["transformer.encoder.layers.1.norm1.bias"]
    state["is_referred_head.bias"] = torch.zeros(3)
    index = "backbone.layers.2.blocks.5.attn.relative_position_index"
    state[index.replace("5", "6")] = state.pop(index)
    with pytest.raises(UserError, match="5 keys") as caught:
        import_released(state, dict(TEXT_CONFIG))
    for part in (
        f"missing {index}",
        f"surplus {index.replace('5', '6')}",
        "surplus extra.weight",
        "missing transformer.encoder.layers.1.norm1.bias",
        "is_referred_head.bias is [3], not [2]",
    ):
        assert part in str(caught.value)


def test_another_position_index_is_refused() -> None:
    state = released_state()
    key = next(key for key in state if key.endswith("relative_position_index"))
    state[key] = state[key].T.contiguous()
    with pytest.raises(UserError, match=re.escape(key)):
        import_released(state, dict(TEXT_CONFIG))


@pytest.mark.parametrize(
    "missing", ["obj_queries.weight", "transformer.text_encoder.embeddings.word_embeddings.weight"]
)
def test_what_the_sizes_are_read_from_is_missing(missing: str) -> None:
    state = released_state()
    del state[missing]
    with pytest.raises(UserError, match=re.escape(missing)):
        import_released(state)


class Hostile:
    """Unpickling this runs code."""

    def __init__(self, made: str) -> None:
        self.made = made

    def __reduce__(self) -> tuple:
        return os.mkdir, (self.made,)


@pytest.mark.parametrize("kind", ["absent", "text", "pickle"])
def test_files_that_are_no_checkpoint(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.pth"
    if kind == "text":
        path.write_text("hello")
    if kind == "pickle":
        torch.save({"model_state_dict": {"a": Hostile(str(tmp_path / "run"))}}, path)
    with pytest.raises(UserError, match=r"x\.pth"):
        read_released(path)
    assert not (tmp_path / "run").exists()


def test_cross_attention_has_no_place_in_the_released_format() -> None:
    with pytest.raises(UserError, match="cross_attention: false"):
        export_released(small_model(), RELEASED_FORMAT)


def test_a_motion_branch_has_no_place_in_the_released_format() -> None:
    model = small_model(cross_attention=False, backbone={**BACKBONE, "motion_channels": 4})
    with pytest.raises(UserError, match="motion_channels: 0"):
        export_released(model, RELEASED_FORMAT)
