"""On a CUDA device nothing meets a tensor of the CPU: seen without one, on tensors without numbers.

A fake tensor knows its shape, its type and the device it would lie on; an operation on two devices
fails as it would there, and so does one that reads a number, for which a GPU would be waited for.
Gradients, matching and speed they do not show.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from losh.backbones import video_swin_blocks
from losh.backbones.attention_windows import WindowPlan, cached_window_plan
from losh.layers.query_losses import box_losses
from losh.model.consistency import consistency_loss
from losh.testing.small_models import (
    PIPELINES,
    consistency_params,
    random_flow,
    small_clips,
    small_model,
    words,
)

CUDA = torch.device("cuda:0")
SIZE = (96, 128)


def on_cuda(x: Any, mode: FakeTensorMode) -> Any:
    """A fake copy of all tensors of it."""
    if isinstance(x, torch.Tensor):
        with mode:
            return torch.empty(x.shape, dtype=x.dtype, device=CUDA, requires_grad=x.requires_grad)
    if isinstance(x, list):
        return [on_cuda(one, mode) for one in x]
    if is_dataclass(x) and not isinstance(x, type):
        parts = {field.name: on_cuda(getattr(x, field.name), mode) for field in fields(x)}
        return replace(x, **parts)
    return x


@pytest.fixture
def mode(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeTensorMode]:
    """Fake tensors, with what is worked out in numbers on the CPU done there."""
    fake = FakeTensorMode()

    def planned(*given: Any) -> WindowPlan:
        *sizes, device, asked = given
        if device != CUDA:
            return cached_window_plan(*given)
        with unset_fake_temporarily():
            plan = cached_window_plan(*sizes, torch.device("cpu"), asked)
        return on_cuda(plan, fake)

    monkeypatch.setattr(video_swin_blocks, "cached_window_plan", planned)
    with sdpa_kernel(SDPBackend.MATH):  # the others ask the GPU what it can do
        yield fake


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("base", PIPELINES)
def test_a_forward_pass_stays_on_its_device(
    base: str, training: bool, joint: bool, mode: FakeTensorMode
) -> None:
    model = small_model(base=base, dropout=0.1).train(training)
    given = on_cuda([small_clips(size=SIZE), words((5, 3)), words((2, 3), seed=1)], mode)
    state = model.state_dict(keep_vars=True)  # parameters, which ask for gradients
    weights = {name: on_cuda(value, mode) for name, value in state.items()}
    how = {"joint": joint, "last_only": not training}
    with mode, torch.set_grad_enabled(training):
        found = functional_call(model, weights, (*given,), how)
    streams = [found.long, found.short] if joint else [found.long]
    made = [x for layers in streams for layer in layers for x in (layer.masks, layer.scores)]
    assert len(made) == 2 * len(streams) * (2 if training else 1)
    assert all(x.device == CUDA for x in [*made, *found.video.levels])


def test_the_consistency_loss_asks_its_device_for_one_thing(
    mode: FakeTensorMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which pairs of frames have a flow."""
    clips, asked = small_clips(size=SIZE), []
    video = small_model().base.encode_video(clips.frames, clips.pad)
    given = on_cuda([video, clips.annotated, random_flow(clips)], mode)
    pairs = on_cuda([torch.zeros(6, dtype=torch.long)] * 3, mode)
    monkeypatch.setattr(
        torch.Tensor, "nonzero", lambda x, as_tuple: asked.append(x.shape) or tuple(pairs)
    )
    with mode:
        loss = consistency_loss(*given, consistency_params())
    assert loss.device == CUDA and asked == [(2, 2, 2)]


def test_box_losses_ask_their_device_for_nothing(mode: FakeTensorMode) -> None:
    made = box_losses(*on_cuda([torch.rand(3, 4), torch.rand(3, 4)], mode))
    assert all(x.device == CUDA for x in made)
