"""A model small enough for tests, and inputs for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import RobertaConfig

from losh.model.build import build_model
from losh.model.checkpoint import save_model, text_encoder_from
from losh.model.criterion import Criterion
from losh.model.losh import LoSh
from losh.model.structures import ClipFlow, Clips, LoShOutput, Targets, TextFeats, TextIds
from losh.params import ConsistencyParams, LossParams, ModelParams
from losh.pipelines import parameters_class, pipeline_class
from losh.testing.tiny_training import TINY_FRAMES, tiny_params

TEXT_WIDTH = 16


def roberta_config(
    vocab_size: int, width: int, layers: int, heads: int, ffn: int, positions: int
) -> dict[str, object]:
    """Return a RoBERTa of another size than roberta-base, all else as there."""
    return RobertaConfig(
        vocab_size=vocab_size,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=ffn,
        max_position_embeddings=positions,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        pad_token_id=1,
    ).to_diff_dict()


TEXT_CONFIG = roberta_config(40, TEXT_WIDTH, layers=1, heads=2, ffn=24, positions=34)
BACKBONE = {
    "name": "video_swin",
    "checkpoint": None,
    "embed_dim": 8,
    "depths": [1, 1, 2],
    "num_heads": [1, 2, 2],
    "window_size": [2, 3, 3],
    "drop_path": 0.0,
}
MODEL = {
    "base": "mttr",
    "backbone": BACKBONE,
    "text_encoder": "roberta",
    "short_stream": True,
    "cross_attention": True,
    "cross_attention_blocks": 2,
    "cross_attention_place": "inside",
    "cross_attention_levels": None,
}
LOSSES = {
    "reference": 2.0,
    "focal": 2.0,
    "dice": 5.0,
    "no_object": 0.1,
    "encoder_reference": 0.0,
    "encoder_reference_streams": "both",
    "mask_stride": 1,
}
MTTR = {
    "d_model": 32,
    "num_heads": 2,
    "ffn_dim": 48,
    "dropout": 0.0,
    "encoder_layers": 3,
    "decoder_layers": 2,
    "num_queries": 6,
    "kernel_dim": 4,
    "losses": LOSSES,
}


REFERFORMER = {
    "d_model": 32,
    "num_heads": 2,
    "ffn_dim": 48,
    "dropout": 0.0,
    "encoder_layers": 3,
    "decoder_layers": 2,
    "num_queries": 4,
    "feature_levels": 3,
    "points": 2,
    "mask_layers": 3,
    "mask_channels": 4,
    "losses": {"reference": 2.0, "box": 5.0, "giou": 2.0, "focal": 2.0, "dice": 5.0},
}
SGMG = {
    "d_model": 32,
    "num_heads": 2,
    "ffn_dim": 48,
    "dropout": 0.0,
    "encoder_layers": 3,
    "decoder_layers": 2,
    "num_queries": 4,
    "feature_levels": 2,
    "points": 2,
    "losses": {
        "reference": 2.0,
        "box": 5.0,
        "giou": 2.0,
        "focal": 2.0,
        "dice": 5.0,
        "focal_low": 2.0,
        "dice_low": 5.0,
    },
}
PIPELINES = {"mttr": MTTR, "referformer": REFERFORMER, "sgmg": SGMG}


def save_untrained(path: Path, **changes: object) -> Path:
    """Write a model file of `tiny_params` with `changes` and the weights of seed 0; its path."""
    torch.manual_seed(0)
    params = tiny_params(**changes)
    config = {"model": params.model.model_dump(), "pipeline": params.pipeline.model_dump()}
    sizes = {"window": TINY_FRAMES.window, "short_side": 48, "long_side": 576}
    save_model(path, build_model(params.model, params.pipeline), config | sizes)
    return path


def small_model(seed: int = 0, **changes: object) -> LoSh:
    """Build a model in eval mode, on MTTR where `base` names no other pipeline.

    `changes` are to its sections of params.yaml, `losses` to the weights of one stream's losses.
    """
    torch.manual_seed(seed)
    base = changes.get("base", "mttr")
    section = PIPELINES[base]
    own = {key: value for key, value in changes.items() if key in section and key != "losses"}
    losses = {**section["losses"], **changes.get("losses", {})}
    common = {key: value for key, value in changes.items() if key in MODEL}
    assert not changes.keys() - own.keys() - common.keys() - {"losses"}
    pipeline = parameters_class(base).model_validate({**section, **own, "losses": losses})
    params = ModelParams.model_validate({**MODEL, **common})
    pooled = pipeline_class(base).uses_sentence
    return build_model(params, pipeline, text_encoder_from(TEXT_CONFIG, pooled)).eval()


def opened(model: LoSh) -> LoSh:
    """Return the model with its cross-attention opened, as training would.

    At first it is an identity.
    """
    for name, parameter in model.named_parameters():
        if name.startswith("cross") and name.endswith("norm.weight"):
            torch.nn.init.constant_(parameter, 0.5)
    return model


def small_clips(
    seed: int = 0,
    clips: int = 2,
    frames: int = 4,
    size: tuple[int, int] = (40, 56),
    annotated: tuple[int, ...] = (1, 2),
) -> Clips:
    """Random clips; the second one is padded on the right."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randn(clips, frames, 3, *size, generator=generator)
    pad = torch.zeros(clips, frames, *size, dtype=torch.bool)
    if clips > 1:
        pad[1, :, :, size[1] - 16 :] = True
    return Clips(
        pixels.masked_fill(pad[:, :, None], 0), pad, torch.tensor(annotated).expand(clips, -1)
    )


def words(lengths: tuple[int, ...], seed: int = 0) -> TextFeats:
    """Random raw features of sentences with these numbers of words."""
    generator = torch.Generator().manual_seed(seed)
    pad = torch.arange(max(lengths))[None] >= torch.tensor(lengths)[:, None]
    features = torch.randn(*pad.shape, TEXT_WIDTH, generator=generator)
    sentence = torch.randn(len(lengths), TEXT_WIDTH, generator=generator)
    return TextFeats(features.masked_fill(pad[..., None], 0), pad, sentence)


def sentence_ids(lengths: tuple[int, ...], seed: int = 0) -> TextIds:
    """Random tokens of sentences with these lengths, padded with RoBERTa's 1."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
    return TextIds(
        torch.randint(3, 40, mask.shape, generator=generator).where(mask, torch.tensor(1)),
        mask.long(),
    )


def random_targets(
    counts: tuple[int, ...], frames: int = 2, size: tuple[int, int] = (40, 56), seed: int = 0
) -> list[Targets]:
    """For each clip so many instances with random masks; the last one is the referred one."""
    generator = torch.Generator().manual_seed(seed)
    return [
        Targets(
            torch.rand(n, frames, *size, generator=generator) > 0.6,
            n - 1,
            torch.ones(frames, dtype=torch.bool),
        )
        for n in counts
    ]


def random_flow(clips: Clips, scale: float = 0.2, seed: int = 0) -> ClipFlow:
    """Small random flows to the neighbours that the window has."""
    generator = torch.Generator().manual_seed(seed)
    (b, k), t = clips.annotated.shape, clips.frames.shape[1]
    neighbour = torch.stack([clips.annotated - 1, clips.annotated + 1], -1)
    h, w = (-(-side // 4) for side in clips.frames.shape[-2:])
    fields = scale * torch.randn(2, b, k, 2, 2, h, w, generator=generator)
    return ClipFlow(fields[0], fields[1], neighbour, (neighbour >= 0) & (neighbour < t))


def loss_params(**changes: object) -> LossParams:
    """LoSh's own weights with `changes`."""
    published = {
        "intersection": 0.8,
        "intersection_form": "hard",
        "consistency": 0.5,
        "auxiliary": True,
    }
    return LossParams.model_validate({**published, **changes})


def criterion_of(model: LoSh | None = None, **changes: object) -> Criterion:
    """Make a criterion with the published weights and `changes` to LoSh's or MTTR's.

    On a small MTTR where no model is given (then only its objective matters).
    """
    own = {key: value for key, value in changes.items() if key in LOSSES}
    ours = {key: value for key, value in changes.items() if key not in LOSSES}
    base = (model or small_model(losses=own)).base
    if own and model is not None:
        params: Any = base.params
        losses = type(params.losses).model_validate({**LOSSES, **own})
        base.params = params.model_copy(update={"losses": losses})
    return Criterion(base, loss_params(**ours), consistency_params())


def consistency_params(**changes: object) -> ConsistencyParams:
    return ConsistencyParams.model_validate(
        {
            "levels": [0, 1, 2],
            "distance": "cosine",
            "occlusion": False,
            "stop_gradient": "none",
            **changes,
        }
    )


def run(
    model: LoSh,
    clips: Clips | None = None,
    long: TextFeats | None = None,
    short: TextFeats | None = None,
) -> LoShOutput:
    """Return a forward pass on the small inputs, with what is given in place of them."""
    return model(clips or small_clips(), long or words((5, 3)), short or words((2, 3), seed=1))
