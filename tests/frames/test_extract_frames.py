"""extract_frames: what is stored, kills survived, the same bytes again, bad files named."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from losh.download import download
from losh.errors import UserError
from losh.frames import FrameStore
from losh.frames.extract import extract_frames
from losh.frames.packing import needed_frames
from losh.params import FramesParams, PublishedParams
from losh.testing.dataset_fixtures import make_a2d, make_jhmdb, make_refer_youtube_vos

PARAMS = FramesParams(window=4, short_side=None, jpeg_quality=95, on_error="stop")
SKIP = PARAMS.model_copy(update={"on_error": "skip"})


@pytest.fixture
def a2d(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A prepared tiny A2D-Sentences; returns the folder that holds `source` and `raw`."""
    make_a2d(tmp_path / "source", train=2, test=1, num_frames=12, missing=0)
    monkeypatch.setenv("LOSH_A2D", str(tmp_path / "source"))
    download("a2d", PublishedParams(kind="a2d_sentences"), tmp_path / "raw", tmp_path / "none")
    return tmp_path


def digests(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
    }


def extract(base: Path, params: FramesParams = PARAMS, out: str = "out") -> dict:
    return extract_frames(base / "raw", base / out, params, base / "scratch")


def test_the_frames_of_windows_and_all_masks_are_stored(a2d: Path):
    index = extract(a2d)
    store = FrameStore(a2d / "out")
    for video, row in index["videos"].items():
        assert row["annotated"] == [2, 5, 8] and row["num_frames"] == 12
        assert row["stored"] == list(range(0, 10))  # c - 2 ... c + 1 around 2, 5 and 8
        assert store.frame(video, 4).shape == (row["height"], row["width"], 3)
        masks = store.masks(video, 5)
        assert set(row["instances"]["5"]) == {name for name, mask in masks.items() if mask.any()}
    with pytest.raises(UserError, match="frames/000011"):
        store.frame(video, 11)


def test_masks_lie_on_the_objects(a2d: Path):
    extract(a2d)
    store = FrameStore(a2d / "out")
    video = sorted(store.videos)[0]
    red = store.frame(video, 5)[store.masks(video, 5)["1"]].mean(0)
    assert red[0] > 150 and red[1] < 100  # the fixture's object 1 is a red square


@pytest.mark.parametrize(
    ("window", "expected"), [(1, [4, 5, 6]), (4, [3, 4, 5, 6]), (5, [3, 4, 5, 6, 7])]
)
def test_neighbours_for_flow_are_always_there(window, expected):
    assert needed_frames((5,), 20, window, "a2d") == expected
    assert needed_frames((5,), 20, window, "davis") == list(range(20))


def test_the_same_input_gives_the_same_bytes_and_nothing_is_decoded_twice(
    a2d: Path, monkeypatch: pytest.MonkeyPatch
):
    extract(a2d)
    before = digests(a2d / "out")
    items = sorted((a2d / "scratch" / "extract_frames" / "a2d").glob("*.zip"))
    stamps = [path.stat().st_mtime_ns for path in items]
    extract(a2d, out="again")
    assert digests(a2d / "again") == before
    assert [path.stat().st_mtime_ns for path in items] == stamps
    extract_frames(a2d / "raw", a2d / "fresh", PARAMS, a2d / "other_scratch")
    assert digests(a2d / "fresh") == before


def test_other_parameters_are_extracted_anew_and_old_items_removed(a2d: Path):
    extract(a2d)
    extract(a2d, PARAMS.model_copy(update={"short_side": 32}), out="small")
    store = FrameStore(a2d / "small")
    assert {min(row["height"], row["width"]) for row in store.videos.values()} == {32}
    assert len(list((a2d / "scratch" / "extract_frames" / "a2d").glob("*.zip"))) == len(
        store.videos
    )


def break_mp4(source: Path) -> Path:
    path = sorted(source.rglob("*.mp4"))[0]
    path.write_bytes(path.read_bytes()[:300])
    return path


def break_h5(source: Path) -> Path:
    path = sorted(source.rglob("*.h5"))[0]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def empty_mask(source: Path) -> Path:
    path = sorted(source.rglob("*.h5"))[0]
    with h5py.File(path, "r+") as file:
        file["reMask"][...] = 0
    return Path(path.parent.name)


@pytest.mark.parametrize(
    ("breakage", "why"), [(break_mp4, ""), (break_h5, ""), (empty_mask, "no pixel")]
)
def test_a_bad_file_stops_the_stage_and_is_named(breakage, why, a2d: Path):
    path = breakage(a2d / "source")
    with pytest.raises(UserError) as error:
        extract(a2d)
    assert (
        path.name in str(error.value) and why in str(error.value) and "\n" not in str(error.value)
    )
    assert not (a2d / "out").exists(), "nothing half-written may be left"


@pytest.mark.parametrize("breakage", [break_mp4, break_h5, empty_mask])
def test_a_bad_file_is_skipped_and_counted_where_the_parameter_says_so(breakage, a2d: Path):
    breakage(a2d / "source")
    index = extract(a2d, SKIP)
    assert len(index["skipped"]) >= 1 and index["videos"]
    assert json.loads((a2d / "out" / "index.json").read_text())["skipped"] == index["skipped"]


def test_an_annotation_beyond_the_videos_end_is_named(a2d: Path):
    video = sorted(
        (a2d / "source" / "text_annotations" / "a2d_annotation_with_instances").iterdir()
    )[0]
    (video / "00009.h5").rename(video / "00040.h5")
    download("a2d", PublishedParams(kind="a2d_sentences"), a2d / "raw", a2d / "none")
    (note,) = extract(a2d)["clamped"]
    assert note["file"] == video.name and note["why"] == (
        f"Release/clips320H/{video.name}.mp4 has 12 usable frames, but the annotation names frame "
        f"40: taken for frame 12"
    )


def test_odd_names_survive_and_masks_may_end_before_the_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    make_jhmdb(tmp_path / "source", videos=4)
    monkeypatch.setenv("LOSH_J", str(tmp_path / "source"))
    download("j", PublishedParams(kind="jhmdb_sentences"), tmp_path / "raw", tmp_path / "none")
    index = extract(tmp_path)
    store = FrameStore(tmp_path / "out")
    assert any(set(video) & set("#!( ") for video in index["videos"])
    for video, row in index["videos"].items():
        assert (
            store.frame(video, row["annotated"][0]).ndim == 3
            and max(row["annotated"]) < row["num_frames"] - 2
        )


def test_a_store_can_cross_a_fork(a2d: Path):
    extract(a2d)
    store = FrameStore(a2d / "out")
    video = sorted(store.videos)[0]
    expected = store.frame(video, 5)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        same = all(
            np.array_equal(store.frame(video, t), store.frame(video, t)) for t in (3, 4, 5)
        ) and np.array_equal(store.frame(video, 5), expected)
        os.write(writer, b"y" if same else b"n")
        os._exit(0)
    for _ in range(50):
        store.frame(video, 3)
    os.waitpid(child, 0)
    assert os.read(reader, 1) == b"y"


def test_dense_videos_keep_every_frame_and_frames_where_nothing_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    make_refer_youtube_vos(tmp_path / "source")
    monkeypatch.setenv("LOSH_Y", str(tmp_path / "source"))
    download("y", PublishedParams(kind="refer_youtube_vos"), tmp_path / "raw", tmp_path / "none")
    index = extract(tmp_path)
    for row in index["videos"].values():
        assert (
            row["stored"] == list(range(row["num_frames"]))
            and len(row["frame_names"]) == row["num_frames"]
        )
    gone = [
        row
        for row in index["videos"].values()
        if row["annotated"] and any(len(names) < 2 for names in row["instances"].values())
    ]
    assert gone, "the fixture's object leaves and returns"
