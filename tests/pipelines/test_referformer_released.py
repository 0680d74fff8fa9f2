"""Released ReferFormer checkpoints: in and out again to the bit, with their options and aliases,
and refused with reasons where they do not fit.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from losh.errors import UserError
from losh.evaluate.evaluation import evaluate
from losh.model.checkpoint import load_model, save_model, text_config
from losh.model.losh import LoSh
from losh.model.released import (
    _blank,
    export_checkpoint,
    export_released,
    import_checkpoint,
    import_released,
    read_released,
)
from losh.model.text_encoder import EMBEDDED, TextEncoder
from losh.params import ModelParams
from losh.pipelines.referformer.parameters import Parameters
from losh.pipelines.referformer.released import RELEASED_FORMAT
from losh.testing.parity_fixture import FOLDER
from losh.testing.tiny_training import tiny_params

MANIFEST = FOLDER / "referformer_manifest.json"
POSITIONS = "text_encoder.embeddings.position_ids"
ALIAS = "transformer.decoder.bbox_embed.2.layers.1.weight"


def full_index() -> Tensor:
    """The window (8, 7, 7) by a formula apart from our code."""
    n = torch.arange(392)
    place = torch.stack([n // 49, n // 7 % 7, n % 7])
    d, h, w = place[:, :, None] - place[:, None, :]
    return (d + 7) * 169 + (h + 6) * 13 + (w + 6)


def small() -> tuple[LoSh, dict]:
    """A model of the released kind with the embedded text encoder, and its configuration. Heads and
    points are those that no weight shows.
    """
    from losh.model.build import build_model

    torch.manual_seed(0)
    model = {
        "base": "referformer",
        "backbone": {"name": "video_swin", "checkpoint": None, "embed_dim": 8, "depths": [1] * 4}
        | {"num_heads": [1] * 4, "window_size": [8, 7, 7], "drop_path": 0.2},
        "text_encoder": "embedded",
        "short_stream": False,
        "cross_attention": False,
        "cross_attention_blocks": 1,
        "cross_attention_place": "inside",
    }
    own = {"d_model": 32, "num_heads": 8, "ffn_dim": 24, "dropout": 0.1, "encoder_layers": 2}
    own |= {"decoder_layers": 4, "num_queries": 5, "feature_levels": 4, "points": 4}
    own |= {"mask_layers": 3, "mask_channels": 8}
    own["losses"] = {"reference": 2.0, "box": 5.0, "giou": 2.0, "focal": 2.0, "dice": 5.0}
    encoder = TextEncoder("embedded", pooled=True)
    built = build_model(ModelParams.model_validate(model), Parameters.model_validate(own), encoder)
    for parameter in built.parameters():  # what starts as zeros or copies says nothing
        parameter.data.add_(0.02 * torch.randn_like(parameter))
    config = {"model": model, "pipeline": own, "text_encoder_config": text_config(encoder)}
    return built.eval(), config


@pytest.fixture(scope="module")
def made() -> tuple[LoSh, dict[str, Tensor]]:
    model, _ = small()
    return model, export_released(model, RELEASED_FORMAT)


def written(state: dict[str, Tensor], path: Path, prefix: str = "", **more: object) -> Path:
    """A file as the released code writes it: weights beside options and optimiser."""
    options = argparse.Namespace(lr=1e-4, backbone="video_swin_t_p4w7", lr_drop=[3, 5], eval=False)
    content = {"model": {prefix + k: v for k, v in state.items()}, "args": options, "epoch": 5}
    torch.save({**content, "optimizer": {"state": {}, "param_groups": []}, **more}, path)
    return path


@pytest.mark.skipif(not MANIFEST.is_file(), reason=f"{MANIFEST} is missing (set LOSH_PARITY_DIR)")
@pytest.mark.parametrize("with_positions", [False, True])
def test_parity_referformer_full_size_manifest_round_trip(with_positions: bool) -> None:
    manifest = json.loads(MANIFEST.read_text())
    aliases, state = manifest["aliases"], {}
    for i, (key, shape, dtype) in enumerate(manifest["state_dict"]):
        if key.endswith("relative_position_index"):
            state[key] = full_index()
        else:
            assert dtype == "float32"
            state[key] = torch.tensor(float(i)).expand(shape)
    state |= {alias: state[name] for alias, name in aliases.items()}
    given = dict(state)
    if with_positions:
        given[POSITIONS] = torch.arange(514)[None]
    ours, config = import_released({"model": given, "epoch": 3})
    assert config["model"]["backbone"]["name"] == "video_swin_t"
    assert config["model"]["text_encoder"] == "roberta-base"
    assert config["text_encoder_config"]["num_attention_heads"] == 12
    assert (config["pipeline"]["mask_layers"], config["pipeline"]["mask_channels"]) == (3, 8)
    model = _blank(config)
    model.load_state_dict(ours, assign=True)
    assert sum(p.numel() for p in model.parameters()) == manifest["n_parameters"]
    back = export_released(model, RELEASED_FORMAT)
    assert len(back) == manifest["n_state_dict"] and back.keys() == state.keys()
    assert all(back[k].dtype == state[k].dtype and torch.equal(back[k], state[k]) for k in state)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_file_round_trip(made: tuple, tmp_path: Path, prefix: str) -> None:
    _, state = made
    path = written({**state, POSITIONS: torch.arange(256)[None]}, tmp_path / "in.pth", prefix)
    import_checkpoint(path, tmp_path / "model.safetensors", str(EMBEDDED))
    export_checkpoint(tmp_path / "model.safetensors", tmp_path / "out.pth")
    content = torch.load(tmp_path / "out.pth", weights_only=True)
    assert content.keys() == {"model"}
    back = read_released(tmp_path / "out.pth")
    assert back.keys() == state.keys() and all(torch.equal(back[k], state[k]) for k in state)


def test_an_imported_model_computes_the_same_and_is_evaluated(
    made: tuple, tiny_data: Path, tmp_path: Path
) -> None:
    """Import, then evaluate, the tokenizer from a local folder."""
    from losh.testing.small_models import small_clips

    network, state = made
    path = written(state, tmp_path / "in.pth")
    out = tmp_path / "model.safetensors"
    import_checkpoint(path, out, str(EMBEDDED), window=4, short_side=48)
    model, config = load_model(out)
    assert (config["window"], config["short_side"], config["long_side"]) == (4, 48, 640)
    ids, mask = model.base.text_encoder.tokenize(["the red circle"])
    from losh.model.structures import TextIds

    with torch.no_grad():
        a, b = (
            one(small_clips(clips=1, size=(64, 64)), TextIds(ids, mask)) for one in (model, network)
        )
    # Where a file's weights lie in memory changes the rounding.
    assert torch.allclose(a.long[-1].masks, b.long[-1].masks, atol=1e-3)
    (tmp_path / "data").mkdir()
    for name in ("raw", "frames", "short_text"):
        (tmp_path / "data" / name).symlink_to(tiny_data / name)
    params = tiny_params(evaluate__checkpoint=str(out)).evaluate
    scores = evaluate("tiny", params, tmp_path / "data", tmp_path / "metrics")
    assert scores["samples"] > 0


def test_every_fault_is_listed(made: tuple) -> None:
    state = dict(made[1])
    state["extra.weight"] = torch.zeros(1)
    del state["transformer.encoder.layers.1.norm1.bias"], state[ALIAS]
    state["class_embed.0.bias"] = torch.zeros(65)
    with pytest.raises(UserError, match="does not fit ReferFormer") as caught:
        import_released(state, text_config(made[0].base.text_encoder))
    for part in (
        "(4 keys)",
        "surplus extra.weight",
        "missing transformer.encoder.layers.1.norm1.bias",
        f"missing {ALIAS}",
        "class_embed.0.bias is [65], not [1]",
    ):
        assert part in str(caught.value)


def test_an_alias_of_another_value_is_refused(made: tuple) -> None:
    state = dict(made[1])
    state[ALIAS] = state[ALIAS] + 1
    with pytest.raises(UserError, match=f"two values for one weight: {re.escape(ALIAS)}"):
        import_released(state, text_config(made[0].base.text_encoder))


@pytest.mark.parametrize("missing", ["query_embed.weight", "pixel_decoder.mask_features.weight"])
def test_what_the_format_and_sizes_are_read_from_is_missing(made: tuple, missing: str) -> None:
    state = dict(made[1])
    del state[missing]
    with pytest.raises(UserError, match=re.escape(missing)):
        import_released(state, text_config(made[0].base.text_encoder))


class Hostile(argparse.Namespace):
    """Unpickling this runs code, although its base class is allowed."""

    def __init__(self, made: str) -> None:
        super().__init__(made=made)

    def __reduce__(self) -> tuple:
        return os.mkdir, (self.made,)


def test_options_of_another_class_run_no_code(made: tuple, tmp_path: Path) -> None:
    hostile = Hostile(str(tmp_path / "run"))
    path = written({"a": torch.zeros(1)}, tmp_path / "x.pth", args=hostile)
    with pytest.raises(UserError, match=r"x\.pth is no checkpoint that can be read safely"):
        read_released(path)
    inside = argparse.Namespace(inner=hostile)
    path = written({"a": torch.zeros(1)}, tmp_path / "y.pth", args=inside)
    with pytest.raises(UserError, match=r"y\.pth is no checkpoint that can be read safely"):
        read_released(path)
    assert not (tmp_path / "run").exists()
    # Allowed for that one file alone.
    assert argparse.Namespace not in torch.serialization.get_safe_globals()


def test_a_resnet_goes_in_and_out(tmp_path: Path) -> None:
    from losh.model.build import build_model

    _, config = small()
    config["model"]["backbone"] = {"name": "resnet50", "checkpoint": None}
    model = build_model(
        ModelParams.model_validate(config["model"]),
        Parameters.model_validate(config["pipeline"]),
        TextEncoder("embedded", pooled=True),
    )
    state = export_released(model, RELEASED_FORMAT)
    assert "backbone.0.body.layer4.2.bn3.running_var" in state
    ours, found = import_released(dict(state), text_config(model.base.text_encoder))
    assert found["model"]["backbone"]["name"] == "resnet50"
    assert all(torch.equal(ours[name], value) for name, value in model.state_dict().items())


def test_cross_attention_has_no_place_in_the_released_format(tmp_path: Path) -> None:
    from losh.testing.small_models import small_model

    with pytest.raises(UserError, match="cross_attention: false"):
        export_released(small_model(base="referformer"), RELEASED_FORMAT)


def test_our_file_keeps_the_pooler(made: tuple, tmp_path: Path) -> None:
    model, config = small()
    config |= {"window": 4, "short_side": 48, "long_side": 64}
    save_model(tmp_path / "m.safetensors", model, config)
    again, _ = load_model(tmp_path / "m.safetensors")
    pooler = "base.text_encoder.model.pooler.dense.weight"
    assert torch.equal(again.state_dict()[pooler], model.state_dict()[pooler])
