"""The check of a source names what is missing, surplus, lacking or broken.

What is whole is called complete.
"""

import shutil

import pytest

from losh.datasets.listing import FileListing
from losh.datasets.published import EXPECTED, LAYOUTS
from losh.download.verify import verify
from losh.errors import UserError
from losh.testing.dataset_fixtures import (
    COPIED_VIDEO,
    MAKERS,
    make_a2d,
    make_refer_youtube_vos,
    reader_of,
)


def check(kind, root, thorough="names"):
    parts = LAYOUTS[kind].locate(root)
    samples = (
        {video: [0] for video in reader_of(kind, root).inventory().listed}
        if kind == "jhmdb_sentences"
        else None
    )
    return verify(reader_of(kind, root, samples), FileListing(root), parts, thorough)


def test_a_release_with_all_its_videos_is_complete(tmp_path, monkeypatch):
    root = make_a2d(tmp_path, missing=0)
    # Five, and the one that is not used.
    monkeypatch.setitem(EXPECTED, "a2d_sentences", {"videos": 6, "expressions": 9})
    report = check("a2d_sentences", root, "decode")
    assert (
        report.complete
        and report.state == "complete"
        and report.text().startswith("a2d_sentences: complete, 5 of 5 videos, 9 of 9 expressions")
    )


def test_missing_and_surplus_videos_are_named(tmp_path):
    root = make_a2d(tmp_path, missing=2)
    clips = root / "Release/clips320H"
    shutil.copy(clips / f"{COPIED_VIDEO}.mp4", clips / "unlisted.mp4")
    (root / "text_annotations/a2d_annotation.txt").open("a").write("stranger,1,a dog\n")
    report = check("a2d_sentences", root)
    assert (
        report.missing == ["gone0", "gone1"]
        and report.surplus == ["unlisted"]
        and report.unknown == ["stranger"]
    )
    assert (
        report.state == "a subset" and "  gone1" in report.text() and "  unlisted" in report.text()
    )


def test_the_test_sets_videos_are_no_surplus(tmp_path):
    root = make_refer_youtube_vos(tmp_path)
    (root / "valid/JPEGImages/hidden0").mkdir()
    (root / "valid/JPEGImages/stranger").mkdir()
    assert check("refer_youtube_vos", root).surplus == ["stranger"]


def test_lacking_and_empty_files_are_damage(tmp_path):
    root = make_refer_youtube_vos(tmp_path)
    frames = root / "train/JPEGImages/train000000"
    (frames / "00010.jpg").unlink()
    (frames / "00015.jpg").write_bytes(b"")
    report = check("refer_youtube_vos", root)
    assert report.lacking == ["train/JPEGImages/train000000/00010.jpg"]
    assert report.unreadable == ["train/JPEGImages/train000000/00015.jpg: empty"]
    assert (
        report.state == "damaged"
        and "train/JPEGImages/train000000/00010.jpg" not in report.manifest
    )


@pytest.mark.parametrize("kind", MAKERS)
def test_only_decoding_finds_a_broken_file_and_names_it_without_the_machines_path(kind, tmp_path):
    root = MAKERS[kind](tmp_path / "source")
    broken = sorted(
        path
        for path in root.rglob("*")
        if path.suffix in (".mp4", ".png", ".jpg") and "Annotations" not in str(path)
    )[0]
    broken.write_bytes(broken.read_bytes()[:100])
    assert check(kind, root).unreadable == []
    found = check(kind, root, "decode").unreadable
    assert broken.relative_to(root).as_posix() in " ".join(found) and str(tmp_path) not in " ".join(
        found
    )


def test_the_videos_of_valid_that_have_masks_are_counted(tmp_path):
    root = make_refer_youtube_vos(tmp_path, valid_masks="palette")
    assert check("refer_youtube_vos", root).found["valid videos with masks"] == 2
    shutil.rmtree(root / "valid/Annotations/valid000000")
    report = check("refer_youtube_vos", root)
    assert report.found["valid videos with masks"] == 1 and not report.lacking
    assert "1 valid videos with masks" in report.text()


def test_a_broken_mask_is_found_by_decoding(tmp_path):
    root = make_a2d(tmp_path)
    path = next((root / "text_annotations/a2d_annotation_with_instances").rglob("*.h5"))
    path.write_bytes(b"no HDF5")
    assert [line for line in check("a2d_sentences", root, "decode").unreadable if path.name in line]


def test_long_lists_are_cut(tmp_path):
    text = check("a2d_sentences", make_a2d(tmp_path, missing=50)).text()
    assert (
        "videos that are not there: 50" in text
        and text.count("gone") == 20
        and text.endswith("  ...\n")
    )


def test_no_video_at_all_is_an_error(tmp_path):
    root = make_a2d(tmp_path)
    shutil.rmtree(root / "Release/clips320H")
    (root / "Release/clips320H").mkdir()
    with pytest.raises(UserError, match="has none of the 6 videos of a2d_sentences"):
        check("a2d_sentences", root)
