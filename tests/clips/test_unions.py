"""Targets where a sentence means several objects: their union is one, they are none again."""

from dataclasses import replace

import numpy as np
import torch

from losh.clips.batches import make_batch
from losh.clips.dataset import LoadedClip, target_rows
from losh.clips.samples import Sample

NAMES = ["1", "1+2", "2", "2+3", "3"]
UNIONS = {"1+2": ["1", "2"], "2+3": ["2", "3"]}


def test_a_union_is_one_target_and_what_it_covers_is_none():
    rows = target_rows(NAMES, ["1", "1+2", "2+3"], UNIONS)
    assert [[NAMES[i] for i in own] for own in rows] == [
        ["1", "2", "3"],
        ["1+2", "3"],
        ["1", "2+3"],
    ]
    assert target_rows(["1", "2"], ["1"], {}) is None


def test_each_expression_of_a_clip_gets_its_own_targets():
    sample = Sample("s", "d", "v", "0", "", "1", "a", "a", (0,), (0,))
    samples = [sample, replace(sample, instance="1+2")]
    masks = torch.zeros(len(NAMES), 1, 8, 8, dtype=torch.bool)
    for i in range(len(NAMES)):
        masks[i, 0, i] = True
    clip = LoadedClip(
        samples,
        torch.zeros(1, 8, 8, 3, dtype=torch.uint8),
        masks,
        [0, 1],
        torch.ones(2, 1, dtype=torch.bool),
        None,
        ["a", "b"],
        ["a", "b"],
        target_rows(NAMES, ["1", "1+2"], UNIONS),
    )
    one, both = make_batch([clip], torch.device("cpu")).targets
    assert one.masks[:, 0].any(-1).int().argmax(-1).tolist() == [0, 2, 4] and one.referred == 0
    assert both.masks[:, 0].any(-1).int().argmax(-1).tolist() == [1, 4] and both.referred == 0
    whole = make_batch([replace(clip, rows=None)], torch.device("cpu")).targets
    assert [len(each.masks) for each in whole] == [5, 5]
    assert np.array_equal([each.referred for each in whole], [0, 1])
