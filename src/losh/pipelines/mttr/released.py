"""The released checkpoints of MTTR and of LoSh on MTTR."""

from __future__ import annotations

from typing import Any

from losh.model.released_format import ReleasedFormat, Shapes

NUM_HEADS, DROPOUT = 8, 0.1  # published; no weight shows them
LOSSES = {  # published weights; the file does not hold them
    "reference": 2.0,
    "focal": 2.0,
    "dice": 5.0,
    "no_object": 0.1,
    "encoder_reference": 0.0,
    "mask_stride": 1,
}
RENAMES = [
    ("base.backbone.", "backbone."),
    ("base.text_encoder.model.", "transformer.text_encoder."),
    ("base.encoder.#.", "transformer.encoder.layers.#."),
    ("base.decoder.#.cross_attn.", "transformer.decoder.layers.#.multihead_attn."),
    ("base.decoder.#.", "transformer.decoder.layers.#."),
    ("base.decoder_norm.", "transformer.decoder.norm."),
    ("base.text_projection.fc.", "transformer.txt_proj.fc."),
    ("base.text_projection.norm.", "transformer.txt_proj.layer_norm."),
    ("base.queries.", "obj_queries."),
    ("base.video_projection.", "vid_embed_proj."),
    ("base.reference_head.", "is_referred_head."),
    ("base.kernel_head.0.", "instance_kernels_head.layers.0."),
    ("base.kernel_head.2.", "instance_kernels_head.layers.1."),
    ("base.spatial_decoder.convs.#.", "spatial_decoder.lay#+1."),
    ("base.spatial_decoder.norms.#.", "spatial_decoder.gn#+1."),
    ("base.spatial_decoder.adapters.#.", "spatial_decoder.adapter#+1."),
    ("base.spatial_decoder.out.", "spatial_decoder.out_lay."),
]


def pipeline_section(shapes: Shapes) -> dict[str, Any]:
    """MTTR's own section of params.yaml."""
    queries, width = shapes.of("obj_queries.weight")
    return {
        "d_model": width,
        "num_heads": NUM_HEADS,
        "ffn_dim": shapes.of("transformer.encoder.layers.0.linear1.weight")[0],
        "dropout": DROPOUT,
        "encoder_layers": shapes.count("transformer.encoder.layers."),
        "decoder_layers": shapes.count("transformer.decoder.layers."),
        "num_queries": queries,
        "kernel_dim": shapes.of("spatial_decoder.out_lay.weight")[0],
        "losses": LOSSES,
    }


RELEASED_FORMAT = ReleasedFormat(
    base="mttr",
    title="LoSh on MTTR",
    mark="obj_queries.weight",
    weights_key="model_state_dict",
    backbone="backbone.",
    text="transformer.text_encoder.",
    renames=RENAMES,
    pipeline=pipeline_section,
    short_stream=True,
    drop_path=0.1,
    input={"window": 10, "short_side": 320, "long_side": 576},  # A2D-Sentences
)
