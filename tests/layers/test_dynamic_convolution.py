"""Dynamic convolutions against plain ones, query by query."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from losh.layers.dynamic_convolution import cell_offsets, dynamic_masks, parameter_count


def test_parameter_counts_are_the_published_ones() -> None:
    assert parameter_count(256, (8, 8, 1)) == 2153  # ReferFormer
    assert parameter_count(256, (16, 16)) == 4416  # SgMg


def test_offsets_lead_from_a_cells_centre_to_the_reference() -> None:
    references = torch.tensor([[[0.5, 0.25]]])
    offsets = cell_offsets(references, torch.tensor([[32, 64]]), (4, 8), stride=8)
    assert offsets.shape == (1, 1, 2, 4, 8)
    # Cell (row 1, column 3) is centred on x 28, y 12; the point is x 32, y 8.
    assert offsets[0, 0, :, 1, 3].tolist() == [4, -4]
    assert offsets[0, 0, :, 0, 0].tolist() == [28, 4]


def test_each_query_runs_its_own_convolutions_on_its_own_frame() -> None:
    torch.manual_seed(0)
    features, offsets = torch.randn(2, 6, 4, 5), torch.randn(2, 3, 2, 4, 5)
    parameters = torch.randn(2, 3, parameter_count(6, (4, 2)))
    masks = dynamic_masks(features, parameters, (4, 2), offsets)
    assert masks.shape == (2, 3, 2, 4, 5)
    for m in range(2):
        for n in range(3):
            p = parameters[m, n]
            first, second = p[:32].view(4, 8, 1, 1), p[32:40].view(2, 4, 1, 1)
            x = torch.cat([features[m], offsets[m, n]])[None]
            x = F.conv2d(F.relu(F.conv2d(x, first, p[40:44])), second, p[44:46])
            torch.testing.assert_close(masks[m, n], x[0])


def test_three_layers_against_matrices() -> None:
    torch.manual_seed(0)
    features, offsets = torch.randn(2, 6, 3, 5), 20 * torch.randn(2, 3, 2, 3, 5)
    parameters = torch.randn(2, 3, parameter_count(6, (4, 4, 1)))
    assert parameters.shape[2] == (8 * 4 + 4 * 4 + 4) + (4 + 4 + 1)
    masks = dynamic_masks(features, parameters, (4, 4, 1), offsets)
    for m in range(2):
        for n in range(3):
            parts = parameters[m, n].split([32, 16, 4, 4, 4, 1])
            x = torch.cat([features[m], offsets[m, n]]).flatten(1)
            x = (parts[0].view(4, 8) @ x + parts[3][:, None]).relu()
            x = (parts[1].view(4, 4) @ x + parts[4][:, None]).relu()
            x = parts[2].view(1, 4) @ x + parts[5][:, None]
            torch.testing.assert_close(masks[m, n], x.view(1, 3, 5), atol=1e-4, rtol=1e-4)


def test_offsets_keep_their_precision_under_autocast() -> None:
    torch.manual_seed(0)
    features, parameters = torch.randn(1, 6, 4, 5), torch.randn(1, 1, parameter_count(6, (4, 2)))
    offsets = cell_offsets(torch.rand(1, 1, 2), torch.tensor([[360, 640]]), (4, 5), 8)
    plain = dynamic_masks(features, parameters, (4, 2), offsets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(dynamic_masks(features, parameters, (4, 2), offsets), plain)
