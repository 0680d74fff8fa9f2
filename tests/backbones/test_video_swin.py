"""Video-Swin: windows, shifts, position index, blocked attention, released features."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from plain_windows import cut_windows, join_windows, plain_attention, regions
from torch import Tensor

from losh.backbones import biased_attention as attention
from losh.backbones.attention_windows import (
    MASKED,
    WindowKind,
    WindowPlan,
    attention_biases,
    displacements,
    fit_window,
    relative_position_index,
    window_plan,
)
from losh.backbones.video_swin import PRESETS, VideoSwin
from losh.backbones.video_swin_blocks import SwinBlock, WindowAttention
from losh.testing.parity_fixture import INPUTS, RECIPES, arrays, needs_fixture, recipe

CPU = torch.device("cpu")


def small(**changes: object) -> VideoSwin:
    """A network that attends in earnest: random biases and norms, not the near-zero ones it is born
    with.
    """
    torch.manual_seed(0)
    model = VideoSwin(
        **{
            "embed_dim": 8,
            "depths": (2, 2, 2),
            "num_heads": (1, 2, 4),
            "window_size": (2, 3, 3),
            **changes,
        }
    )
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1 or name.endswith("table"):
            parameter.data.add_(0.3 * torch.randn_like(parameter))
        else:
            parameter.data.mul_(8)
    return model.eval()


def stats(x: np.ndarray) -> np.ndarray:
    return np.array([x.mean(), x.std(), np.abs(x).max()])


@needs_fixture
@pytest.mark.parametrize(("case", "atol"), [("A", 2e-5), ("B", 1e-4), ("Cfix", 1e-4)])
@pytest.mark.parametrize("grad", [False, True], ids=["fused", "blocked"])
def test_parity_of_every_stage(case: str, atol: float, grad: bool) -> None:
    """Both forms of the attention; the tolerances are those of the fixture's section 8."""
    data = arrays()
    model = VideoSwin(**vars_of("video_swin_t")).eval()
    model.load_state_dict(
        {
            name: recipe(RECIPES[case], f"backbone.{name}", tuple(value.shape))
            for name, value in model.state_dict().items()
        }
    )
    frames = torch.from_numpy(data[f"{INPUTS[case]}.frames"]).transpose(0, 1)
    with torch.set_grad_enabled(grad):
        levels = model(frames)
    frame = int(data[f"{INPUTS[case]}.valid_indices"][0])
    for i, level in enumerate(levels):
        ours = level.detach().transpose(0, 1).double().numpy()  # [T, B, C, h, w]
        np.testing.assert_allclose(stats(ours), data[f"{case}.stage{i}_stats"], rtol=0, atol=atol)
        by_frame = np.array([[stats(clip) for clip in clips] for clips in ours])
        np.testing.assert_allclose(
            by_frame, data[f"{case}.stage{i}_frame_stats"], rtol=0, atol=atol
        )
        for name, step in (
            (f"{case}.stage{i}_valid", 1),
            (f"{case}.stage{i}_valid_sub", (4, 2)[min(i, 1)]),
        ):
            if name in data:
                np.testing.assert_allclose(
                    ours[frame][..., ::step, ::step], data[name], rtol=0, atol=atol
                )


def vars_of(preset: str) -> dict[str, object]:
    return dict(vars(PRESETS[preset].cut(3)))


@pytest.mark.parametrize("size", [(1, 32, 32), (3, 33, 50), (5, 4, 70)])
def test_every_frame_has_features_at_every_stride(size: tuple[int, int, int]) -> None:
    model, (T, H, W) = small(), size
    levels = model(torch.randn(2, T, 3, H, W))
    assert model.channels == [8, 16, 32] and model.strides == [4, 8, 16]
    for level, channels, stride in zip(levels, model.channels, model.strides, strict=True):
        assert level.shape == (2, T, channels, -(-H // stride), -(-W // stride))


def test_a_clip_is_the_same_alone_and_in_a_batch() -> None:
    model, frames = small(), torch.randn(3, 4, 3, 40, 44)
    with torch.no_grad():
        together, alone = model(frames), model(frames[1:2])
    for a, b in zip(together, alone, strict=True):
        assert torch.allclose(a[1:2], b, atol=1e-5)


def test_frames_see_each_other_only_through_attention_windows() -> None:
    """Window of 2 frames: frame 0 reaches frame 1 in the first block, and frame 2 only after a
    shifted one.
    """
    frames = torch.randn(1, 4, 3, 24, 24)
    changed = frames.clone()
    changed[:, 0] += 1
    touched = []
    for depth in (1, 2):
        model = small(depths=(depth,), num_heads=(1,))
        with torch.no_grad():
            difference = (model(frames)[0] - model(changed)[0]).abs().amax((0, 2, 3, 4))
        touched.append((difference > 0).tolist())
    assert touched == [[True, True, False, False], [True, True, True, False]]


def test_position_index_tells_displacements_apart() -> None:
    window = (2, 3, 4)
    places = list(itertools.product(*map(range, window)))
    index = relative_position_index(window)
    rows: dict[tuple[int, ...], int] = {}
    for (i, a), (j, b) in itertools.product(enumerate(places), repeat=2):
        displacement = tuple(x - y for x, y in zip(a, b, strict=True))
        assert rows.setdefault(displacement, int(index[i, j])) == index[i, j]
    assert sorted(rows.values()) == list(range(3 * 5 * 7))
    assert (
        rows[-1, -2, -3] == 0
        and rows[0, 0, 1] - rows[0, 0, 0] == 1
        and rows[1, 0, 0] - rows[0, 0, 0] == 35
    )


def test_a_clamped_window_takes_the_corner_of_the_full_index() -> None:
    """Published behaviour, although tokens of a window clamped in height get the coordinates of
    other places.
    """
    full, clamped = (2, 3, 3), (2, 2, 3)  # to two rows
    table, index = torch.randn(displacements(full), 2), relative_position_index(full)
    [bias] = attention_biases(table, window_plan(1, clamped, clamped, (0, 0, 0), full, CPU).kinds)
    assert bias.shape == (2, 12, 12)
    for i, j in ((0, 11), (7, 2), (4, 4)):
        assert torch.equal(bias[:, i, j], table[index[i, j]])
    assert fit_window((1, 2, 9), (2, 3, 3), (1, 1, 1)) == ((1, 2, 3), (0, 0, 1))
    assert fit_window((2, 3, 3), (2, 3, 3), (1, 1, 1)) == ((2, 3, 3), (0, 0, 0))


SHIFTED = [
    ((4, 6, 8), (2, 3, 4), (1, 1, 2)),
    ((2, 9, 6), (2, 3, 3), (0, 1, 1)),
    ((8, 2, 2), (4, 2, 2), (2, 0, 0)),
    ((5, 7, 9), (4, 3, 4), (2, 1, 2)),  # padding that begins before the last window
]


@pytest.mark.parametrize(("size", "window", "shift"), SHIFTED)
def test_windows_hold_every_token_once_and_separate_what_the_roll_brought_together(
    size: tuple, window: tuple, shift: tuple
) -> None:
    """Against the plain construction: number the tokens and the regions, pad, roll, cut."""
    whole = tuple(cells + -cells % reach for cells, reach in zip(size, window, strict=True))
    numbers = torch.arange(math.prod(size)).view(1, *size, 1) + 1.0
    numbers = F.pad(
        numbers, (0, 0, 0, whole[2] - size[2], 0, whole[1] - size[1], 0, whole[0] - size[0])
    )
    numbers = cut_windows(numbers.roll([-step for step in shift], (1, 2, 3)), window)[0, :, :, 0]
    region = regions(whole, window, shift)
    expected = {
        tuple(int(n) - 1 for n in row if n): (row, beyond)
        for row, beyond in zip(numbers, region, strict=True)
    }
    plan = window_plan(1, size, window, shift, window, CPU)
    index, elsewhere = relative_position_index(window), displacements(window)
    everything = torch.arange(math.prod(size))
    assert torch.equal(plan.order[plan.inverse], everything)
    assert torch.equal(plan.answers[plan.answers_inverse], everything)
    rows, padded = plan.order.clone(), 0
    if plan.empty is not None:
        rows[plan.empty], padded = -1, len(plan.empty)
    assert len(rows) == len(everything) + padded
    assert torch.equal(rows[rows >= 0], plan.answers)  # all ask
    parts = rows.split([kind.windows * kind.keys for kind in plan.kinds])
    for kind, part in zip(plan.kinds, parts, strict=True):
        for tokens in part.view(kind.windows, kind.keys).tolist():
            assert not kind.padded or tokens.pop() == -1
            row, beyond = expected.pop(tuple(tokens))
            places = torch.cat([row.nonzero()[:, 0], (row == 0).nonzero()[:, 0]])
            assert kind.padded == bool((row == 0).any())
            beyond, index_of = beyond[places], index[places][:, places]
            apart = beyond[: kind.tokens, None] != beyond[None]
            wanted = index_of[: kind.tokens].masked_fill(apart, elsewhere)
            assert torch.equal(kind.pairs[:, : kind.tokens], wanted[:, : kind.tokens])
            if kind.padding is not None:
                assert torch.equal(kind.padding, wanted[:, kind.tokens :])
                folded = elsewhere + 1 + torch.arange(kind.tokens)
                assert torch.equal(kind.pairs[:, -1], folded)
    assert not expected


@pytest.mark.parametrize("clips", [1, 2])
@pytest.mark.parametrize("grad", [False, True], ids=["fused", "blocked"])
@pytest.mark.parametrize(("size", "window", "shift"), [*SHIFTED, ((3, 2, 5), (4, 3, 3), (2, 1, 1))])
@pytest.mark.parametrize("qkv_bias", [True, False])
def test_attention_without_padding_is_the_published_one(
    size: tuple, window: tuple, shift: tuple, grad: bool, clips: int, qkv_bias: bool
) -> None:
    """Value and every gradient, in float64."""
    torch.manual_seed(0)
    module = WindowAttention(8, 2, window, shift, qkv_bias).double()
    for parameter in module.parameters():
        parameter.data.normal_()
    x = torch.randn(clips, *size, 8, dtype=torch.double, requires_grad=True)
    with torch.set_grad_enabled(grad):
        ours, plain = module(x), plain_attention(module, x)
    assert torch.allclose(ours, plain, atol=1e-12)
    if grad:
        wanted, weight = [x, *module.parameters()], torch.randn_like(ours)
        each = [torch.autograd.grad((out * weight).sum(), wanted) for out in (ours, plain)]
        for a, b in zip(*each, strict=True):
            assert torch.allclose(a, b, atol=1e-10)


@pytest.mark.parametrize("far", [-300.0, 300.0])
def test_biases_beyond_the_range_of_exponentials_stay_finite(far: float) -> None:
    """float32's end at 88: the padded keys' sum is taken below a head's largest bias."""
    torch.manual_seed(0)
    module = WindowAttention(8, 2, (2, 3, 3), (1, 1, 1))
    module.relative_position_bias_table.data.normal_()[:, 0] += far
    module.relative_position_bias_table.data[3, 1] += far / 5
    x = torch.randn(1, 3, 4, 5, 8, requires_grad=True)
    ours, plain = module(x), plain_attention(module, x)
    assert torch.allclose(ours, plain, atol=1e-5)
    wanted = [x, *module.parameters()]
    each = [torch.autograd.grad(out.square().sum(), wanted) for out in (ours, plain)]
    for a, b in zip(*each, strict=True):
        assert torch.allclose(a, b, atol=1e-4)


def test_masks_made_in_inference_mode_serve_training() -> None:
    # Sizes that no other test has kept masks for.
    model, frames = small(window_size=(3, 2, 2)), torch.randn(1, 5, 3, 20, 36)
    with torch.inference_mode():
        model(frames)
    model(frames)[-1].sum().backward()
    assert model.patch_embed.proj.weight.grad.any()


def test_masked_attention_is_exactly_zero() -> None:
    """Not merely tiny: denormal numbers made the attention several times slower."""
    assert torch.tensor([0.0, MASKED]).softmax(0)[1] == 0
    assert torch.tensor([0.0, MASKED], dtype=torch.float16).isfinite().all()


def test_windows_are_cut_in_row_major_order_and_joined_again() -> None:
    x = torch.arange(2 * 4 * 6 * 6).view(2, 4, 6, 6, 1)
    windows = cut_windows(x, (2, 3, 3))
    assert windows.shape == (2, 8, 18, 1)
    assert windows[0, 1, :4, 0].tolist() == [3, 4, 5, 9]
    assert torch.equal(join_windows(windows, (2, 3, 3), (4, 6, 6)), x)


@pytest.mark.parametrize("block", [1, 200, 10**6], ids=["rows", "some windows", "all"])
@pytest.mark.parametrize("padded", [False, True])
def test_blocked_attention_is_plain_attention(
    block: int, padded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Value and every gradient, in float64, whatever the cut."""
    monkeypatch.setattr(attention, "BLOCK", block)
    torch.manual_seed(0)
    windows, tokens, heads, width = 3, 6, 5, 4
    pairs = torch.zeros(tokens, tokens + padded, dtype=torch.long)
    kind = WindowKind(windows, tokens, pairs, pairs[:, :2] if padded else None)
    rows = torch.arange(windows * kind.keys)  # not read
    plan = WindowPlan([kind], rows, rows, None, rows, rows)
    sizes = [(windows * kind.keys, 3 * heads * width), (heads, tokens, kind.keys)]
    qkv, bias = (torch.randn(s, dtype=torch.double, requires_grad=True) for s in sizes)
    weight = torch.randn(windows * tokens, heads * width, dtype=torch.double)
    results = []
    for function in (
        lambda: attention.window_attention(qkv, [bias], plan),
        lambda: attention.fused_attention(qkv, bias, kind),
    ):
        out = function()
        results.append([out, *torch.autograd.grad((out * weight).sum(), (qkv, bias))])
    for ours, plain in zip(*results, strict=True):
        assert torch.allclose(ours, plain, atol=1e-12)


def test_the_blocked_form_is_what_training_on_a_cpu_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    whole = attention.blocks
    monkeypatch.setattr(attention, "blocks", lambda *given: calls.append(given) or whole(*given))
    model, frames = small(), torch.randn(1, 2, 3, 16, 16)
    with torch.no_grad():
        model(frames)
    assert not calls
    sum(level.sum() for level in model(frames)).backward()
    assert len(calls) == 6


def test_padding_after_the_norm_is_attended_to() -> None:
    """Five columns in windows of three: the sixth, all zero, takes part with the key bias alone."""
    model = small(depths=(1,), num_heads=(1,))
    block: SwinBlock = model.layers[0].blocks[0]
    x = torch.randn(1, 2, 3, 5, 8)
    with torch.no_grad():
        ours = block.attn(x)
        wide = block.attn(F.pad(x, (0, 0, 0, 1)))[:, :, :, :5]
    assert torch.allclose(ours, wide, atol=1e-6)


def test_drop_path_grows_over_the_published_blocks() -> None:
    rates = [
        block.drop_path
        for layer in VideoSwin(**vars_of("video_swin_t"), drop_path=0.1).layers
        for block in layer.blocks
    ]
    assert rates == pytest.approx([k * 0.1 / 11 for k in range(10)])
    own = [block.drop_path for layer in small(drop_path=0.3).layers for block in layer.blocks]
    assert own[0] == 0 and own[-1] == pytest.approx(0.3)


def test_drop_path_drops_a_clips_branch_in_training_alone() -> None:
    model, frames = small(drop_path=0.9), torch.randn(16, 1, 3, 12, 12)
    block, x = model.layers[-1].blocks[-1], torch.randn(16, 1, 2, 2, 32)
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(model(frames), model(frames), strict=True))
        dropped = (block.train()(x) == x).flatten(1).all(1)
    assert 0.5 < dropped.float().mean() < 1


def test_compiles_as_one_graph() -> None:
    model, frames = small(depths=(2,), num_heads=(1,)), torch.randn(1, 3, 3, 20, 24)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    assert torch.allclose(compiled(frames)[0], model(frames)[0], atol=1e-5)


def test_checkpointed_blocks_give_the_same_gradients() -> None:
    def gradients(checkpointed: bool) -> list[Tensor]:
        model = small(drop_path=0.5).train()
        model.checkpoint_blocks = checkpointed
        torch.manual_seed(1)
        sum(level.square().sum() for level in model(torch.ones(2, 3, 3, 24, 24))).backward()
        return [parameter.grad for parameter in model.parameters()]

    for plain, checkpointed in zip(gradients(False), gradients(True), strict=True):
        assert torch.equal(plain, checkpointed)
