"""A source folder's files, and the names that its numbered frames should have."""

import pytest

from losh.datasets.listing import FileListing, complete_names


@pytest.mark.parametrize(
    ("names", "first", "expected"),
    [
        (["00001", "00002"], 1, ("00001", "00002")),
        (["00002", "00004"], 1, ("00001", "00002", "00003", "00004")),
        (["00000", "00002"], 0, ("00000", "00001", "00002")),
        (["7", "x", "00008"], 6, ("00006", "7", "00008")),
        (["00000", "00001"], 1, ("00001",)),
        ([], 0, ()),
        (["thumbs"], 1, ()),
    ],
)
def test_a_gap_is_filled_with_the_name_that_is_missing(names, first, expected):
    assert complete_names(names, first) == expected


def test_a_manifest_remembers_what_the_disk_has_lost(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/2").touch()
    listed = FileListing(tmp_path, {"a/1": 3, "a/2": 0})
    assert listed.names("a") == ["1", "2"] and FileListing(tmp_path).names("a") == ["2"]
    assert listed.has("a/1") and not FileListing(tmp_path).has("a/1")
