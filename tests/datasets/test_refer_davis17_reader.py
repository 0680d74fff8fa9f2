"""Refer-DAVIS17 as published: two encodings, three misspelt videos, dense palette masks."""

import numpy as np
import pytest

from losh.datasets.refer_davis17 import ENCODINGS
from losh.errors import UserError
from losh.testing.dataset_fixtures import draw_clip, make_refer_davis17, reader_of, write_palette

KIND = "refer_davis17"


@pytest.fixture
def root(tmp_path):
    return make_refer_davis17(tmp_path / "davis")


def test_splits_are_the_published_lists(root):
    videos = reader_of(KIND, root).videos()
    assert [(video.split, video.video) for video in videos] == [
        ("train", "classic-car"),
        ("train", "dogs-scale"),
        ("valid", "blackswan"),
        ("valid", "camel"),
        ("valid", "motorbike"),
    ]
    assert all(
        video.annotated == tuple(range(6)) and len(video.frame_names) == 6 for video in videos
    )


def test_misspelt_videos_get_their_expressions(root):
    expressions = reader_of(KIND, root).expressions()
    for video in ("classic-car", "dogs-scale", "motorbike"):
        assert len([one for one in expressions if one.video == video]) == 8  # 2 objects x 4 sets
    assert len(expressions) == 40


def test_each_set_has_its_own_encoding_and_ids(root):
    expressions = reader_of(KIND, root).expressions()
    for one in ENCODINGS:
        own = [line for line in expressions if line.expression_set == one]
        assert all(line.text.endswith("café") for line in own) and len(own) == 10
        assert [(line.expression_id, line.instance) for line in own if line.video == "camel"] == [
            ("0", "1"),
            ("1", "2"),
        ]


def test_quotation_marks_go_from_the_ends_only(root):
    last = reader_of(KIND, root).expressions()[-1]
    assert last.text.startswith('the "green" disc that') and last.text.endswith("café")


def test_frames_are_the_published_bytes(root):
    reader = reader_of(KIND, root)
    video = reader.videos()[0]
    assert [data for data, _ in reader.frames(video)] == [
        (video.media / f"{t:05d}.jpg").read_bytes() for t in range(6)
    ]


def test_masks_name_all_described_objects_and_void_stands_by_itself(root):
    reader = reader_of(KIND, root)
    video = reader.videos()[0]
    masks = reader.masks(video, 0)
    assert list(masks) == ["1", "2"] and not masks["2"].any()
    truth = draw_clip(0, 6).objects[3]
    np.testing.assert_array_equal(reader.masks(video, 3)["2"], truth == 2)
    truth[0] = 255
    write_palette(root / "DAVIS/Annotations_unsupervised/480p/classic-car/00003.png", truth)
    masks = reader.masks(video, 3)
    assert list(masks) == ["1", "2", "255"]
    np.testing.assert_array_equal(masks["255"], truth == 255)
    assert "255" not in {one.instance for one in reader.expressions()}


@pytest.mark.parametrize("folder", ["JPEGImages", "Annotations_unsupervised"])
@pytest.mark.parametrize("number", [0, 3, 5])
def test_a_missing_file_leaves_the_others_their_numbers(root, folder, number):
    next((root / "DAVIS" / folder / "480p/camel").glob(f"{number:05d}.*")).unlink()
    reader = reader_of(KIND, root)
    video = next(video for video in reader.videos() if video.video == "camel")
    assert video.frame_names == tuple(f"{t:05d}" for t in range(6))
    assert video.annotated == tuple(range(6))
    with pytest.raises(UserError, match=f"{number:05d}"):
        [list(reader.frames(video)), *(reader.masks(video, t) for t in range(6))]


def test_val_alone_is_enough_and_other_videos_lines_are_passed_over(root):
    (root / "DAVIS/ImageSets/2017/train.txt").unlink()
    reader = reader_of(KIND, root)
    assert {video.split for video in reader.videos()} == {"valid"}
    assert {one.split for one in reader.expressions()} == {"valid"} and len(
        reader.expressions()
    ) == 24


def test_a_line_that_is_none_is_named(root):
    path = root / "davis_text_annotations/Davis17_annot1.txt"
    path.write_text(path.read_text() + 'camel "no object"\n')
    with pytest.raises(UserError, match=r"Davis17_annot1\.txt:11 is not `video object"):
        reader_of(KIND, root).expressions()


def test_a_video_of_neither_list_is_named(root):
    path = root / "davis_text_annotations/Davis17_annot1.txt"
    path.write_text(path.read_text() + 'camels 1 "two of them"\n')
    with pytest.raises(UserError, match=r"Davis17_annot1\.txt:11 names the video camels"):
        reader_of(KIND, root).expressions()


def test_annotator_1_in_latin_1_is_an_error_and_not_a_wrong_letter(root):
    path = root / "davis_text_annotations/Davis17_annot1.txt"
    path.write_bytes(path.read_text("utf-8").encode("latin-1"))
    with pytest.raises(UserError, match=r"Davis17_annot1\.txt is not utf-8"):
        reader_of(KIND, root).expressions()


def test_a_mask_that_does_not_decode_names_itself(root):
    reader = reader_of(KIND, root)
    path = root / "DAVIS/Annotations_unsupervised/480p/classic-car/00003.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UserError, match=r"00003\.png is missing or does not decode"):
        reader.masks(reader.videos()[0], 3)
