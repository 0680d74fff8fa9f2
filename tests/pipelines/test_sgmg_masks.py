"""The mask rule, the sum of the memory's levels, and the refinement."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from losh.model.structures import FrameSizes
from losh.pipelines.sgmg.masks import MaskRefiner, SgMgMaskRule, masks_of, patches_of, summed


def test_mask_rule_cuts_padding_and_enlarges_logits() -> None:
    logits = torch.full((1, 8, 12), -50.0)
    logits[0, :4, :6] = 2.0
    logits[0, :4, 4:6] = -1.0
    sizes = FrameSizes(padded=(8, 12), clip=(4, 6), original=(8, 12))
    rule = SgMgMaskRule()
    probabilities = rule.probabilities(logits, sizes)
    expected = F.interpolate(logits[:, None, :4, :6], scale_factor=2, mode="bilinear").sigmoid()
    torch.testing.assert_close(probabilities, expected[:, 0])
    # Column 7 is 3/4 of 2 and 1/4 of -1, column 8 the other way round: logits, not probabilities.
    assert rule.masks(probabilities, sizes, 0.5)[0, 0].tolist() == [True] * 8 + [False] * 4
    assert torch.equal(rule.at_original(probabilities, sizes), probabilities)


def test_patches_are_masks_unshuffled() -> None:
    masks = torch.randn(3, 2, 12, 20)
    assert torch.equal(patches_of(masks), F.pixel_unshuffle(masks[:, :, None], 4))
    assert torch.equal(masks_of(patches_of(masks)), masks)
    none = patches_of(masks[:0]).requires_grad_()
    assert none.shape == (0, 2, 16, 3, 5) and masks_of(none).shape == (0, 2, 12, 20)
    masks_of(none).sum().backward()  # torch's own fails here


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
