"""JHMDB-Sentences as published: odd names, masks that stop early, published or drawn samples."""

import json

import h5py
import numpy as np
import pytest
import scipy.io

from losh.datasets.jhmdb_sentences import count_masks, read_part_mask
from losh.errors import UserError
from losh.testing.dataset_fixtures import JHMDB_NAMES, draw_clip, make_jhmdb, reader_of


@pytest.fixture
def root(tmp_path):
    return make_jhmdb(tmp_path / "jhmdb", missing=1)


def test_odd_names_survive_and_apple_double_folders_do_not_count(root):
    videos = reader_of("jhmdb_sentences", root).videos()
    assert {name for _, name in JHMDB_NAMES} <= {video.video for video in videos} and len(
        videos
    ) == 4
    assert all(
        video.frame_names == tuple(f"{t + 1:05d}" for t in range(8)) and video.split == "test"
        for video in videos
    )


def test_frames_are_the_pngs(root):
    reader = reader_of("jhmdb_sentences", root)
    video = next(video for video in reader.videos() if video.video == JHMDB_NAMES[0][1])
    np.testing.assert_array_equal(
        np.stack([frame for frame, _ in reader.frames(video)]), draw_clip(0, 8).frames
    )


def test_windows_may_hold_the_frames_that_have_masks(root):
    assert {video.masked for video in reader_of("jhmdb_sentences", root).videos()} == {6}


@pytest.mark.parametrize("number", [1, 4])
def test_a_missing_frame_leaves_the_others_their_numbers(root, number):
    label, name = JHMDB_NAMES[0]
    (root / "Rename_Images" / label / name / f"{number:05d}.png").unlink()
    reader = reader_of("jhmdb_sentences", root)
    video = next(video for video in reader.videos() if video.video == name)
    assert video.frame_names == tuple(f"{t + 1:05d}" for t in range(8))
    with pytest.raises(UserError, match=f"{number:05d}.png"):
        list(reader.frames(video))


def test_any_body_part_is_the_person(root):
    reader = reader_of("jhmdb_sentences", root, {JHMDB_NAMES[0][1]: [4]})
    video = next(video for video in reader.videos() if video.video == JHMDB_NAMES[0][1])
    assert video.annotated == (4,)
    np.testing.assert_array_equal(reader.masks(video, 4)["1"], draw_clip(0, 8).objects[4] == 1)


def test_a_frame_after_the_last_mask_is_an_error_and_is_never_drawn(root):
    reader = reader_of("jhmdb_sentences", root)
    for seed in range(20):
        drawn = reader.draw_samples(seed)
        assert all(
            len(set(frames)) == 3 and max(frames) < 6 and frames == sorted(frames)
            for frames in drawn.values()
        )
    with pytest.raises(UserError, match=r"puppet_mask\.mat has masks of 6 frames, none of frame 7"):
        reader.masks(reader.videos()[0], 6)


def test_a_subset_has_the_frames_of_the_whole(root, tmp_path):
    whole = reader_of("jhmdb_sentences", root).draw_samples(3)
    part = reader_of("jhmdb_sentences", make_jhmdb(tmp_path / "part", videos=2)).draw_samples(3)
    assert part == {video: whole[video] for video in part} and len(part) == 2
    assert reader_of("jhmdb_sentences", root).draw_samples(4) != whole


def test_the_published_list_counts_from_one_and_its_paths_are_not_followed(tmp_path):
    reader = reader_of("jhmdb_sentences", make_jhmdb(tmp_path, published_samples=True))
    listed = samples_by_hand(tmp_path)
    assert reader.published_samples() == listed
    assert (
        reader_of("jhmdb_sentences", make_jhmdb(tmp_path / "without")).published_samples() is None
    )


def samples_by_hand(root):
    """The published list read by hand: the frame's number is the last part of its path."""
    found = {}
    for video, frame, *_ in json.loads(
        (root / "jhmdb_sentences_samples_metadata.json").read_text()
    ):
        found.setdefault(video, []).append(int(frame[-9:-4]) - 1)
    return {video: sorted(frames) for video, frames in found.items()}


def test_a_list_that_is_not_the_published_one_is_named(tmp_path):
    root = make_jhmdb(tmp_path, published_samples=True)
    (root / "jhmdb_sentences_samples_metadata.json").write_text("[[1]]")
    with pytest.raises(UserError, match=r"samples_metadata\.json is not the published list"):
        reader_of("jhmdb_sentences", root).published_samples()


def test_missing_videos_are_counted_and_left_out(root):
    reader = reader_of("jhmdb_sentences", root)
    assert set(reader.inventory().listed) - {video.video for video in reader.videos()} == {"gone0"}
    assert len(reader.expressions()) == 4 and {one.instance for one in reader.expressions()} == {
        "1"
    }


def test_a_video_without_masks_is_left_out(root):
    label, video = JHMDB_NAMES[1]
    (root / "puppet_mask" / label / video / "puppet_mask.mat").unlink()
    reader = reader_of("jhmdb_sentences", root)
    assert (
        video not in {one.video for one in reader.videos()} and video in reader.inventory().listed
    )


def test_matlabs_newer_format_has_its_axes_reversed(tmp_path):
    mask = np.random.default_rng(0).integers(0, 2, (4, 5, 3), np.uint8)
    with h5py.File(tmp_path / "new.mat", "w", userblock_size=512) as file:
        file["part_mask"] = mask.T
    with (tmp_path / "new.mat").open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(116) + b"\0" * 8 + bytes([0, 2]) + b"IM")
    scipy.io.savemat(tmp_path / "old.mat", {"part_mask": mask})
    np.testing.assert_array_equal(read_part_mask(tmp_path / "new.mat"), mask)
    np.testing.assert_array_equal(read_part_mask(tmp_path / "old.mat"), mask)
    assert count_masks(tmp_path / "new.mat") == count_masks(tmp_path / "old.mat") == 3


def test_one_frame_of_masks_keeps_its_axis(tmp_path):
    scipy.io.savemat(tmp_path / "one.mat", {"part_mask": np.ones((4, 5), np.uint8)})
    assert read_part_mask(tmp_path / "one.mat").shape == (4, 5, 1)
    assert count_masks(tmp_path / "one.mat") == 1


@pytest.mark.parametrize("keep", [0, 100, 200])
def test_a_truncated_mask_file_names_itself(root, keep):
    label, video = JHMDB_NAMES[0]
    path = root / "puppet_mask" / label / video / "puppet_mask.mat"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"puppet_mask\.mat (is truncated|has no part_mask)"):
        read_part_mask(path)
    assert len(reader_of("jhmdb_sentences", root).videos()) == 4, "one file stops no other video"


def test_a_frame_that_does_not_decode_names_itself(root):
    reader = reader_of("jhmdb_sentences", root)
    video = reader.videos()[0]
    (video.media / "00003.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"00003\.png does not decode"):
        list(reader.frames(video))
