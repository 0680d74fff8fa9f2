"""Refer-YouTube-VOS as published: sparse frames, palette masks, test videos in valid."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from losh.errors import UserError
from losh.testing.dataset_fixtures import draw_clip, make_refer_youtube_vos, reader_of

KIND = "refer_youtube_vos"


def video_named(reader, name):
    return next(video for video in reader.videos() if video.video == name)


def test_every_fifth_frame_is_a_frame_of_ours(tmp_path):
    reader = reader_of(KIND, make_refer_youtube_vos(tmp_path))
    video = video_named(reader, "train000000")
    assert video.frame_names == tuple(
        f"{5 * t:05d}" for t in range(7)
    ) and video.annotated == tuple(range(7))
    for (data, name), stem in zip(reader.frames(video), video.frame_names, strict=True):
        assert data == (video.media / f"{stem}.jpg").read_bytes() and name.endswith(f"{stem}.jpg")


def test_valid_is_valid_minus_test(tmp_path):
    reader = reader_of(KIND, make_refer_youtube_vos(tmp_path))
    # Even where the test set's frames lie in valid/JPEGImages, as in the published archive.
    for number in range(2):
        (tmp_path / "valid/JPEGImages" / f"hidden{number}").mkdir()
    assert [video.video for video in reader.videos() if video.split == "valid"] == [
        "valid000000",
        "valid000001",
    ]
    inventory = reader.inventory()
    assert "hidden0" not in inventory.listed and inventory.unused == {"hidden0", "hidden1"}


def test_without_the_test_list_valid_is_what_has_frames(tmp_path):
    reader = reader_of(KIND, make_refer_youtube_vos(tmp_path, test_file=False))
    assert [video.video for video in reader.videos() if video.split == "valid"] == [
        "valid000000",
        "valid000001",
    ]
    assert "hidden0" in reader.inventory().listed


def test_train_expressions_name_their_instance_and_valid_ones_do_not(tmp_path):
    expressions = reader_of(KIND, make_refer_youtube_vos(tmp_path)).expressions()
    own = [(one.expression_id, one.instance) for one in expressions if one.video == "train000000"]
    assert own == [("0", "1"), ("1", "1"), ("2", "2"), ("3", "2")]
    assert {one.instance for one in expressions if one.split == "valid"} == {""}
    assert len(expressions) == 20


def test_an_object_that_leaves_is_an_empty_mask_until_it_returns(tmp_path):
    reader = reader_of(KIND, make_refer_youtube_vos(tmp_path))
    video = video_named(reader, "train000000")
    truth = draw_clip(0, 7, absent={1: {2, 3, 4}}).objects
    for t in range(7):
        masks = reader.masks(video, t)
        assert list(masks) == ["1", "2"] and masks["1"].any() == (t not in (2, 3, 4))
        for one, mask in masks.items():
            np.testing.assert_array_equal(mask, truth[t] == int(one))


def test_a_video_shorter_than_a_window_is_read_as_it_is(tmp_path):
    reader = reader_of(KIND, make_refer_youtube_vos(tmp_path))
    assert len(list(reader.frames(video_named(reader, "train000001")))) == 3


def test_published_valid_has_no_masks(tmp_path):
    reader = reader_of(KIND, make_refer_youtube_vos(tmp_path))
    video = video_named(reader, "valid000000")
    assert video.annotated == () and reader.annotation_files(video) == []


def test_valid_palette_masks_with_ids(tmp_path):
    reader = reader_of(
        KIND, make_refer_youtube_vos(tmp_path, valid_masks="palette", valid_ids=True)
    )
    video = video_named(reader, "valid000000")
    assert video.annotated == tuple(range(7))
    np.testing.assert_array_equal(reader.masks(video, 3)["2"], draw_clip(0, 7).objects[3] == 2)
    assert [one.instance for one in reader.expressions() if one.video == "valid000000"] == [
        "1",
        "1",
        "2",
        "2",
    ]


def test_valid_palette_masks_without_ids_leave_the_instance_open(tmp_path):
    reader = reader_of(KIND, make_refer_youtube_vos(tmp_path, valid_masks="palette"))
    assert list(reader.masks(video_named(reader, "valid000000"), 0)) == ["1", "2"]
    assert {one.instance for one in reader.expressions() if one.split == "valid"} == {""}


def test_valid_masks_in_one_folder_an_expression(tmp_path):
    reader = reader_of(KIND, make_refer_youtube_vos(tmp_path, valid_masks="expressions"))
    video = video_named(reader, "valid000000")
    masks = reader.masks(video, 2)
    truth = draw_clip(0, 7).objects[2]
    assert [one.instance for one in reader.expressions() if one.video == "valid000000"] == [
        "0",
        "1",
        "2",
        "3",
    ]
    np.testing.assert_array_equal(masks["0"], truth == 1)
    np.testing.assert_array_equal(masks["2"], truth == 2)
    assert video.annotated == tuple(range(7)) and len(reader.annotation_files(video)) == 28
    (tmp_path / "valid/Annotations/valid000000/3/00010.png").unlink()
    assert len(reader.annotation_files(video)) == 28, "a release would have it"
    with pytest.raises(UserError, match=r"3/00010\.png is missing"):
        reader.masks(video, 2)


def test_an_expression_without_a_folder_of_masks_stays_open(tmp_path):
    reader = reader_of(KIND, make_refer_youtube_vos(tmp_path, valid_masks="expressions"))
    shutil.rmtree(tmp_path / "valid/Annotations/valid000000/3")
    own = [one.instance for one in reader.expressions() if one.video == "valid000000"]
    assert own == ["0", "1", "2", ""]
    assert list(reader.masks(video_named(reader, "valid000000"), 0)) == ["0", "1", "2"]


def test_masks_of_some_valid_videos_are_masks_of_those(tmp_path):
    make_refer_youtube_vos(tmp_path, valid_masks="palette", valid_ids=True)
    shutil.rmtree(tmp_path / "valid/Annotations/valid000001")
    valid = [video for video in reader_of(KIND, tmp_path).videos() if video.split == "valid"]
    assert [video.annotated for video in valid] == [tuple(range(7)), ()]


def test_every_training_frame_should_have_its_mask(tmp_path):
    make_refer_youtube_vos(tmp_path)
    (tmp_path / "train/Annotations/train000000/00010.png").unlink()
    reader = reader_of(KIND, tmp_path)
    video = video_named(reader, "train000000")
    assert video.annotated == tuple(range(7)) and len(reader.annotation_files(video)) == 7
    with pytest.raises(UserError, match=r"00010\.png is missing"):
        reader.masks(video, 2)


def test_frames_are_sorted_whatever_the_tables_order(tmp_path):
    make_refer_youtube_vos(tmp_path)
    path = tmp_path / "meta_expressions/train/meta_expressions.json"
    table = json.loads(path.read_text())
    table["videos"]["train000000"]["frames"].reverse()
    path.write_text(json.dumps(table))
    video = video_named(reader_of(KIND, tmp_path), "train000000")
    assert video.frame_names == tuple(f"{5 * t:05d}" for t in range(7))


def test_train_or_valid_alone_is_enough(tmp_path):
    make_refer_youtube_vos(tmp_path)
    shutil.rmtree(tmp_path / "train")
    assert {video.split for video in reader_of(KIND, tmp_path).videos()} == {"valid"}


def test_a_frame_that_is_listed_but_not_there_names_itself(tmp_path):
    reader = reader_of(KIND, make_refer_youtube_vos(tmp_path))
    video = video_named(reader, "train000000")
    (video.media / "00010.jpg").unlink()
    with pytest.raises(UserError, match=r"00010\.jpg cannot be read"):
        list(reader.frames(video))


def test_a_mask_that_lost_its_palette_is_an_error(tmp_path):
    reader = reader_of(KIND, make_refer_youtube_vos(tmp_path))
    path = tmp_path / "train/Annotations/train000000/00000.png"
    Image.open(path).convert("RGB").save(path)
    with pytest.raises(UserError, match=r"00000\.png is RGB, not a palette image"):
        reader.masks(video_named(reader, "train000000"), 0)


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{",
        '{"videos": {"a": {"frames": []}}}',
        '{"videos": {"a": {"frames": [], "expressions": {"0": {}}}}}',
        '{"videos": {"a": {"frames": [], "expressions": {"0": {"exp": "x", "obj_id": "one"}}}}}',
    ],
)
def test_other_json_is_named(tmp_path, content):
    make_refer_youtube_vos(tmp_path)
    (tmp_path / "meta_expressions/train/meta_expressions.json").write_text(content)
    with pytest.raises(UserError, match=r"train/meta_expressions\.json is not the published"):
        reader_of(KIND, tmp_path).videos()


def test_expressions_keep_the_published_order(tmp_path):
    make_refer_youtube_vos(tmp_path)
    path = tmp_path / "meta_expressions/train/meta_expressions.json"
    table = json.loads(path.read_text())
    entry = table["videos"]["train000000"]
    entry["expressions"] = dict(reversed(entry["expressions"].items()))
    path.write_text(json.dumps(table))
    own = [
        one.expression_id
        for one in reader_of(KIND, tmp_path).expressions()
        if one.video == "train000000"
    ]
    assert own == ["3", "2", "1", "0"]
