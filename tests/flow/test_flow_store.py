"""Flow on disk: exact to half a step, the same bytes, safe across forks, clear about limits."""

from __future__ import annotations

import multiprocessing
import pickle

import h5py
import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

from losh.errors import UserError
from losh.flow import FlowStore
from losh.flow.flow_store import QUANTUM, NotStorable, write_fields
from losh.runtime.files import write_json


def some_fields(seed: int = 0) -> dict[tuple[int, int], np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        pair: rng.normal(0, 5, (2, 24, 32)).astype(np.float32)
        for pair in [(3, 4), (4, 3), (4, 5), (5, 4)]
    }


@pytest.fixture
def stored(tmp_path):
    fields = some_fields()
    write_fields(tmp_path / "a%20video.h5", "a video", fields)
    rows = {
        "a video": {
            "pairs": [list(pair) for pair in sorted(fields)],
            "height": 24,
            "width": 32,
            "sha256": "",
            "skipped": [],
        }
    }
    write_json(tmp_path / "index.json", {"videos": rows})
    return tmp_path, fields


def test_fixed_point_errs_by_half_a_step_at_most(stored):
    root, fields = stored
    store = FlowStore(root)
    for (source, target), field in fields.items():
        read = store.flow("a video", source, target)
        assert read.dtype == np.float32 and read.shape == (2, 24, 32)
        assert np.abs(read - field).max() <= QUANTUM / 2 + 1e-6


def test_multiples_of_the_step_are_exact_up_to_the_ends_of_the_range(tmp_path):
    ends = np.array([-32767, -1, 0, 1, 32767]) * QUANTUM
    field = np.broadcast_to(ends, (2, 3, 5)).astype(np.float32)
    write_fields(tmp_path / "v.h5", "v", {(0, 1): field})
    write_json(tmp_path / "index.json", {"videos": {"v": {"pairs": [[0, 1]]}}})
    assert np.array_equal(FlowStore(tmp_path).flow("v", 0, 1), field)


def test_the_same_fields_give_the_same_bytes_in_any_order(tmp_path):
    fields = some_fields()
    write_fields(tmp_path / "a.h5", "v", fields)
    write_fields(tmp_path / "b.h5", "v", dict(reversed(fields.items())))
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_the_bytes_hold_no_clock(tmp_path, monkeypatch):
    """HDF5 keeps times of seconds: two files written at once would not show them."""
    tracked = []
    create = h5py.Group.create_dataset
    monkeypatch.setattr(
        h5py.Group,
        "create_dataset",
        lambda *a, **k: (tracked.append(k.get("track_times")), create(*a, **k))[1],
    )
    write_fields(tmp_path / "a.h5", "v", some_fields())
    assert tracked == [False, False]


def test_a_field_is_one_chunk(stored):
    root, _ = stored
    with h5py.File(root / "a%20video.h5") as file:
        assert file["flow"].chunks == (1, 2, 24, 32)
        assert file["flow"].dtype == np.int16


@pytest.mark.parametrize(
    ("bad", "said"),
    [(np.nan, "not finite"), (np.inf, "not finite"), (513.0, "513 px"), (-600.0, "600 px")],
)
def test_what_fixed_point_cannot_hold_is_refused_by_name(tmp_path, bad, said):
    field = np.zeros((2, 4, 4), np.float32)
    field[1, 2, 3] = bad
    with pytest.raises(NotStorable, match=f"'the video' from frame 7 to 8.*{said}"):
        write_fields(tmp_path / "v.h5", "the video", {(7, 8): field})
    assert list(tmp_path.iterdir()) == []


def test_a_missing_pair_a_missing_file_and_a_damaged_file_are_named(stored):
    root, _ = stored
    store = FlowStore(root)
    assert (
        store.has("a video", 3, 4)
        and not store.has("a video", 3, 5)
        and not store.has("other", 3, 4)
    )
    with pytest.raises(UserError, match="'a video' from frame 3 to 5"):
        store.flow("a video", 3, 5)
    path = root / "a%20video.h5"
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(UserError, match=r"a%20video\.h5 cannot be read"):
        store.flow("a video", 3, 4)
    path.unlink()
    with pytest.raises(UserError, match=r"a%20video\.h5 cannot be read"):
        store.flow("a video", 3, 4)


def test_a_folder_without_an_index_names_the_command(tmp_path):
    with pytest.raises(UserError, match="dvc repro compute_flow@"):
        FlowStore(tmp_path)


class Fields(Dataset):
    def __init__(self, store: FlowStore) -> None:
        self.store = store

    def __len__(self) -> int:
        return 4

    def __getitem__(self, i: int) -> np.ndarray:
        return self.store.flow("a video", *[(3, 4), (4, 3), (4, 5), (5, 4)][i])


def test_no_handle_is_open_before_the_first_read_nor_pickled(stored):
    store = FlowStore(stored[0])
    assert not store._files._open
    store.flow("a video", 3, 4)
    assert store._files._open
    copy = pickle.loads(pickle.dumps(store))
    assert (
        not copy._files._open and (copy.flow("a video", 3, 4) == store.flow("a video", 3, 4)).all()
    )


def opened_anew(store: FlowStore, before: int, answer) -> None:
    store.flow("a video", 4, 3)
    answer.put(
        (id(next(iter(store._files._open.values()))) != before, store.flow("a video", 4, 3).sum())
    )


def test_a_fork_opens_its_own_handle(stored):
    root, fields = stored
    store = FlowStore(root)
    store.flow("a video", 3, 4)
    fork = multiprocessing.get_context("fork")
    answer = fork.Queue()
    # The old handle is kept alive here, so that its address cannot be given to the new one.
    kept = next(iter(store._files._open.values()))
    child = fork.Process(target=opened_anew, args=(store, id(kept), answer))
    child.start()
    fresh, total = answer.get(timeout=20)
    child.join()
    assert fresh
    assert total == pytest.approx(fields[4, 3].sum(), abs=24 * 32 * 2 * QUANTUM)


def test_loader_workers_read_what_the_parent_reads(stored):
    store = FlowStore(stored[0])
    # The parent has the file open when the workers start.
    here = [Fields(store)[i] for i in range(4)]
    there = list(DataLoader(Fields(store), batch_size=None, num_workers=2))
    assert all(np.array_equal(a, b) for a, b in zip(here, there, strict=True))
