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


def test_an_incomplete_last_batch_is_kept_or_dropped():
    names = ["a"] * 42
    dropped, kept = (GlobalBatches(names, 8, seed=0, keep_last=keep) for keep in (False, True))
    assert (dropped.steps, kept.steps) == (5, 6)
    assert [len(step) for step in kept.epoch(0)] == [8, 8, 8, 8, 8, 2]
    assert flat(kept.epoch(0))[:5] == flat(dropped.epoch(0))
    assert sorted(i for step in flat(kept.epoch(0)) for i in step) == list(range(42))
    assert flat(kept.epoch(3, first_step=5)) == flat(kept.epoch(3))[5:]


def test_a_full_last_batch_is_no_further_step():
    assert GlobalBatches(["a"] * 40, 8, seed=0, keep_last=True).steps == 5


def test_a_kept_last_batch_gives_every_process_a_clip():
    parts = [
        flat(GlobalBatches(["a"] * 18, 8, seed=0, rank=r, world=4, keep_last=True).epoch(0))
        for r in range(4)
    ]
    whole = [
        i
        for step in flat(GlobalBatches(["a"] * 18, 8, seed=0, keep_last=True).epoch(0))
        for i in step
    ]
    assert [len(part[-1]) for part in parts] == [1, 1, 1, 1]
    assert [part[-1][0] for part in parts] == [*whole[-2:], *whole[:2]]


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


def test_a_batch_larger_than_the_data_is_said():
    assert GlobalBatches(["a"] * 5, 4, seed=0).notice is None
    batches = GlobalBatches(["a"] * 5, 8, seed=0)
    assert "train.batch_size is 8, but there are 5 windows" in batches.notice
    assert [len(batch) for batch in batches.epoch(0)] == [5]
