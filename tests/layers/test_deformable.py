"""Deformable attention: against a loop over single places, padding, precision, refinement, start
values.
"""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from losh.layers.deformable import (
    DeformableAttention,
    DeformableDecoder,
    DeformableEncoder,
    Pyramid,
    logit,
)
from losh.layers.transformer import sine_position, text_position

SIZES = {"width": 16, "heads": 2, "ffn_dim": 24, "dropout": 0.0, "levels": 2, "points": 3}
SHAPES = [(5, 7), (3, 4)]


def pyramid(shapes: list[tuple[int, int]] = SHAPES, rows: int = 2) -> Pyramid:
    """No padding."""
    return Pyramid.of(torch.zeros(rows, sum(h * w for h, w in shapes), dtype=torch.bool), shapes)


def lively(module: nn.Module) -> nn.Module:
    """With weights that make places and shares depend on the query."""
    torch.manual_seed(0)
    for name, parameter in module.named_parameters():
        if "sampling_offsets" in name or "attention_weights" in name:
            parameter.data.add_(0.3 * torch.randn_like(parameter))
    return module.eval()


def bilinear(level: Tensor, x: float, y: float) -> Tensor:
    """level [h, w, d] read at (x, y) in parts of its size; zero beyond its border."""
    h, w, d = level.shape
    x, y = x * w - 0.5, y * h - 0.5
    total = torch.zeros(d)
    for row, column in itertools.product(range(h), range(w)):
        total += level[row, column] * max(0, 1 - abs(x - column)) * max(0, 1 - abs(y - row))
    return total


@pytest.mark.parametrize("grad", [False, True])
def test_samples_are_those_of_a_loop_over_places(grad: bool) -> None:
    torch.manual_seed(0)
    heads, d, points, queries = 2, 3, 2, 4
    value = torch.randn(2, sum(h * w for h, w in SHAPES), heads, d)
    places = torch.rand(2, queries, heads, 2, points, 2) * 1.4 - 0.2  # some outside
    weights = torch.rand(2, queries, heads, 2, points)
    expected = torch.zeros(2, queries, heads, d)
    for row, query, head in itertools.product(range(2), range(queries), range(heads)):
        parts = value[row, :, head].split([h * w for h, w in SHAPES])
        for level, point in itertools.product(range(2), range(points)):
            x, y = places[row, query, head, level, point].tolist()
            read = bilinear(parts[level].unflatten(0, SHAPES[level]), x, y)
            expected[row, query, head] += weights[row, query, head, level, point] * read
    with torch.set_grad_enabled(grad):
        ours = DeformableAttention.sample(value, SHAPES, places, weights)
    assert torch.allclose(ours, expected.flatten(2), atol=1e-5)


def test_offsets_are_cells_around_a_place_and_quarters_of_a_box() -> None:
    """A place: offset / (w, h). A box: offset / points * size / 2."""
    attention = DeformableAttention(4, 1, 2, points=2).eval()
    with torch.no_grad():
        attention.sampling_offsets.bias.copy_(torch.tensor([[1.0, 2.0]]).expand(4, 2).flatten())
    query = torch.zeros(1, 1, 4)
    place = torch.tensor([0.5, 0.25]).expand(1, 1, 2, 2)
    at = attention._places(query, place, SHAPES)[0, 0, 0, :, 0]
    assert torch.allclose(at, torch.tensor([[0.5 + 1 / 7, 0.25 + 2 / 5], [0.75, 0.25 + 2 / 3]]))
    box = torch.tensor([0.5, 0.25, 0.2, 0.4]).expand(1, 1, 2, 4)
    at = attention._places(query, box, SHAPES)[0, 0, 0, :, 0]
    assert torch.allclose(at, torch.tensor([0.5 + 0.05, 0.25 + 0.2]).expand(2, 2))


def padded_pyramid(inner: list[tuple[int, int]], outer: list[tuple[int, int]]) -> Pyramid:
    """Maps of `inner` sizes in the upper left corners of `outer` ones."""
    pads = []
    for (h, w), (rows, columns) in zip(inner, outer, strict=True):
        pad = torch.ones(1, rows, columns, dtype=torch.bool)
        pad[:, :h, :w] = False
        pads.append(pad.flatten(1))
    return Pyramid.of(torch.cat(pads, 1), outer)


def embed(x: Tensor, inner: list[tuple[int, int]], outer: list[tuple[int, int]]) -> Tensor:
    """Tokens [1, S, C] of the inner maps, in the outer ones; noise in the padding."""
    parts = x.split([h * w for h, w in inner], 1)
    wide = []
    for part, (h, w), (rows, columns) in zip(parts, inner, outer, strict=True):
        noise = torch.randn(1, rows, columns, x.shape[-1])
        noise[:, :h, :w] = part.unflatten(1, (h, w))
        wide.append(noise.flatten(1, 2))
    return torch.cat(wide, 1)


def test_encoder_and_decoder_are_exact_under_padding() -> None:
    """The same maps, alone and with padding full of noise below and to the right of them."""
    inner, outer = [(4, 6), (2, 3)], [(8, 12), (4, 6)]
    encoder = lively(DeformableEncoder(2, **SIZES))
    decoder = lively(DeformableDecoder(2, **SIZES))
    heads = nn.ModuleList(nn.Linear(16, 4) for _ in range(2))
    x, pos, queries = torch.randn(1, 30, 16), torch.randn(1, 30, 16), torch.randn(1, 3, 16)
    alone, padded = pyramid(inner, 1), padded_pyramid(inner, outer)
    assert torch.equal(padded.valid, torch.full((1, 2, 2), 0.5))
    start = torch.rand(1, 3, 2)
    with torch.no_grad():
        memory = encoder(x, pos, alone)
        wide = encoder(embed(x, inner, outer), embed(pos, inner, outer), padded)
        assert torch.allclose(wide[~padded.pad], memory[0], atol=1e-5)
        # References are parts of the unpadded picture in both.
        a = decoder(queries, queries, start, memory, alone, heads)
        b = decoder(queries, queries, start, wide, padded, heads)
    for one, other in zip(a, b, strict=True):
        assert torch.allclose(one.states, other.states, atol=1e-5)
        assert torch.allclose(one.boxes, other.boxes, atol=1e-5)


def test_a_frame_of_nothing_but_padding_stays_finite() -> None:
    encoder = lively(DeformableEncoder(2, **SIZES))
    pad = torch.ones(1, 47, dtype=torch.bool)
    x = torch.randn(1, 47, 16, requires_grad=True)
    out = encoder(x, torch.randn(1, 47, 16), Pyramid.of(pad, SHAPES))
    out.sum().backward()
    assert torch.isfinite(out).all() and torch.isfinite(x.grad).all()


def test_autocast_leaves_the_places_in_float32() -> None:
    """A query whose places bfloat16 would shift: with exact projections nothing else differs."""
    attention = lively(DeformableAttention(8, 2, 1, points=4))
    for layer in (attention.value_proj, attention.output_proj):
        layer.weight.data.copy_(torch.eye(8))
    shapes = [(40, 50)]
    # Values that bfloat16 holds exactly: a ramp would show a shifted place.
    value = torch.arange(2000).remainder(128).float()[None, :, None].expand(1, -1, 8)
    query = torch.randn(1, 30, 8)
    reference = torch.rand(1, 30, 1, 2)
    with torch.no_grad():
        full = attention(query, reference, value, pyramid(shapes, 1))
        with torch.autocast("cpu", torch.bfloat16):
            mixed = attention(query, reference, value, pyramid(shapes, 1))
    # The output projection alone rounds, to 1 part in 256.
    assert torch.allclose(mixed.float(), full, rtol=2**-8, atol=1e-3)


def test_the_hook_runs_after_each_layer_and_its_result_goes_on() -> None:
    encoder = lively(DeformableEncoder(2, **SIZES))
    x, pos = torch.randn(2, 47, 16), torch.randn(2, 47, 16)
    seen = []

    def hook(i: int, x: Tensor) -> Tensor:
        seen.append(i)
        return x + 1 if i == 0 else x

    with torch.no_grad():
        hooked = encoder(x, pos, pyramid(), hook)
        first = encoder.layers[0](x, pos, pyramid()) + 1
        assert torch.equal(hooked, encoder.layers[1](first, pos, pyramid()))
    assert seen == [0, 1]


def test_boxes_are_refined_from_layer_to_layer_without_gradient_between() -> None:
    torch.manual_seed(0)
    decoder, heads = lively(DeformableDecoder(3, **SIZES)), nn.ModuleList()
    heads.extend(nn.Linear(16, 4) for _ in range(3))
    memory, queries = torch.randn(2, 47, 16), torch.randn(2, 3, 16)
    start = torch.rand(2, 3, 2, requires_grad=True)
    found = decoder(queries, queries, start, memory, pyramid(), heads)
    first = logit(start) + heads[0](found[0].states)[..., :2]
    assert torch.allclose(found[0].boxes[..., :2], first.sigmoid(), atol=1e-6)
    second = logit(found[0].boxes) + heads[1](found[1].states)
    assert torch.allclose(found[1].boxes, second.sigmoid(), atol=1e-6)
    found[2].boxes.sum().backward()
    assert heads[1].weight.grad is None and heads[2].weight.grad is not None


def test_at_first_each_head_looks_into_a_direction_of_its_own() -> None:
    attention = DeformableAttention(16, 4, 2, points=3)
    offsets = attention.sampling_offsets(torch.randn(1, 1, 16)).view(4, 2, 3, 2)
    for head, (x, y) in enumerate([(1, 0), (0, 1), (-1, 0), (0, -1)]):
        for point in range(3):
            wanted = torch.tensor([x, y], dtype=torch.float32) * (point + 1)
            assert torch.allclose(offsets[head, :, point], wanted.expand(2, 2), atol=1e-6)
    assert not attention.attention_weights(torch.randn(1, 1, 16)).any()


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_logit_is_finite_everywhere(probability: float) -> None:
    value = float(logit(torch.tensor(probability)))
    assert math.isfinite(value)
    if probability == 0.3:
        assert value == pytest.approx(math.log(0.3 / 0.7), abs=1e-5)


def test_position_codes_of_cell_centres_and_of_words() -> None:
    """The first channels are sine and cosine of the plain angle."""
    pad = torch.zeros(1, 2, 4, dtype=torch.bool)
    pad[:, :, 3] = True
    code = sine_position(pad, 8, offset=-0.5)
    column = torch.tensor([0.5, 1.5, 2.5]) / 3 * 2 * math.pi
    assert torch.allclose(code[0, 4, 0, :3], column.sin(), atol=1e-5)
    assert torch.allclose(code[0, 5, 0, :3], column.cos(), atol=1e-5)
    row = torch.tensor([0.5, 1.5]) / 2 * 2 * math.pi
    assert torch.allclose(code[0, 0, :, 0], row.sin(), atol=1e-5)
    words = text_position(torch.tensor([[False, False, True], [False, False, False]]), 4)
    assert words.shape == (2, 3, 4)
    assert torch.allclose(words[0, 0, :2], torch.tensor([0.0, -1.0]), atol=1e-5)  # half of 2 pi
    angle = torch.tensor(2 * math.pi / 100)  # the last word of three, the slower of two waves
    assert torch.allclose(words[1, 2, 2:], torch.stack([angle.sin(), angle.cos()]), atol=1e-5)
