"""RefCOCO, RefCOCO+ and RefCOCOg as published: a pickle of references, COCO's own polygons."""

import json
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

from losh.datasets.refcoco import LAYOUTS, SPLITS
from losh.download import download
from losh.errors import UserError
from losh.frames.extract import extract_frames
from losh.params import FramesParams, PublishedParams
from losh.testing.dataset_fixtures import reader_of
from losh.testing.drawn_clip import draw_clip
from losh.testing.refcoco_fixture import CROWD, WITHOUT_AREA, make_refcoco

FIRST = "COCO_train2014_000000001000"
FRAMES = FramesParams(window=1, short_side=None, jpeg_quality=95, on_error="stop")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_refcoco(tmp_path / "source")


def rewrite_refs(root: Path, change: object) -> None:
    path = root / "coco/refcoco/refs(unc).p"
    refs = pickle.loads(path.read_bytes())
    path.write_bytes(pickle.dumps(change(refs), 2))


def rewrite_instances(root: Path, change: object) -> None:
    path = root / "coco/refcoco/instances.json"
    table = json.loads(path.read_text())
    change(table)
    path.write_text(json.dumps(table))


def annotation(table: dict, object_id: int) -> dict:
    return next(one for one in table["annotations"] if one["id"] == object_id)


def extract(base: Path, root: Path, monkeypatch: pytest.MonkeyPatch, on_error: str) -> dict:
    monkeypatch.setenv("LOSH_D", str(root))
    download("d", PublishedParams(kind="refcoco", source=str(root)), base / "raw", base / "none")
    params = FRAMES.model_copy(update={"on_error": on_error})
    return extract_frames(base / "raw", base / "frames", params, base / "scratch")


def test_an_image_is_a_video_of_one_frame_in_its_split(root):
    videos = reader_of("refcoco", root).videos()
    assert [(video.split, video.video[-4:]) for video in videos] == [
        ("testA", "1004"),
        ("testB", "1005"),
        ("train", "1000"),
        ("train", "1001"),
        ("train", "1002"),
        ("val", "1003"),
    ]
    assert all(video.annotated == (0,) and video.frame_names == () for video in videos)


def test_the_published_jpeg_is_the_frame_a_grey_one_too(root):
    reader = reader_of("refcoco", root)
    grey = next(video for video in reader.videos() if video.video.endswith("1001"))
    [(data, name)] = reader.frames(grey)
    assert data == grey.media.read_bytes() and name.endswith("COCO_train2014_000000001001.jpg")
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED).ndim == 2


def test_sentences_are_published_ones_with_ids_that_do_not_collide(root):
    expressions = reader_of("refcoco", root).expressions()
    assert [one.text for one in expressions[:2]] == [
        "the red square",
        "the red square on the left",
    ]
    assert all(one.text == one.text.lower() for one in expressions)
    ids = [one.expression_id for one in expressions]
    assert len(set(ids)) == len(ids)
    assert {one.split for one in expressions} == set(SPLITS["refcoco"])


def test_polygons_are_united_and_only_referred_objects_are_there(root):
    reader = reader_of("refcoco", root)
    video = next(video for video in reader.videos() if video.video.endswith("1002"))
    masks, truth = reader.masks(video, 0), draw_clip(2, 1).objects[0]
    assert list(masks) == ["21", "22"]
    np.testing.assert_array_equal(masks["21"], truth == 1)
    disc = truth == 2
    assert (masks["22"] & disc).sum() / (masks["22"] | disc).sum() > 0.85


def test_crowds_and_boxes_without_area_are_left_out(root):
    reader = reader_of("refcoco", root)
    first = next(video for video in reader.videos() if video.video == FIRST)
    assert list(reader.masks(first, 0)) == ["1", "2"]
    referred = {one.instance for one in reader.expressions() if one.video == FIRST}
    assert referred == {"1", "2", str(CROWD), str(WITHOUT_AREA)}


def test_a_box_beyond_the_image_has_no_area_in_it(root):
    rewrite_instances(root, lambda table: annotation(table, 1).update(bbox=[70.0, 3.0, 9.0, 9.0]))
    reader = reader_of("refcoco", root)
    assert list(reader.masks(reader.videos()[2], 0)) == ["2"]


def test_images_that_are_not_there_are_missing_and_others_no_surplus(root):
    inventory = reader_of("refcoco", root).inventory()
    assert set(inventory.listed) - inventory.present == {"COCO_train2014_000000001006"}
    assert "COCO_train2014_000000999999" not in inventory.present


def test_the_three_datasets_lie_side_by_side(tmp_path):
    for kind in LAYOUTS:
        make_refcoco(tmp_path, kind, train=1)
    splits = {
        kind: {video.split for video in reader_of(kind, tmp_path).videos()} for kind in LAYOUTS
    }
    assert splits == {kind: set(SPLITS[kind]) for kind in LAYOUTS}
    (tmp_path / "coco/refcoco+/refs(unc).p").unlink()
    found = LAYOUTS["refcoco_plus"].locate(tmp_path)
    assert LAYOUTS["refcoco_plus"].missing(found) == ["coco/refcoco+/refs(unc).p"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda refs: [r for r in refs if r["split"] != "testB"], "has no reference in the split"),
        (lambda refs: [refs[0] | {"split": "test"}, *refs[1:]], "names the split 'test'"),
        (lambda refs: [*refs, refs[0] | {"split": "val"}], "in the splits train and val"),
        (lambda refs: [*refs, refs[0] | {"image_id": 5}], "has no image 5"),
        (lambda refs: [*refs, refs[0] | {"ann_id": "1"}], "is not the published list"),
        (lambda refs: [*refs, refs[0] | {"sentences": [{}]}], "is not the published list"),
        (lambda refs: {"refs": refs}, "is not the published list"),
    ],
)
def test_a_missing_split_or_another_pickle_is_one_line(root, change, message):
    rewrite_refs(root, change)
    with pytest.raises(UserError, match=message) as error:
        reader_of("refcoco", root).videos()
    assert "refs(unc).p" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content",
    ["[]", "{", "{}", '{"images": [{"id": 1000}], "annotations": []}',
     '{"images": [{"id": 1000, "file_name": "../a.jpg", "height": 4, "width": 4}],'
     ' "annotations": []}'],
)  # fmt: skip
def test_another_instances_json_is_one_line(root, content):
    (root / "coco/refcoco/instances.json").write_text(content)
    with pytest.raises(UserError, match=r"instances\.json is not the published") as error:
        reader_of("refcoco", root).videos()
    assert "\n" not in str(error.value)


def drop(table: dict) -> None:
    table["annotations"].remove(annotation(table, 12))


WITHOUT_A_MASK = {
    "no annotation": drop,
    "no segmentation": lambda table: annotation(table, 12).pop("segmentation"),
    "no polygon": lambda table: annotation(table, 12).update(segmentation=[[1, 2, 3, 4]]),
    "without pixels": lambda table: annotation(table, 12).update(segmentation=[]),
}


@pytest.mark.parametrize("change", WITHOUT_A_MASK.values(), ids=WITHOUT_A_MASK)
def test_an_annotation_without_a_mask_is_one_line_or_skipped(root, change, tmp_path, monkeypatch):
    rewrite_instances(root, change)
    with pytest.raises(UserError, match=r"instances\.json, image COCO_\w+1001: .*12") as error:
        extract(tmp_path, root, monkeypatch, "stop")
    assert "\n" not in str(error.value)
    index = extract(tmp_path, root, monkeypatch, "skip")
    assert [note["file"] for note in index["skipped"]] == ["COCO_train2014_000000001001"]


def test_a_damaged_image_is_one_line_or_skipped(root, tmp_path, monkeypatch):
    (root / f"coco/train2014/{FIRST}.jpg").write_bytes(b"\xff\xd8 no picture")
    with pytest.raises(UserError, match=rf"{FIRST}\.jpg does not decode as an image") as error:
        extract(tmp_path, root, monkeypatch, "stop")
    assert "\n" not in str(error.value)
    index = extract(tmp_path, root, monkeypatch, "skip")
    assert [note["file"] for note in index["skipped"]] == [FIRST] and len(index["videos"]) == 5


def test_a_picture_of_another_size_than_its_annotations_is_one_line(root):
    path = root / f"coco/train2014/{FIRST}.jpg"
    cv2.imwrite(str(path), np.zeros((24, 32, 3), np.uint8))
    reader = reader_of("refcoco", root)
    first = next(video for video in reader.videos() if video.video == FIRST)
    with pytest.raises(UserError, match=rf"{FIRST}\.jpg is 24 x 32, but .* is 48 x 64") as error:
        reader.masks(first, 0)
    assert "\n" not in str(error.value)


def test_the_report_counts_images_and_sentences_of_each_split(root, tmp_path, monkeypatch):
    extract(tmp_path, root, monkeypatch, "stop")
    report = (tmp_path / "raw/report.txt").read_text()
    assert "3 of 16,994 train images" in report and "4 of 10,834 val expressions" in report
    assert "videos that are not there: 1" in report and "000000999999" not in report


def test_what_only_a_person_can_fetch_is_said_with_the_shared_page(tmp_path):
    given = PublishedParams(kind="refcoco_plus")
    with pytest.raises(UserError, match=r"docs/datasets/refcoco\.md says more") as error:
        download("refcoco_plus", given, tmp_path / "raw", tmp_path / "none")
    assert "train2014.zip" in str(error.value) and "refcoco+.zip" in str(error.value)
