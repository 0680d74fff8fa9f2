"""Real sizes run: one training step of each published backbone with RoBERTa-base sizes."""

from __future__ import annotations

import pytest
import torch
from transformers import RobertaConfig

from losh.commands.recipe import use_recipe
from losh.model.build import build_model
from losh.model.criterion import Criterion
from losh.model.structures import ClipFlow, Clips, Targets, TextIds
from losh.model.text_encoder import TextEncoder
from losh.params import load_params
from losh.testing.tiny_training import ROOT

ROBERTA_BASE = {
    "vocab_size": 50265,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
    "pad_token_id": 1,
}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipe")
    use_recipe(
        "losh_a2d_sentences", ROOT / "recipes", folder / "params.yaml", folder / "previous.yaml"
    )
    return load_params(folder / "params.yaml")


@pytest.fixture(scope="module")
def roberta():
    torch.manual_seed(0)
    return TextEncoder.from_config(RobertaConfig(**ROBERTA_BASE))


def one_step(recipe, roberta, name: str, frames: int, size: tuple[int, int], batch: int) -> float:
    params = recipe.model.model_copy(
        update={
            "backbone": recipe.model.backbone.model_copy(update={"name": name, "checkpoint": None})
        }
    )
    torch.manual_seed(0)
    model = build_model(params, recipe.pipeline, roberta).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    height, width = size
    clips = Clips(
        torch.randn(batch, frames, 3, *size),
        torch.zeros(batch, frames, *size, dtype=torch.bool),
        torch.full((batch, 1), frames // 2),
    )
    ids = torch.randint(4, 50265, (batch, 8))
    text = TextIds(ids, torch.ones_like(ids))
    targets = [
        Targets(torch.rand(2, 1, *size) > 0.7, 0, torch.ones(1, dtype=torch.bool))
        for _ in range(batch)
    ]
    grid = (batch, 1, 2, 2, height // 4, width // 4)
    neighbours = torch.tensor([frames // 2 - 1, frames // 2 + 1]).expand(batch, 1, 2)
    flow = ClipFlow(
        torch.zeros(grid), torch.zeros(grid), neighbours, torch.ones(batch, 1, 2, dtype=torch.bool)
    )
    loss = Criterion(model.base, recipe.train.losses, recipe.train.consistency)(
        model(clips, text, text), targets, flow
    )["total"]
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    before = model.base.kernel_head[0].weight.detach().clone()
    optimizer.step()
    assert not torch.equal(before, model.base.kernel_head[0].weight)
    return loss.item()


@pytest.mark.parametrize(
    "name", ["video_swin_t", "video_swin_s", "video_swin_b", "resnet50", "resnet101"]
)
def test_one_step_of_each_published_backbone(recipe, roberta, name):
    assert one_step(recipe, roberta, name, 3, (64, 96), 1) > 0


@pytest.mark.slow
def test_one_step_at_the_published_size(recipe, roberta):
    """Window 10, 320 x 576, 3 clips: the published step of one GPU."""
    assert one_step(recipe, roberta, "video_swin_t", 10, (320, 576), 3) > 0
