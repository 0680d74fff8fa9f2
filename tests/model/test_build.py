"""Models of other shapes than the published one build and run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from losh.model.build import build_model
from losh.model.checkpoint import text_encoder_from
from losh.model.criterion import Criterion
from losh.params import load_params
from losh.testing.small_models import (
    BACKBONE,
    TEXT_CONFIG,
    random_targets,
    run,
    small_clips,
    small_model,
    words,
)


def shapes(model: torch.nn.Module) -> tuple:
    output = run(model)
    return tuple(output.long[-1].masks.shape), tuple(output.long[-1].scores.shape)


@pytest.mark.parametrize(
    ("changes", "masks"),
    [
        ({}, (2, 2, 6, 10, 14)),
        (
            {
                "num_queries": 1,
                "encoder_layers": 1,
                "cross_attention_blocks": 1,
                "decoder_layers": 1,
            },
            (2, 2, 1, 10, 14),
        ),
        ({"d_model": 4, "num_heads": 1, "kernel_dim": 1}, (2, 2, 6, 10, 14)),
        ({"backbone": {**BACKBONE, "depths": [1, 1], "num_heads": [1, 2]}}, (2, 2, 6, 10, 14)),
        ({"backbone": {"name": "resnet50", "checkpoint": None}}, (2, 2, 6, 10, 14)),
    ],
)
def test_shapes(changes: dict, masks: tuple[int, ...]) -> None:
    assert shapes(small_model(**changes)) == (masks, (*masks[:3], 2))


def test_the_shipped_parameters_build() -> None:
    params = load_params(Path(__file__).parents[2] / "params.yaml")
    fresh = params.model.backbone.model_copy(update={"checkpoint": None})
    model = build_model(
        params.model.model_copy(update={"backbone": fresh}),
        params.pipeline,
        text_encoder_from(TEXT_CONFIG),
    )
    output = run(model.eval())
    criterion = Criterion(model.base, params.train.losses, params.train.consistency)
    losses = criterion(output, random_targets((2, 1)))
    assert len(output.long) == params.pipeline.decoder_layers and torch.isfinite(losses["total"])


def test_features_are_given_back_for_all_frames_and_once() -> None:
    """The consistency loss reads neighbours that are not annotated, and each clip once although
    both streams run.
    """
    clips = small_clips()
    output = run(small_model(), clips)
    assert output.video.levels[0].shape[:2] == clips.frames.shape[:2]
    assert output.video.pads[0].shape == (*clips.frames.shape[:2], 10, 14)
    assert torch.equal(output.annotated, clips.annotated)


def test_given_features_save_the_backbone() -> None:
    """Several expressions on one clip: the visual encoder runs once."""
    model, clips, texts = small_model(), small_clips(), (words((5, 3)), words((2, 3), seed=1))
    video = model.base.encode_video(clips.frames, clips.pad)
    model.base.backbone.forward = None
    again = model(clips, *texts, video=video)
    assert torch.equal(again.long[-1].masks, run(small_model()).long[-1].masks)


def test_levels_are_projected_once_for_all_expressions_and_streams() -> None:
    """What depends on the frame alone is not computed again for each expression of each stream."""
    model, rows = small_model(), torch.tensor([0, 0, 0, 1])
    clips = replace(small_clips(), rows=rows)
    seen: list[int] = []
    layers = [model.base.video_projection, *model.base.spatial_decoder.adapters]
    for layer in layers:
        layer.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    output = run(model, clips, words((5, 4, 3, 5)), words((2, 2, 3, 2)))
    assert len(output.long[-1].masks) == 4
    assert seen == [clips.annotated.numel()] * len(layers)
