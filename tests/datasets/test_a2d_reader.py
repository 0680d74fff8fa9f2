"""A2D-Sentences as published: transposed masks, the copied row, subsets, files that are broken."""

import h5py
import numpy as np
import pytest

from losh.errors import UserError
from losh.media.decoding import as_rows_first
from losh.testing.dataset_fixtures import COPIED_VIDEO, SIZE, draw_clip, make_a2d, reader_of


@pytest.fixture
def root(tmp_path):
    return make_a2d(tmp_path / "a2d")


def video_named(reader, name):
    return next(video for video in reader.videos() if video.video == name)


def test_videos_have_their_split_and_their_frames_from_zero(root):
    listed = root / "Release/videoset.csv"
    listed.write_text("\n".join(reversed(listed.read_text().splitlines())))
    videos = reader_of("a2d_sentences", root).videos()
    assert [video.split for video in videos] == ["test"] * 2 + ["train"] * 3
    assert all(video.annotated == (2, 5, 8) for video in videos)
    assert [video.video for video in videos] == sorted(
        video.video for video in videos[:2]
    ) + sorted(video.video for video in videos[2:])


def test_frames_are_the_clip_in_order(root):
    reader = reader_of("a2d_sentences", root)
    frames = [frame for frame, _ in reader.frames(video_named(reader, COPIED_VIDEO))]
    drawn = draw_clip(0, 12).frames
    assert len(frames) == 12
    for frame, truth in zip(frames, drawn, strict=True):
        assert frame.dtype == np.uint8 and frame.shape == (*SIZE, 3)
        # Lossy, but not another frame, and not BGR.
        assert abs(frame.astype(int) - truth).mean() < 8


def test_masks_are_transposed_back(root):
    reader = reader_of("a2d_sentences", root)
    masks = reader.masks(video_named(reader, COPIED_VIDEO), 5)
    truth = draw_clip(0, 12).objects[5]
    assert list(masks) == ["1", "2"]
    for instance, mask in masks.items():
        np.testing.assert_array_equal(mask, truth == int(instance))


def test_a_single_instance_has_no_first_axis(root):
    reader = reader_of("a2d_sentences", root)
    masks = reader.masks(video_named(reader, "a-0001=_x"), 2)
    np.testing.assert_array_equal(masks["1"], draw_clip(1, 12).objects[2] == 1)
    assert list(masks) == ["1"]


def test_upright_masks_are_read_too_and_square_ones_as_published():
    mask = np.zeros((6, 9), bool)
    mask[1, 7] = True
    np.testing.assert_array_equal(as_rows_first(mask, 6, 9, "x.h5"), mask)
    np.testing.assert_array_equal(as_rows_first(mask.T, 6, 9, "x.h5"), mask)
    square = np.triu(np.ones((5, 5), bool))
    np.testing.assert_array_equal(as_rows_first(square, 5, 5, "x.h5"), square.T)


def test_a_mask_of_an_odd_size_fits_its_rounded_video():
    mask = np.ones((63, 48), bool)
    assert as_rows_first(mask, 48, 64, "x.h5").shape == (48, 64)
    # 48 x 49 can be read either way: the exact match wins over the published orientation.
    upright = np.triu(np.ones((48, 49), bool))
    np.testing.assert_array_equal(as_rows_first(upright, 48, 49, "x.h5"), upright)


def test_the_copied_row_is_dropped_and_the_others_are_kept_as_written(root):
    expressions = reader_of("a2d_sentences", root).expressions()
    own = [one for one in expressions if one.video == COPIED_VIDEO]
    assert [(one.instance, one.expression_id) for one in own] == [("1", "0"), ("2", "1")]
    assert own[1].text == 'a "green" disc, which is rolling'
    assert len(expressions) == 9 and {one.short_text for one in expressions} == {""}


def test_a_fourth_column_is_the_short_text(tmp_path):
    expressions = reader_of("a2d_sentences", make_a2d(tmp_path, short_queries=True)).expressions()
    assert {one.short_text for one in expressions} == {"the red square", "the green disc"}
    assert expressions[1].text == 'a "green" disc, which is rolling'


def test_a_comma_that_nobody_quoted_and_an_unmatched_quotation_mark_do_no_harm(root):
    path = root / "text_annotations" / "a2d_annotation.txt"
    path.write_text(
        f'video_id,instance_id,query\n{COPIED_VIDEO},1,a dog, barking\n{COPIED_VIDEO},2,"a '
        f"cat\na-0001=_x,1,a \u2028 bird\n",
        "utf-8",
    )
    assert [one.text for one in reader_of("a2d_sentences", root).expressions()] == [
        "a dog, barking",
        "a cat",
        "a \u2028 bird",
    ]


def test_missing_videos_are_counted_and_undescribed_ones_are_not_used(root):
    reader = reader_of("a2d_sentences", root)
    inventory = reader.inventory()
    assert set(inventory.listed) - {video.video for video in reader.videos()} == {"gone0"}
    assert inventory.unused == {"never_described"} and "never_described" not in inventory.listed
    assert "gone0" not in {one.video for one in reader.expressions()}


def test_a_generated_dataset_must_be_whole(root):
    reader = reader_of("moving_shapes", root, strict=True)
    with pytest.raises(UserError, match=r"gone0\.mp4 is missing"):
        list(reader.frames(video_named(reader, "gone0")))
    with (root / "text_annotations" / "a2d_annotation.txt").open("a") as file:
        file.write("nowhere,1,a dog\n")
    with pytest.raises(UserError, match=r"a2d_annotation\.txt:13 names the video nowhere"):
        reader.expressions()


@pytest.mark.parametrize("keep", [0.0, 0.5])
def test_a_cut_video_names_itself(root, keep):
    reader = reader_of("a2d_sentences", root)
    video = video_named(reader, COPIED_VIDEO)
    video.media.write_bytes(video.media.read_bytes()[: int(keep * video.media.stat().st_size)])
    with pytest.raises(UserError, match=rf"{COPIED_VIDEO}\.mp4 does not decode"):
        list(reader.frames(video))


def test_a_video_that_ends_early_names_itself(root, monkeypatch):
    reader = reader_of("a2d_sentences", root)
    video = video_named(reader, COPIED_VIDEO)
    monkeypatch.setattr("losh.media.decoding.CUT_SHORT", 1.5)
    with pytest.raises(UserError, match=rf"{COPIED_VIDEO}\.mp4 ends early: 12 of 12"):
        list(reader.frames(video))


def test_a_truncated_mask_file_names_itself(root):
    reader = reader_of("a2d_sentences", root)
    video = video_named(reader, COPIED_VIDEO)
    path = root / "text_annotations/a2d_annotation_with_instances" / COPIED_VIDEO / "00003.h5"
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(UserError, match=r"00003\.h5 is truncated"):
        reader.masks(video, 2)
    path.unlink()
    with pytest.raises(UserError, match=r"00003\.h5 is missing"):
        reader.masks(video, 2)


@pytest.mark.parametrize("shape", [(2, 30, 48), (3, 64, 48), (1, 2, 64, 48)])
def test_masks_of_another_shape_name_their_file(root, shape):
    reader = reader_of("a2d_sentences", root)
    path = root / "text_annotations/a2d_annotation_with_instances" / COPIED_VIDEO / "00003.h5"
    with h5py.File(path, "w") as file:
        file["instance"], file["reMask"] = [1, 2], np.zeros(shape, np.uint8)
    with pytest.raises(UserError, match=r"00003\.h5 has"):
        reader.masks(video_named(reader, COPIED_VIDEO), 2)


def test_a2ds_own_annotation_without_instances_is_told_apart(root):
    reader = reader_of("a2d_sentences", root)
    path = root / "text_annotations/a2d_annotation_with_instances" / COPIED_VIDEO / "00003.h5"
    with h5py.File(path, "w") as file:
        file["reMask"] = np.zeros((64, 48), np.uint8)
    with pytest.raises(UserError, match="lacks `instance`"):
        reader.masks(video_named(reader, COPIED_VIDEO), 2)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("Release/videoset.csv", "a,1,0,1,48,64,12,3\n", r"videoset\.csv:1 is not a row"),
        ("Release/videoset.csv", "a,1,0,1,48,64,12,3,2\n", r"videoset\.csv:1 is not a row"),
        (
            "text_annotations/a2d_annotation.txt",
            "video_id,query\n",
            r"a2d_annotation\.txt:1 has no column instance_id",
        ),
        (
            "text_annotations/a2d_annotation.txt",
            "video_id,instance_id,query\nx,1\n",
            r"a2d_annotation\.txt:2 has 2 columns",
        ),
        (
            "text_annotations/a2d_annotation.txt",
            "video_id,instance_id,query\nx,one,y\n",
            r"a2d_annotation\.txt:2 has the instance 'one'",
        ),
        (
            "text_annotations/a2d_annotation.txt",
            "video_id,instance_id,query,short_query\nx,1,y,z,w\n",
            r"a2d_annotation\.txt:2 has 5 columns",
        ),
    ],
)
def test_a_malformed_table_names_file_and_line(root, name, text, message):
    (root / name).write_text(text)
    with pytest.raises(UserError, match=message):
        reader_of("a2d_sentences", root).expressions()


def test_text_in_another_encoding_is_an_error(root):
    (root / "text_annotations/a2d_annotation.txt").write_bytes(
        b"video_id,instance_id,query\nx,1,caf\xe9\n"
    )
    with pytest.raises(UserError, match=r"a2d_annotation\.txt is not utf-8"):
        reader_of("a2d_sentences", root).expressions()
