"""The released SgMg checkpoints: names of their weights, and sizes read off their shapes."""

from __future__ import annotations

from typing import Any

from losh.model.released_format import ReleasedFormat, Shapes

HEADS, POINTS, DROPOUT = 8, 4, 0.1  # published; no weight shows them alone
LOSSES = {
    "reference": 2.0,
    "box": 5.0,
    "giou": 2.0,
    "focal": 2.0,
    "dice": 5.0,
    "focal_low": 2.0,
    "dice_low": 5.0,
}
RENAMES = [
    ("base.backbone.", "backbone.0.body."),
    ("base.text_encoder.model.", "text_encoder.text_backbone."),
    ("base.word_projection.fc.", "text_proj.fc."),
    ("base.word_projection.norm.", "text_proj.layer_norm."),
    ("base.sentence_projection.fc.", "sentence_proj.fc."),
    ("base.sentence_projection.norm.", "sentence_proj.layer_norm."),
    ("base.input_projections.levels.", "input_proj."),
    ("base.fusion.attention.", "fusion_module.multihead_attn."),
    ("base.before_words.#.laplace.", "input_fft.#.laplace."),
    ("base.before_words.#.strength.", "input_fft.#.fc."),
    ("base.before_words.#.mix.0.", "input_fft.#.conv1."),
    ("base.before_words.#.mix.2.", "input_fft.#.conv2."),
    ("base.after_words.#.laplace.", "input_fft_post.#.laplace."),
    ("base.after_words.#.strength.", "input_fft_post.#.fc."),
    ("base.after_words.#.mix.0.", "input_fft_post.#.conv1."),
    ("base.after_words.#.mix.2.", "input_fft_post.#.conv2."),
    ("base.level_embed", "transformer.level_embed"),
    ("base.encoder.layers.", "transformer.encoder.layers."),
    ("base.decoder.layers.", "transformer.decoder.layers."),
    ("base.queries.", "query_embed."),
    ("base.reference_points.", "transformer.reference_points."),
    ("base.class_heads.", "class_embed."),
    ("base.box_heads.", "bbox_embed."),
    ("base.controller.", "controller."),
    ("base.refiner.coarse.1.", "mask_refine.conv1_1div8."),
    ("base.refiner.coarse.3.", "mask_refine.conv2_1div8."),
    ("base.refiner.fine.1.", "mask_refine.conv1_1div4."),
    ("base.refiner.fine.3.", "mask_refine.conv2_1div4."),
]


def pipeline_section(shapes: Shapes) -> dict[str, Any]:
    """SgMg's own section of params.yaml."""
    queries, width = shapes.of("query_embed.weight")
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
        "losses": LOSSES,
    }


RELEASED_FORMAT = ReleasedFormat(
    base="sgmg",
    title="SgMg",
    mark="mask_refine.conv1_1div8.weight",
    weights_key="model",
    backbone="backbone.0.body.",
    text="text_encoder.text_backbone.",
    renames=RENAMES,
    pipeline=pipeline_section,
    short_stream=False,
    drop_path=0.2,
    input={"window": 5, "short_side": 360, "long_side": 640},
    aliases=(("transformer.decoder.bbox_embed.", "bbox_embed."),),
    resnets=True,
)
