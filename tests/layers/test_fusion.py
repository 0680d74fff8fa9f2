"""Levels and words at one width, and their product."""

from __future__ import annotations

import torch

from losh.layers.fusion import InputProjections, TextFusion, Words, shrunk


def test_levels_that_the_backbone_lacks_are_made_of_its_last() -> None:
    levels = [torch.randn(2, c, 48 // s, 64 // s) for c, s in ((4, 1), (6, 2), (8, 4))]
    project = InputProjections([4, 6, 8], 4, 32)
    maps = project(levels)
    sizes = [(2, 32, 24, 32), (2, 32, 12, 16), (2, 32, 6, 8), (2, 32, 3, 4)]
    assert project.given == 2 and [tuple(x.shape) for x in maps] == sizes
    again = project([levels[0], levels[1] + 1, levels[2]])  # the extra ones are of the last level
    assert not torch.equal(again[0], maps[0]) and torch.equal(again[2], maps[2])


def test_fewer_levels_than_the_backbone_has() -> None:
    levels = [torch.randn(1, c, 16 // s, 16 // s) for c, s in ((4, 1), (6, 2), (8, 4))]
    assert [x.shape[-1] for x in InputProjections([4, 6, 8], 1, 32)(levels)] == [8]


def test_each_clips_cells_are_multiplied_with_its_own_words() -> None:
    torch.manual_seed(0)
    fusion = TextFusion(8, 2)
    x, values, pos = torch.randn(6, 8, 4, 5), torch.randn(2, 3, 8), torch.randn(2, 3, 8)
    pad = torch.tensor([[False, False, False], [False, False, True]])
    fused = fusion(x, Words(values, pos, pad))
    assert fused.shape == x.shape
    cell = x[4, :, 2, 3]  # the second clip's second frame
    own = values[1:, :2]
    found = fusion.attention(cell[None, None], own + pos[1:, :2], own)
    torch.testing.assert_close(fused[4, :, 2, 3], cell * found[0, 0])


def test_padding_of_a_level_is_the_nearest_of_the_frames() -> None:
    pad = torch.zeros(1, 1, 16, 16, dtype=torch.bool)
    pad[:, :, 10:] = True
    assert shrunk(pad, (4, 4))[0, 0, :, 0].tolist() == [False, False, False, True]
    assert shrunk(pad, (2, 2))[0, 0, :, 0].tolist() == [False, False]
