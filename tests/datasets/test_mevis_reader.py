"""MeViS as published: several objects a sentence, masks as run-length codes, valid without any."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from losh.datasets.mask_dict import MaskDict
from losh.datasets.mevis import NOTHING, RELEASES, MeViS
from losh.download import download
from losh.errors import UserError
from losh.frames import FrameStore
from losh.frames.extract import extract_frames
from losh.params import PublishedParams
from losh.testing.dataset_fixtures import reader_of
from losh.testing.drawn_clip import draw_clip
from losh.testing.mevis_fixture import make_mevis
from losh.testing.tiny_training import TINY_FRAMES


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_mevis(tmp_path / "source")


def reader(root: Path) -> MeViS:
    return reader_of("mevis", root)


def video_named(root: Path, name: str) -> tuple:
    one = reader(root)
    return one, next(video for video in one.videos() if video.video == name)


def rewrite(path: Path, change: object) -> None:
    table = json.loads(path.read_text())
    change(table)
    path.write_text(json.dumps(table))


def sentences(table: dict, video: str = "train000000") -> dict:
    return table["videos"][video]["expressions"]


def test_a_sentence_of_several_objects_is_their_union(root):
    expressions = [one for one in reader(root).expressions() if one.video == "train000002"]
    assert [one.instance for one in expressions] == ["21", "22", "21+22", "21+22"]
    one, video = video_named(root, "train000002")
    truth = draw_clip(2, 7).objects
    for t in video.annotated:
        masks = one.masks(video, t)
        assert list(masks) == ["21", "22", "21+22"]
        np.testing.assert_array_equal(masks["21+22"], truth[t] > 0)
        np.testing.assert_array_equal(masks["22"], truth[t] == 2)
    assert video.unions == {"21+22": ("21", "22")}


def test_overlapping_objects_are_joined_and_not_added(root):
    def overlap(table: dict) -> None:
        table["22"] = table["21"]

    rewrite(root / "train/mask_dict.json", overlap)
    one, video = video_named(root, "train000002")
    masks = one.masks(video, 0)
    assert masks["21+22"].dtype == bool
    np.testing.assert_array_equal(masks["21+22"], masks["21"])


def test_masks_follow_the_sorted_names_whatever_the_tables_order(root):
    one, video = video_named(root, "train000000")
    assert video.frame_names == tuple(f"{t:05d}" for t in range(7))
    truth = draw_clip(0, 7, absent={1: {2, 3, 4}}).objects
    for t in video.annotated:
        masks = one.masks(video, t)
        np.testing.assert_array_equal(masks["1"], truth[t] == 1)  # null: it is not in the picture
        np.testing.assert_array_equal(masks["1+2"], truth[t] > 0)


def test_valid_has_no_masks_and_names_no_objects(root):
    one, video = video_named(root, "valid000000")
    assert video.annotated == () and one.annotation_files(video) == [] and video.unions == {}
    assert {e.instance for e in one.expressions() if e.split == "valid"} == {""}
    shutil.rmtree(root / "train")
    assert {video.split for video in reader(root).videos()} == {"valid_u", "valid"}


def test_a_sentence_without_objects_has_an_empty_truth(tmp_path, monkeypatch):
    root = make_mevis(tmp_path / "source", empty=True)
    one, video = video_named(root, "validu000000")
    assert next(e for e in one.expressions() if e.split == "valid_u" and e.expression_id == "4")
    assert [e.instance for e in one.expressions() if e.expression_id == "4"] == [
        *[NOTHING] * 5,
        "",  # of valid
    ]
    assert not one.masks(video, 0)[NOTHING].any()
    monkeypatch.setenv("LOSH_D", str(root))
    download("d", PublishedParams(kind="mevis"), tmp_path / "raw", tmp_path / "none")
    assert "5 expressions without an object" in (tmp_path / "raw/report.txt").read_text()
    extract_frames(tmp_path / "raw", tmp_path / "frames", TINY_FRAMES, tmp_path / "scratch")
    row = FrameStore(tmp_path / "frames").videos["train000002"]
    assert row["instances"]["0"] == ["21", "21+22", "22"]
    assert row["unions"] == {"21+22": ["21", "22"]}


@pytest.mark.parametrize("release", RELEASES)
def test_the_release_is_known_by_its_sentences(root, release, tmp_path, monkeypatch):
    counts = {"train": 12, "valid_u": 8, "valid": 4}
    monkeypatch.setitem(RELEASES, release, counts)
    assert reader(root).release == release
    download("d", PublishedParams(kind="mevis", source=str(root)), tmp_path / "raw", tmp_path)
    assert json.loads((tmp_path / "raw/dataset.json").read_text())["release"] == release
    monkeypatch.setitem(RELEASES, release, {**counts, "valid": 5})
    assert reader(root).release == "unknown"


NO_LIST = r"train/meta_expressions\.json is not the published .*video train000000, sentence 1 has"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: sentences(table)["1"].pop("anno_id"), NO_LIST + " no list anno_id"),
        (lambda table: sentences(table)["1"].update(anno_id=["one"]), NO_LIST + " no list"),
        (lambda table: sentences(table)["1"].pop("exp"), NO_LIST + " no exp"),
        (lambda table: table["videos"]["train000000"].pop("frames"), "not the published"),
        (lambda table: table.pop("videos"), "not the published"),
    ],
)
def test_another_table_is_one_line(root, change, message):
    rewrite(root / "train/meta_expressions.json", change)
    with pytest.raises(UserError, match=message) as error:
        reader(root).videos()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["valid_u/mask_dict.json", "valid_u/meta_expressions.json"])
def test_a_split_that_is_there_in_part_is_one_line(root, name):
    (root / name).unlink()
    with pytest.raises(UserError, match=rf"has valid_u/JPEGImages, but no {name}") as error:
        reader(root).videos()
    assert "\n" not in str(error.value)


def test_a_video_in_two_splits_is_one_line(root):
    for name in ("meta_expressions.json", "mask_dict.json"):
        shutil.copy(root / "train" / name, root / "valid_u" / name)
    with pytest.raises(UserError, match="video train000000 in the splits train and valid_u"):
        reader(root).videos()


WITHOUT_A_MASK = {
    "no object": (lambda table: table.pop("21"), "has no masks of object 21"),
    "too few": (lambda table: table["21"].pop(), "object 21 has 6 masks, but the video has 7"),
    "damaged": (
        lambda table: table["21"][0].update(counts="x"),
        r"frame 00000: object 21 cannot be read",
    ),
    "another size": (
        lambda table: table["21"].__setitem__(0, {"size": [2, 2], "counts": "4"}),
        "the mask of object 21 is 2 x 2, but the frame is 48 x 64",
    ),
}


@pytest.mark.parametrize(("change", "message"), WITHOUT_A_MASK.values(), ids=WITHOUT_A_MASK)
def test_an_annotation_without_a_mask_is_one_line_or_skipped(
    root, change, message, tmp_path, monkeypatch
):
    rewrite(root / "train/mask_dict.json", change)
    monkeypatch.setenv("LOSH_D", str(root))
    download("d", PublishedParams(kind="mevis"), tmp_path / "raw", tmp_path / "none")
    places = (tmp_path / "raw", tmp_path / "frames")
    with pytest.raises(UserError, match=message) as error:
        extract_frames(*places, TINY_FRAMES, tmp_path / "scratch")
    assert "mask_dict.json" in str(error.value) and "\n" not in str(error.value)
    skipping = TINY_FRAMES.model_copy(update={"on_error": "skip"})
    index = extract_frames(*places, skipping, tmp_path / "scratch")
    assert [note["file"] for note in index["skipped"]] == ["train000002"]


def test_masks_are_read_an_object_at_a_time_whatever_the_spaces(tmp_path):
    table = {"7": [None, {"size": [2, 3], "counts": "06"}], "12": [None], "3": []}
    for form in ({}, {"separators": (",", ":")}, {"indent": 2}):
        path = tmp_path / "mask_dict.json"
        path.write_text(json.dumps(table, **form))
        masks = MaskDict(path)
        assert {key: masks.codes(key) for key in table} == table and "1" not in masks
    path.write_text(json.dumps(table)[:30])
    with pytest.raises(UserError, match=r"mask_dict\.json is damaged at object 7"):
        MaskDict(path).codes("7")
    for content in ("", "{}", "[]"):
        path.write_text(content)
        with pytest.raises(UserError, match=r"mask_dict\.json is not the published"):
            MaskDict(path)
