"""Who works on items: this process, a process a core or GPU; and what an error leaves undone."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest
import torch
from runtime.items_of_workers import device_of

from losh.runtime import parallel
from losh.runtime.parallel import Need, map_items


def test_each_gpu_has_a_process_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(parallel, "pick_device", lambda: torch.device("cuda", 0))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    with map_items(partial(device_of, tmp_path), [0, 1], Need(worth=1, gpu=True)) as devices:
        assert sorted(devices) == ["3", "5"]


@pytest.mark.parametrize(
    ("items", "memory", "workers"), [(100, 0.0, 4), (100, 1e6, 1), (31, 0.0, 1), (32, 0.0, 2)]
)
def test_without_a_gpu_processes_share_the_cores(
    items: int, memory: float, workers: int, monkeypatch: pytest.MonkeyPatch
):
    """As many as have enough to do, and as the machine's memory holds."""
    monkeypatch.setattr(parallel, "pick_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(parallel, "core_count", lambda: 12)
    monkeypatch.setenv("LOSH_WORKERS", "4")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with parallel.executor(items, Need(worth=16, gpu=True, memory=memory)) as pool:
        assert isinstance(pool, parallel.RightHere) == (workers == 1)
        if workers > 1:
            assert pool._max_workers == workers
            assert pool.submit(os.getenv, "OMP_NUM_THREADS").result() == str(12 // workers)


def test_right_here_an_item_is_begun_when_it_is_asked_for_and_none_after_an_error():
    begun = []

    def work(item: int) -> int:
        begun.append(item)
        if item == 2:
            raise ValueError("two")
        return -item

    with map_items(work, range(5), Need(worth=100)) as results:
        assert (next(results), begun) == (0, [0])
        with pytest.raises(ValueError, match="two"):
            list(results)
    assert begun == [0, 1, 2]


def test_no_items_need_no_cluster(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LOSH_CLUSTER", "tls://127.0.0.1:1")
    with map_items(abs, []) as results:
        assert list(results) == []
