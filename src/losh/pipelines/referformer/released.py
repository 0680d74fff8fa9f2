"""The released ReferFormer checkpoints: names of their weights, and sizes read off their shapes."""

from __future__ import annotations

# (start of our name, start of the released name); `#` is a number, `#+1` the number plus one
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
