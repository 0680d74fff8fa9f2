"""The stage: which pairs, at which size, resumed after a kill, clear about bad flow.

RAFT is replaced by a known field.
"""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest
from frame_folder import write_frames

from losh.errors import UserError
from losh.flow import FlowStore, compute
from losh.flow.compute import compute_flow, neighbour_pairs, running_size, to_stored_grid
from losh.params import FlowParams

DEFAULT = {
    "model": "raft_small",
    "checkpoint": "embedded",
    "short_side": 96,
    "iterations": 2,
    "stored_stride": 2,
    "batch_size": 3,
    "on_error": "stop",
}


def params(**changes) -> FlowParams:
    return FlowParams(**{**DEFAULT, **changes})


class FakeEstimator:
    """Says that everything moves 4 px to the right there, and to the left back; may break, or be
    killed, at one call.
    """

    def __init__(self, nan_at: int = -1, killed_at: int = -1) -> None:
        self.calls = self.pairs = 0
        self.nan_at, self.killed_at = nan_at, killed_at

    def estimate_both(
        self, frames: np.ndarray, pairs: list[tuple[int, int]]
    ) -> tuple[np.ndarray, np.ndarray]:
        if self.calls == self.killed_at:
            raise KeyboardInterrupt
        there = np.zeros((len(pairs), 2, *frames.shape[1:3]), np.float32)
        there[:, 0] = 4
        back = -there
        if self.calls == self.nan_at:
            back[0, 0, 0, 0] = np.nan
        self.calls += 1
        self.pairs += len(pairs)
        return there, back


@pytest.fixture
def fake(monkeypatch):
    def install(**faults) -> FakeEstimator:
        estimator = FakeEstimator(**faults)
        monkeypatch.setattr(compute, "_new_estimator", lambda params: estimator)
        return estimator

    return install


VIDEOS = {
    "a/b c#1": {"split": "train", "stored": [0, 1, 2, 4, 5, 6, 7], "annotated": [0, 5, 7]},
    "dense": {"split": "train", "stored": [0, 1, 2, 3], "annotated": [0, 1, 2, 3]},
    "held out": {"split": "test", "stored": [0, 1, 2], "annotated": [1]},
}


def run(tmp_path, frames=None, **changes):
    frames = frames or write_frames(tmp_path / "frames" / "toy", VIDEOS)
    out = tmp_path / "flow" / "toy"
    return compute_flow(
        frames, out, params(**changes), tmp_path / "scratch", progress=False
    ), FlowStore(out)


def test_pairs_stop_at_the_ends_and_at_frames_that_are_not_stored():
    assert neighbour_pairs([0, 5, 7], [0, 1, 2, 4, 5, 6, 7]) == [(0, 1), (4, 5), (5, 6), (6, 7)]
    assert neighbour_pairs([3], [3]) == []
    assert neighbour_pairs([3], [1, 3, 5]) == []


def test_dense_annotation_counts_each_pair_once():
    assert neighbour_pairs([0, 1, 2, 3], [0, 1, 2, 3]) == [(0, 1), (1, 2), (2, 3)]


def test_training_videos_alone_and_both_ways(tmp_path, fake):
    estimator = fake()
    index, store = run(tmp_path)
    assert set(index["videos"]) == {"a/b c#1", "dense"}
    assert [tuple(p) for p in store.videos["dense"]["pairs"]] == [
        (0, 1),
        (1, 0),
        (1, 2),
        (2, 1),
        (2, 3),
        (3, 2),
    ]
    assert (
        store.has("a/b c#1", 0, 1) and store.has("a/b c#1", 1, 0) and not store.has("a/b c#1", 1, 2)
    )
    assert estimator.pairs == 4 + 3
    assert sorted(p.name for p in store.root.iterdir()) == [
        "a%2Fb%20c%231.h5",
        "dense.h5",
        "index.json",
    ]


def test_the_next_frames_are_decoded_while_raft_works(tmp_path, monkeypatch):
    """Those of the same video, and of the next one of a worker's part."""
    decoded, seen = [], []
    whole = compute._frame

    def decode(frames, video, t, params):
        decoded.append(video)
        return whole(frames, video, t, params)

    class Slow(FakeEstimator):
        def estimate_both(self, frames, pairs):
            of_this_and_the_next = 3 * (self.calls + 2)  # a video is one batch, of three frames
            deadline = time.monotonic() + 10
            while len(decoded) < min(9, of_this_and_the_next) and time.monotonic() < deadline:
                time.sleep(0.01)
            seen.append(len(decoded))
            return super().estimate_both(frames, pairs)

    monkeypatch.setattr(compute, "_frame", decode)
    monkeypatch.setattr(compute, "_new_estimator", lambda params: Slow())
    videos = {name: {"split": "train", "stored": [0, 1, 2], "annotated": [1]} for name in "abc"}
    root = write_frames(tmp_path / "frames" / "toy", videos)
    job = compute.Job(root, "", params(), {})
    tasks = [compute.Task(name, [(0, 1), (1, 2)], tmp_path / name) for name in "abc"]
    rows = compute._compute_videos(job, tasks)
    assert [len(row["pairs"]) for row in rows] == [4, 4, 4]
    assert seen[0] >= 6 and seen[1:] == [9, 9]


def test_the_stored_field_is_in_pixels_of_its_own_grid(tmp_path, fake):
    fake()
    _, store = run(tmp_path, short_side=64)
    there, back = store.flow("dense", 1, 2), store.flow("dense", 2, 1)
    assert there.shape == (2, 32, 40)  # 64 x 80 at a stride of 2
    assert np.all(there[0] == 2) and np.all(there[1] == 0) and np.all(back[0] == -2)
    assert store.videos["dense"]["height"] == 32 and store.videos["dense"]["width"] == 40


def test_a_cell_is_the_mean_of_its_pixels():
    field = np.arange(2 * 4 * 6, dtype=np.float32).reshape(1, 2, 4, 6)
    small = to_stored_grid(field, 2)
    assert small.shape == (1, 2, 2, 3)
    assert small[0, 1, 1, 2] == field[0, 1, 2:4, 4:6].mean() / 2


@pytest.mark.parametrize(
    ("size", "changes", "expected"),
    [
        ((96, 128), {}, (96, 128)),
        ((64, 80), {}, (96, 120)),  # enlarged
        ((720, 1280), {}, (96, 170)),  # 170.67 -> 171 -> a whole number of stored cells
        ((1280, 720), {"short_side": 200, "stored_stride": 8}, (352, 200)),
        ((101, 77), {"short_side": 77, "stored_stride": 4}, (100, 76)),
    ],
)
def test_running_size(size, changes, expected):
    assert running_size(*size, params(**changes)) == expected


def test_two_runs_give_the_same_bytes(tmp_path, fake):
    for name in ("one", "two"):
        fake()
        run(tmp_path / name, write_frames(tmp_path / name / "frames" / "toy", VIDEOS))
    for path in sorted((tmp_path / "one" / "flow" / "toy").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / "flow" / "toy" / path.name).read_bytes(), (
            path.name
        )


def test_a_killed_run_resumes_at_the_unfinished_video(tmp_path, fake):
    frames = write_frames(tmp_path / "frames" / "toy", VIDEOS)
    fake(killed_at=2)  # the first video takes two batches: 4 pairs at 3 a batch
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, frames)
    assert not (tmp_path / "flow" / "toy").exists()
    again = fake()
    _, store = run(tmp_path, frames)
    assert again.pairs == 3  # "dense" alone
    assert store.has("a/b c#1", 0, 1) and store.has("dense", 0, 1)


def test_only_what_changed_is_computed_again(tmp_path, fake):
    frames = write_frames(tmp_path / "frames" / "toy", VIDEOS)
    fake()
    run(tmp_path, frames)
    same = fake()
    run(tmp_path, frames, batch_size=2)  # how many go at once is no part of the recipe
    assert same.calls == 0
    write_frames(frames, {**VIDEOS, "dense": {**VIDEOS["dense"], "seed": 9}})
    one = fake()
    run(tmp_path, frames)
    assert one.pairs == 3
    for change in ({"iterations": 3}, {"stored_stride": 4}, {"short_side": 64}):
        every = fake()
        run(tmp_path, frames, **change)
        assert every.pairs == 7, change


def test_other_weights_or_another_ptlflow_are_another_recipe(tmp_path, fake, monkeypatch):
    from losh.flow import raft

    frames = write_frames(tmp_path / "frames" / "toy", VIDEOS)
    fake()
    run(tmp_path, frames)
    with monkeypatch.context() as patch:
        patch.setattr(raft, "weights_digest", lambda model, checkpoint: "others")
        fresh = fake()
        run(tmp_path, frames)
        assert fresh.pairs == 7
    run(tmp_path, frames)
    monkeypatch.setattr("importlib.metadata.version", lambda package: "99")
    fresh = fake()
    run(tmp_path, frames)
    assert fresh.pairs == 7


def test_a_video_that_is_gone_leaves_nothing_behind(tmp_path, fake):
    frames = write_frames(tmp_path / "frames" / "toy", VIDEOS)
    fake()
    run(tmp_path, frames)
    write_frames(frames, {"dense": VIDEOS["dense"]})
    _, store = run(tmp_path, frames)
    assert sorted(p.name for p in store.root.iterdir()) == ["dense.h5", "index.json"]


def test_nan_stops_by_name_and_writes_nothing(tmp_path, fake):
    fake(nan_at=1)  # batch 1 of the first video holds the pair (6, 7) alone
    with pytest.raises(
        UserError, match=r"'a/b c#1' from frame 7 to 6 has 1 values that are not finite"
    ):
        run(tmp_path)
    assert not (tmp_path / "flow" / "toy").exists()


def test_nan_skipped_is_left_out_both_ways_and_counted(tmp_path, fake):
    frames = write_frames(tmp_path / "frames" / "toy", VIDEOS)
    fake(nan_at=1)
    index, store = run(tmp_path, frames, on_error="skip")
    assert (
        not store.has("a/b c#1", 6, 7)
        and not store.has("a/b c#1", 7, 6)
        and store.has("a/b c#1", 5, 6)
    )
    assert [(s["file"], list(s["pair"])) for s in index["skipped"]] == [("a/b c#1", [6, 7])]
    assert "not finite" in index["skipped"][0]["why"]
    # The faulty video is tried again once faults shall stop the stage; the whole one is not.
    again = fake()
    index, store = run(tmp_path, frames)
    assert again.pairs == 4 and index["skipped"] == [] and store.has("a/b c#1", 6, 7)


def test_a_video_of_which_nothing_is_left(tmp_path, fake):
    fake(nan_at=0)
    frames = write_frames(
        tmp_path / "frames" / "toy", {"v": {"split": "train", "stored": [0, 1], "annotated": [0]}}
    )
    index, store = run(tmp_path, frames, on_error="skip")
    assert index["videos"]["v"]["pairs"] == [] and not store.has("v", 0, 1)


def test_a_video_with_one_frame_has_no_pairs(tmp_path, fake):
    estimator = fake()
    frames = write_frames(
        tmp_path / "frames" / "toy", {"v": {"split": "train", "stored": [0], "annotated": [0]}}
    )
    index, _ = run(tmp_path, frames)
    assert index["videos"]["v"]["pairs"] == [] and estimator.calls == 0


def test_an_evaluation_only_dataset_needs_neither_torch_nor_ptlflow(tmp_path):
    write_frames(tmp_path / "frames" / "toy", {"v": VIDEOS["held out"]})
    script = f"""
import sys
from pathlib import Path
from losh.flow.compute import compute_flow
from losh.params import FlowParams
index = compute_flow(Path("frames/toy"), Path("flow/toy"), FlowParams(**{DEFAULT}), Path("scratch"))
assert not index["videos"] and Path("flow/toy/index.json").exists()
print(sorted(set(["torch", "ptlflow"]) & set(sys.modules)))
"""
    environment = {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
