"""Global batches do not depend on the number of processes, nor on a stop within an epoch."""

from collections import Counter

import pytest

from losh.clips.sampler import GlobalBatches
from losh.errors import UserError


def flat(batches):
    return [[order.index for order in step] for step in batches]


@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_share_the_same_global_batches(world):
    names = ["a"] * 50
    alone = [{(o.index, o.seed) for o in step} for step in GlobalBatches(names, 8, seed=3).epoch(2)]
    parts = [
        list(GlobalBatches(names, 8, seed=3, rank=rank, world=world).epoch(2))
        for rank in range(world)
    ]
    together = [
        {(o.index, o.seed) for part in parts for o in part[step]} for step in range(len(alone))
    ]
    assert together == alone
    assert all(
        len(part[step]) in (8 // world, 8 // world + 1)
        for part in parts
        for step in range(len(alone))
    )


def test_an_epoch_is_a_permutation_that_changes_with_epoch_and_seed():
    batches = GlobalBatches(["a"] * 40, 8, seed=0)
    order = [i for step in flat(batches.epoch(0)) for i in step]
    assert sorted(order) == list(range(40))
    assert order != [i for step in flat(batches.epoch(1)) for i in step]
    assert order != [
        i for step in flat(GlobalBatches(["a"] * 40, 8, seed=1).epoch(0)) for i in step
    ]


def test_a_resumed_epoch_goes_on_where_it_stopped():
    batches = GlobalBatches(["a"] * 40, 8, seed=0)
    assert flat(batches.epoch(4, first_step=2)) == flat(batches.epoch(4))[2:]


def test_sampling_weights_choose_the_dataset_first():
    names = ["small"] * 20 + ["large"] * 180
    batches = GlobalBatches(names, 10, seed=0, weights={"small": 1.0, "large": 1.0})
    drawn = Counter(
        names[i] for epoch in range(20) for step in flat(batches.epoch(epoch)) for i in step
    )
    assert 0.45 < drawn["small"] / sum(drawn.values()) < 0.55
    one = Counter(i for step in flat(batches.epoch(0)) for i in step if names[i] == "small")
    assert max(one.values()) - min(one[i] for i in range(20)) <= 1


def test_too_few_clips_for_the_processes_is_said():
    with pytest.raises(UserError, match="batch_size"):
        GlobalBatches(["a"] * 40, 2, seed=0, world=4)
    assert GlobalBatches(["a"] * 3, 8, seed=0).steps == 1
