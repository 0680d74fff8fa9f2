"""The released ReferFormer checkpoints: names of their weights, and sizes read off their shapes."""

from __future__ import annotations

from typing import Any

from losh.model.released_format import ReleasedFormat, Shapes

HEADS, POINTS, DROPOUT = 8, 4, 0.1  # published; no weight shows them alone
LOSSES = {"reference": 2.0, "box": 5.0, "giou": 2.0, "focal": 2.0, "dice": 5.0}
RENAMES = [
    ("base.backbone.", "backbone.0.body."),
    ("base.text_encoder.model.", "text_encoder."),
    ("base.text_projection.fc.", "resizer.fc."),
    ("base.text_projection.norm.", "resizer.layer_norm."),
    ("base.input_projections.levels.#.", "input_proj.#."),
    ("base.fusion.attention.", "fusion_module.multihead_attn."),
    ("base.level_embed", "transformer.level_embed"),
    ("base.encoder.layers.#.", "transformer.encoder.layers.#."),
    ("base.decoder.layers.#.", "transformer.decoder.layers.#."),
    ("base.queries.", "query_embed."),
    ("base.reference_points.", "transformer.reference_points."),
    ("base.class_heads.#.", "class_embed.#."),
    ("base.box_heads.#.", "bbox_embed.#."),
    ("base.pixel_decoder.levels.#.lateral.", "pixel_decoder.adapter_#+1."),
    ("base.pixel_decoder.levels.#.lateral_norm.", "pixel_decoder.adapter_#+1.norm."),
    (
        "base.pixel_decoder.levels.#.block.cross_attn.",
        "pixel_decoder.cross_attn_#+1.multihead_attn.",
    ),
    ("base.pixel_decoder.levels.#.block.", "pixel_decoder.cross_attn_#+1."),
    ("base.pixel_decoder.levels.#.merge.", "pixel_decoder.layer_#+1."),
    ("base.pixel_decoder.levels.#.merge_norm.", "pixel_decoder.layer_#+1.norm."),
    ("base.pixel_decoder.out.", "pixel_decoder.mask_features."),
    ("base.controller.", "controller."),
]


def pipeline_section(shapes: Shapes) -> dict[str, Any]:
    """ReferFormer's own section of params.yaml."""
    queries, width = shapes.of("query_embed.weight")
    numbers = shapes.of("controller.layers.2.weight")[0]
    layers, channels = _mask_network(width, numbers)
    return {
        "d_model": width,
        "num_heads": HEADS,
        "ffn_dim": shapes.of("transformer.encoder.layers.0.linear1.weight")[0],
        "dropout": DROPOUT,
        "encoder_layers": shapes.count("transformer.encoder.layers."),
        "decoder_layers": shapes.count("transformer.decoder.layers."),
        "num_queries": queries,
        "feature_levels": shapes.of("transformer.level_embed")[0],
        "points": POINTS,
        "mask_layers": layers,
        "mask_channels": channels,
        "losses": LOSSES,
    }


def _mask_network(width: int, numbers: int) -> tuple[int, int]:
    """Layers and channels of a mask network of this many parameters; 3 and 8 are published."""
    found = [
        (layers, c)
        for layers in range(2, 9)
        for c in range(1, 257)
        if (width + 3) * c + (layers - 2) * (c * c + c) + c + 1 == numbers
    ]
    return min(found, key=lambda pair: (pair[0] != 3, pair)) if found else (3, 8)


RELEASED_FORMAT = ReleasedFormat(
    base="referformer",
    title="ReferFormer",
    mark="pixel_decoder.mask_features.weight",
    weights_key="model",
    backbone="backbone.0.body.",
    text="text_encoder.",
    renames=RENAMES,
    pipeline=pipeline_section,
    short_stream=False,
    drop_path=0.2,
    input={"window": 5, "short_side": 360, "long_side": 640},
    aliases=(("transformer.decoder.bbox_embed.", "bbox_embed."),),
    resnets=True,
)
