"""Patch masks, the sum of the memory's levels, and the refinement."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from losh.pipelines.sgmg.masks import MaskRefiner, summed, unfolded


def test_a_patch_is_unfolded_row_by_row() -> None:
    patches = torch.zeros(2, 3, 16, 5, 6)
    patches[1, 2, 4 * 1 + 3, 2, 4] = 1  # row 1, column 3 of the patch of cell (2, 4)
    masks = unfolded(patches)
    assert masks.shape == (2, 3, 20, 24)
    assert masks.nonzero().tolist() == [[1, 2, 4 * 2 + 1, 4 * 4 + 3]]


def test_levels_are_summed_at_the_finest_size() -> None:
    levels = [torch.full((1, 2, 8, 12), 1.0), torch.full((1, 2, 4, 6), 10.0)]
    torch.testing.assert_close(summed(levels), torch.full((1, 2, 8, 12), 11.0))
    one = torch.randn(1, 2, 4, 6)
    bicubic = F.interpolate(one, size=(8, 12), mode="bicubic")
    torch.testing.assert_close(summed([levels[0], one]), 1 + bicubic)


def test_refinement_adds_to_the_patch_mask() -> None:
    refiner = MaskRefiner([6, 8])
    patches, fine, coarse = (
        torch.randn(3, 16, 5, 6),
        torch.randn(3, 6, 10, 11),
        torch.randn(3, 8, 5, 6),
    )
    assert refiner(patches, fine, coarse).shape == (3, 16, 10, 11)
    for parameter in refiner.parameters():
        torch.nn.init.zeros_(parameter)
    expected = F.interpolate(patches, size=(10, 11), mode="bilinear", align_corners=False)
    torch.testing.assert_close(refiner(patches, fine, coarse), expected)


def test_refinement_reads_both_backbone_levels() -> None:
    torch.manual_seed(0)
    refiner = MaskRefiner([6, 8])
    patches, fine, coarse = (
        torch.randn(1, 16, 5, 6),
        torch.randn(1, 6, 10, 12),
        torch.randn(1, 8, 5, 6),
    )
    before = refiner(patches, fine, coarse)
    assert not torch.allclose(before, refiner(patches, fine + 1, coarse))
    assert not torch.allclose(before, refiner(patches, fine, coarse + 1))
