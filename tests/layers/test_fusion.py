"""Levels and words at one width, and their product."""

from __future__ import annotations

import torch

from losh.layers.fusion import LevelProjections, WordFusion, resized_pad


def test_one_map_more_than_levels() -> None:
    levels = [torch.randn(2, 6, 12, 16), torch.randn(2, 8, 6, 8)]
    maps = LevelProjections([6, 8], 32)(levels)
    assert [tuple(x.shape) for x in maps] == [(2, 32, 12, 16), (2, 32, 6, 8), (2, 32, 3, 4)]


def test_each_clips_cells_are_multiplied_with_its_own_words() -> None:
    torch.manual_seed(0)
    fusion = WordFusion(8, 2)
    x, words, place = torch.randn(6, 8, 4, 5), torch.randn(2, 3, 8), torch.randn(2, 3, 8)
    pad = torch.tensor([[False, False, False], [False, False, True]])
    fused = fusion(x, words, place, pad)
    assert fused.shape == x.shape
    cell = x[4, :, 2, 3]  # the second clip's second frame
    found = fusion.attention(cell[None, None], (words + place)[1:, :2], words[1:, :2], pad[1:, :2])
    torch.testing.assert_close(fused[4, :, 2, 3], cell * found[0, 0])


def test_padding_of_a_level_is_the_nearest_of_the_frames() -> None:
    pad = torch.zeros(1, 16, 16, dtype=torch.bool)
    pad[:, 10:] = True
    assert resized_pad(pad, (4, 4))[0, :, 0].tolist() == [False, False, False, True]
    assert resized_pad(pad, (2, 2))[0, :, 0].tolist() == [False, False]
