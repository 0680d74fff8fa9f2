"""Damaged releases: what is missing or broken is reported, refused, or counted and skipped.

Never is a mask stored with another frame's picture.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import scipy.io

from losh.download import download
from losh.errors import UserError
from losh.frames import FrameStore
from losh.frames.extract import extract_frames
from losh.params import FramesParams, PublishedParams
from losh.testing.dataset_fixtures import (
    DAVIS_NAMES,
    JHMDB_NAMES,
    MAKERS,
    draw_clip,
    make_jhmdb,
    reader_of,
)

STOP = FramesParams(window=4, short_side=None, jpeg_quality="lossless", on_error="stop")
SKIP = STOP.model_copy(update={"on_error": "skip"})
LABEL, PERSON_VIDEO = JHMDB_NAMES[0]


class Release:
    """A published dataset on disk, and the stages that read it."""

    def __init__(self, base: Path, kind: str, **options: object) -> None:
        self.base, self.kind = base, kind
        self.root = MAKERS[kind](base / "source", **options)

    def extract(self, params: FramesParams = STOP) -> dict:
        """Check and extract the release as it is now."""
        given = PublishedParams(kind=self.kind, source=str(self.root))
        self.dataset = download("d", given, self.base / "raw", self.base / "none")
        self.report = (self.base / "raw" / "report.txt").read_text()
        return extract_frames(self.base / "raw", self.base / "out", params, self.base / "scratch")

    @property
    def store(self) -> FrameStore:
        return FrameStore(self.base / "out")


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Release]:
    """Makes a kind's release, where later stages look for it."""

    def make(kind: str, **options: object) -> Release:
        made = Release(tmp_path, kind, **options)
        monkeypatch.setenv("LOSH_D", str(made.root))
        return made

    return make


def png(label: str, video: str, number: int) -> str:
    return f"Rename_Images/{label}/{video}/{number:05d}.png"


DAVIS_FRAME = f"DAVIS/JPEGImages/480p/{DAVIS_NAMES['val'][1]}/00003.jpg"
DAVIS_MASK = f"DAVIS/Annotations_unsupervised/480p/{DAVIS_NAMES['train'][0]}/00002.png"
REMOVED = [
    ("jhmdb_sentences", png(LABEL, PERSON_VIDEO, 4), PERSON_VIDEO),
    ("jhmdb_sentences", png(LABEL, PERSON_VIDEO, 1), PERSON_VIDEO),
    ("refer_davis17", DAVIS_FRAME, DAVIS_NAMES["val"][1]),
    ("refer_davis17", DAVIS_MASK, DAVIS_NAMES["train"][0]),
    ("refer_davis17", DAVIS_MASK.replace("00002", "00005"), DAVIS_NAMES["train"][0]),
    ("refer_youtube_vos", "train/JPEGImages/train000000/00010.jpg", "train000000"),
    ("refer_youtube_vos", "valid/JPEGImages/valid000001/00010.jpg", "valid000001"),
    ("refer_youtube_vos", "train/Annotations/train000000/00015.png", "train000000"),
]


@pytest.mark.parametrize(("kind", "removed", "video"), REMOVED)
def test_a_missing_file_is_reported_refused_or_skipped_and_counted(kind, removed, video, release):
    made = release(kind)
    whole = {name: row["sha256"] for name, row in made.extract()["videos"].items()}
    (made.root / removed).unlink()
    with pytest.raises(UserError) as error:
        made.extract()
    message = str(error.value)
    assert removed in message and "leaves the whole video out" in message and "\n" not in message
    assert made.report.startswith("d: damaged") and removed in made.report
    assert made.dataset["faults"]["lacking"] == 1 and made.dataset["complete"] is False
    index = made.extract(SKIP)
    assert [note["file"] for note in index["skipped"]] == [video]
    assert removed in index["skipped"][0]["why"] and str(made.root) not in str(index)
    rest = {name: digest for name, digest in whole.items() if name != video}
    assert {name: row["sha256"] for name, row in index["videos"].items()} == rest


def test_what_is_skipped_is_named_on_the_screen(release, capsys):
    made = release("refer_davis17")
    (made.root / DAVIS_FRAME).unlink()
    made.extract(SKIP)
    shown = capsys.readouterr().out
    assert "skipped 1 times in 1 videos" in shown and DAVIS_FRAME in shown


def test_a_frame_keeps_its_number_where_one_before_it_is_missing(tmp_path):
    root = make_jhmdb(tmp_path)
    (root / png(LABEL, PERSON_VIDEO, 4)).unlink()
    reader = reader_of("jhmdb_sentences", root, {PERSON_VIDEO: [5]})
    video = next(one for one in reader.videos() if one.video == PERSON_VIDEO)
    assert video.frame_names == tuple(f"{number:05d}" for number in range(1, 9))
    np.testing.assert_array_equal(reader.masks(video, 5)["1"], draw_clip(0, 8).objects[5] == 1)


def damage(path: Path, cut: bool) -> Path:
    """Take 40 bytes out of a file's middle, or set them to 0."""
    data, middle = path.read_bytes(), path.stat().st_size // 2
    path.write_bytes(data[:middle] + (b"" if cut else bytes(40)) + data[middle + 40 :])
    return path


@pytest.mark.parametrize("cut", [True, False])
def test_an_mp4_damaged_in_its_middle_is_refused_or_counted(cut, release):
    made = release("a2d_sentences", missing=0)
    path = damage(sorted(made.root.rglob("*.mp4"))[0], cut)
    with pytest.raises(UserError, match=path.name):
        made.extract()
    index = made.extract(SKIP)
    assert [note["file"] for note in index["skipped"]] == [path.stem]
    assert len(index["videos"]) == 4


def rewrite_masks(root: Path, frames: int) -> None:
    """Give JHMDB's first video masks of so many frames."""
    path = root / "puppet_mask" / LABEL / PERSON_VIDEO / "puppet_mask.mat"
    parts = (draw_clip(0, 20).objects[:frames] == 1).transpose(1, 2, 0) * np.uint8(3)
    scipy.io.savemat(path, {"part_mask": parts}, do_compression=True)


def choose_frames(root: Path, numbers: list[int]) -> None:
    """The published list of samples with these frames (from 1) of JHMDB's first video."""
    rows = [[PERSON_VIDEO, f"./{number:05d}.png", "./m.mat", 6, "q"] for number in numbers]
    text = str(rows).replace("'", '"')
    (root / "jhmdb_sentences_samples_metadata.json").write_text(text)


def test_jhmdb_windows_stay_within_the_frames_that_have_masks(release):
    made = release("jhmdb_sentences", num_frames=12)
    rewrite_masks(made.root, 6)
    choose_frames(made.root, [6])
    row = made.extract()["videos"][PERSON_VIDEO]
    assert (row["num_frames"], row["usable_frames"], row["annotated"]) == (12, 6, [5])
    assert row["stored"] == [3, 4, 5], "frame 7 has a picture and no mask"


def test_a_listed_frame_beyond_jhmdbs_masks_is_clamped_and_named(release, capsys):
    made = release("jhmdb_sentences")
    choose_frames(made.root, [2, 8])
    index = made.extract()
    assert index["videos"][PERSON_VIDEO]["annotated"] == [1, 5] and not index["skipped"]
    (note,) = index["clamped"]
    assert note["file"] == PERSON_VIDEO and "frame 8: taken for frame 6" in note["why"]
    assert "clamped 1 times" in capsys.readouterr().out
    truth = draw_clip(0, 8).objects[5] == 1  # the frame's own mask, not another one's
    np.testing.assert_array_equal(made.store.masks(PERSON_VIDEO, 5)["1"], truth)


def test_a_listed_frame_far_beyond_the_masks_is_clamped_too(release):
    made = release("jhmdb_sentences", num_frames=40)
    rewrite_masks(made.root, 6)
    choose_frames(made.root, [30, 60])
    row = made.extract()["videos"][PERSON_VIDEO]
    assert row["annotated"] == [5] and row["stored"] == [3, 4, 5]


def test_masks_of_no_frame_are_a_fault_of_that_video(release):
    made = release("jhmdb_sentences")
    path = made.root / "puppet_mask" / LABEL / PERSON_VIDEO / "puppet_mask.mat"
    scipy.io.savemat(path, {"part_mask": np.zeros((48, 64, 0), np.uint8)})
    choose_frames(made.root, [3])
    with pytest.raises(UserError, match=r"puppet_mask\.mat, frame 1: there is no mask at all"):
        made.extract()


def test_two_annotations_of_the_last_frame_are_one(release):
    made = release("jhmdb_sentences")
    choose_frames(made.root, [6, 8])
    index = made.extract()
    assert index["videos"][PERSON_VIDEO]["annotated"] == [5]
    assert "left out, since frame 6 has an annotation already" in index["clamped"][0]["why"]


def test_masks_beyond_the_pictures_are_reported(release):
    made = release("jhmdb_sentences")
    rewrite_masks(made.root, 10)
    made.extract()
    assert made.report.startswith("d: damaged")
    assert f"{LABEL}/{PERSON_VIDEO}: 8 frames, but masks of 10" in made.report


def test_an_a2d_annotation_beyond_the_clips_end_goes_with_its_last_frame(release):
    made = release("a2d_sentences", missing=0)
    folder = sorted((made.root / "text_annotations/a2d_annotation_with_instances").iterdir())[0]
    with h5py.File(folder / "00009.h5") as file:
        instances = [str(int(one)) for one in file["instance"]]
        expected = dict(
            zip(instances, (np.asarray(file["reMask"]) != 0).transpose(0, 2, 1), strict=True)
        )
    (folder / "00009.h5").rename(folder / "00014.h5")
    index = made.extract()
    row = index["videos"][folder.name]
    assert row["annotated"] == [2, 5, 11] and row["stored"][-3:] == [9, 10, 11]
    (note,) = index["clamped"]
    assert "12 usable frames, but the annotation names frame 14: taken for frame 12" in note["why"]
    for name, mask in made.store.masks(folder.name, 11).items():
        np.testing.assert_array_equal(mask, expected[name])
    assert made.store.frame(folder.name, 11).shape == (48, 64, 3)


def empty_mask(root: Path) -> Path:
    path = sorted(root.rglob("*.h5"))[0]
    with h5py.File(path, "r+") as file:
        file["reMask"][...] = 0
    return path


def test_a_mask_without_a_pixel_names_its_file_and_skip_leaves_out_that_instance_alone(release):
    made = release("a2d_sentences", missing=0)
    path = empty_mask(made.root)
    with pytest.raises(UserError) as error:
        made.extract()
    message = str(error.value)
    assert f"{path}: the mask of instance 1 has no pixel" in message
    assert "leaves that instance out of that frame, keeps the video and counts it" in message
    index = made.extract(SKIP)
    assert path.parent.name in index["videos"]
    assert all(path.relative_to(made.root).as_posix() in note["why"] for note in index["skipped"])
    assert len(index["skipped"]) == len(made.store.masks(path.parent.name, int(path.stem) - 1))
    with pytest.raises(UserError, match="no pixel"):
        made.extract()  # what skip left in scratch is no way around stop


def test_jhmdbs_mask_without_a_pixel_names_its_frame(release):
    made = release("jhmdb_sentences")
    path = made.root / "puppet_mask" / LABEL / PERSON_VIDEO / "puppet_mask.mat"
    scipy.io.savemat(path, {"part_mask": np.zeros((48, 64, 6), np.uint8)})
    choose_frames(made.root, [3])
    with pytest.raises(UserError, match=r"puppet_mask\.mat, frame 3: the mask of instance 1 has"):
        made.extract()


def test_lossless_frames_are_the_published_pixels_and_both_forms_are_read(release):
    made = release("jhmdb_sentences")
    made.extract()
    pictures = {name: made.store.frame(name, 4) for name in made.store.videos}
    for label, video in JHMDB_NAMES:
        published = cv2.imread(str(made.root / png(label, video, 5)))[:, :, ::-1]
        np.testing.assert_array_equal(pictures[video], published)
    made.extract(STOP.model_copy(update={"jpeg_quality": 95}))
    differences = [
        np.abs(made.store.frame(name, 4).astype(int) - picture)
        for name, picture in pictures.items()
    ]
    assert all(one.max() > 0 and one.mean() < 8 for one in differences)


def test_published_jpegs_are_stored_as_they_are_whatever_the_quality(release):
    made = release("refer_youtube_vos")
    names = made.extract()["videos"]["train000000"]["frame_names"]
    path = made.root / "train/JPEGImages/train000000" / f"{names[2]}.jpg"
    expected = cv2.imread(str(path))[:, :, ::-1]
    np.testing.assert_array_equal(made.store.frame("train000000", 2), expected)
