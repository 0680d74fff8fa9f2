"""Sizes of a released checkpoint, read off the shapes of its weights."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from losh.backbones.video_swin import PRESETS
from losh.errors import UserError

TEXT = "transformer.text_encoder."
NUM_HEADS, DROPOUT, DROP_PATH = 8, 0.1, 0.1  # published; no weight shows them
INPUT = {
    "window": 10,
    "short_side": 320,
    "long_side": 576,
}  # what the released models were trained on (A2D)
LOSSES = {  # published weights; the file does not hold them
    "reference": 2.0,
    "focal": 2.0,
    "dice": 5.0,
    "no_object": 0.1,
    "encoder_reference": 0.0,
    "mask_stride": 1,
}
HEAD_WIDTH = 64  # channels of an attention head in every published RoBERTa

LISTS = ("depths", "num_heads", "window_size")


def infer_params(
    state: dict[str, Tensor], indexes: dict[str, Tensor], text_config: dict[str, Any]
) -> dict[str, Any]:
    """The configuration of a model with these weights.

    Args:
        state: released names, without integer buffers.
        indexes: the integer buffers `...relative_position_index`.
        text_config: Hugging Face's configuration of the text encoder.

    Returns:
        {"model", "pipeline": the sections of params.yaml, "text_encoder_config": text_config}, and the
        published input sizes.

    Raises:
        UserError: a weight that every released checkpoint has is missing.
    """

    def shape(name: str) -> tuple[int, ...]:
        if name not in state:
            raise UserError(
                f"the checkpoint does not fit LoSh on MTTR (1 keys): missing {name}",
                "Give a file of the released code",
            )
        return tuple(state[name].shape)

    queries, width = shape("obj_queries.weight")
    base = text_config["hidden_size"] == 768 and text_config["vocab_size"] == 50265
    return {
        "model": {
            "base": "mttr",
            "backbone": _backbone(state, indexes, shape),
            "text_encoder": "roberta-base" if base else "roberta",
            "short_stream": True,
            "cross_attention": False,
            "cross_attention_blocks": 1,
            "cross_attention_place": "inside",
        },
        "pipeline": {
            "d_model": width,
            "num_heads": NUM_HEADS,
            "ffn_dim": shape("transformer.encoder.layers.0.linear1.weight")[0],
            "dropout": DROPOUT,
            "encoder_layers": _count(state, "transformer.encoder.layers."),
            "decoder_layers": _count(state, "transformer.decoder.layers."),
            "num_queries": queries,
            "kernel_dim": shape("spatial_decoder.out_lay.weight")[0],
            "losses": LOSSES,
        },
        "text_encoder_config": text_config,
        **INPUT,
    }


def infer_text_config(state: dict[str, Tensor]) -> dict[str, Any]:
    """Hugging Face's configuration of a RoBERTa with these weights (released names).

    Raises:
        UserError: the checkpoint has no text encoder.
    """
    try:
        vocabulary, width = state[f"{TEXT}embeddings.word_embeddings.weight"].shape
        return {
            "model_type": "roberta",
            "vocab_size": vocabulary,
            "hidden_size": width,
            "num_hidden_layers": _count(state, f"{TEXT}encoder.layer."),
            "num_attention_heads": max(1, width // HEAD_WIDTH),
            "intermediate_size": state[f"{TEXT}encoder.layer.0.intermediate.dense.weight"].shape[0],
            "max_position_embeddings": state[f"{TEXT}embeddings.position_embeddings.weight"].shape[
                0
            ],
            "type_vocab_size": state[f"{TEXT}embeddings.token_type_embeddings.weight"].shape[0],
            "layer_norm_eps": 1e-5,
            "hidden_act": "gelu",
            "bos_token_id": 0,
            "pad_token_id": 1,
            "eos_token_id": 2,
        }
    except KeyError as missing:
        raise UserError(
            f"the checkpoint does not fit LoSh on MTTR (1 keys): missing {missing.args[0]}",
            "Give a file of the released code",
        ) from None


def _backbone(state: dict[str, Tensor], indexes: dict[str, Tensor], shape: Any) -> dict[str, Any]:
    """The `backbone` section of a Video-Swin with these weights; a published one goes by its
    name.
    """
    stages = _count(state, "backbone.layers.")
    tables = [
        shape(f"backbone.layers.{i}.blocks.0.attn.relative_position_bias_table")
        for i in range(stages)
    ]
    sizes = {
        "embed_dim": shape("backbone.patch_embed.norm.weight")[0],
        "depths": [_count(state, f"backbone.layers.{i}.blocks.") for i in range(stages)],
        "num_heads": [heads for _, heads in tables],
        "window_size": _window(tables[0][0] if tables else 0, next(iter(indexes.values()), None)),
    }
    published = [
        name
        for name, preset in PRESETS.items()
        if all(list(getattr(preset, key)) == sizes[key] for key in LISTS)
    ]
    published = [name for name in published if PRESETS[name].embed_dim == sizes["embed_dim"]]
    return {
        "name": published[0] if published else "video_swin",
        "checkpoint": None,
        **sizes,
        "drop_path": DROP_PATH,
    }


def _window(rows: int, index: Tensor | None) -> list[int]:
    """The window whose bias table has this many rows, (2a - 1)(2b - 1)^2, and (where given) whose
    index has a b^2 rows.
    """
    fits = [
        [a, b, b]
        for b in range(1, 17)
        for a in range(1, 33)
        if (2 * a - 1) * (2 * b - 1) ** 2 == rows and (index is None or a * b * b == len(index))
    ]
    published = [8, 7, 7]
    if published in fits or not fits:
        return published
    return fits[0]


def _count(state: dict[str, Tensor], prefix: str) -> int:
    """How many numbered parts begin with `prefix`."""
    return len({name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)})
