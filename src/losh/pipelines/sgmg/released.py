"""Names of the released SgMg code."""

from __future__ import annotations

# (pattern of our name, pattern of the released name); `#` is a number
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
ALIASES = [("transformer.decoder.bbox_embed.", "bbox_embed.")]
"""The released code keeps these parameters under two names: (second name, name)."""
