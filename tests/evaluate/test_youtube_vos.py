"""The Refer-YouTube-VOS submission: its layout, byte by byte, and the local scores."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from losh.evaluate.protocols.davis import ObjectScore
from losh.evaluate.protocols.youtube_vos import SubmissionWriter, local_scores, merge_submissions

ENTRIES = [
    ("vid1", "0", "00000"),
    ("vid1", "0", "00005"),
    ("vid1", "1", "00000"),
    ("vid2", "0", "00010"),
]


def mask_of(entry: tuple[str, str, str]) -> np.ndarray:
    return np.random.default_rng(sum(map(ord, "".join(entry)))).random((20, 30)) < 0.5


def write(path: Path, entries: list[tuple[str, str, str]]) -> bytes:
    with SubmissionWriter(path) as submission:
        for entry in entries:
            submission.add(*entry, mask_of(entry))
    return path.read_bytes()


def test_the_layout_is_the_servers(tmp_path: Path) -> None:
    write(tmp_path / "submission.zip", ENTRIES)
    with zipfile.ZipFile(tmp_path / "submission.zip") as archive:
        assert archive.namelist() == [
            f"Annotations/{video}/{expression}/{frame}.png" for video, expression, frame in ENTRIES
        ]
        assert archive.testzip() is None
        for entry, info in zip(ENTRIES, archive.infolist(), strict=True):
            assert (info.date_time, info.compress_type) == (
                (1980, 1, 1, 0, 0, 0),
                zipfile.ZIP_STORED,
            )
            image = Image.open(io.BytesIO(archive.read(info)))
            assert (image.format, image.mode, image.size) == ("PNG", "L", (30, 20))
            assert (np.asarray(image) == np.where(mask_of(entry), 255, 0)).all()


def test_the_bytes_are_the_same_again(tmp_path: Path) -> None:
    assert write(tmp_path / "a.zip", ENTRIES) == write(tmp_path / "folder" / "b.zip", ENTRIES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "folder"]


def test_devices_merge_to_the_same_bytes_however_they_share(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.zip", ENTRIES)
    # The second: padded with an entry that both have.
    for k, shares in enumerate(([[3, 1], [2, 0]], [[0], [1, 2, 3, 0]])):
        parts = [tmp_path / f"{k}.part{i}.zip" for i in range(2)]
        for part, share in zip(parts, shares, strict=True):
            write(part, [ENTRIES[i] for i in share])
        merge_submissions(parts[::-1], tmp_path / f"{k}.zip")
        assert (tmp_path / f"{k}.zip").read_bytes() == whole


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), SubmissionWriter(tmp_path / "submission.zip") as submission:
        submission.add(*ENTRIES[0], mask_of(ENTRIES[0]))
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "entry", [("..", "0", "00000"), ("a/b", "0", "00000"), ("a", "", "00000"), ("a", "0", "\\0")]
)
def test_names_stay_in_their_folder(tmp_path: Path, entry: tuple[str, str, str]) -> None:
    with (
        SubmissionWriter(tmp_path / "submission.zip") as submission,
        pytest.raises(ValueError, match="submission's path"),
    ):
        submission.add(*entry, mask_of(entry))


def test_a_frame_is_added_once(tmp_path: Path) -> None:
    with SubmissionWriter(tmp_path / "submission.zip") as submission:
        submission.add(*ENTRIES[0], mask_of(ENTRIES[0]))
        with pytest.raises(ValueError, match="twice"):
            submission.add(*ENTRIES[0], mask_of(ENTRIES[0]))


def test_local_scores_weigh_expressions_alike() -> None:
    scores = [ObjectScore("long", "1", 1.0, 0.8), ObjectScore("short", "1", 0.5, 0.2)]
    assert local_scores(scores) == pytest.approx({"j": 0.75, "f": 0.5, "j_and_f": 0.625})
    with pytest.raises(ValueError, match="no objects"):
        local_scores([])


def test_local_scores_do_not_depend_on_the_order_of_expressions() -> None:
    rng = np.random.default_rng(0)
    values = rng.random(101).tolist()
    orders = [rng.permutation(101) for _ in range(20)]
    results = [
        local_scores([ObjectScore(str(i), "1", values[i], values[i] / 3) for i in order])
        for order in orders
    ]
    assert all(result == results[0] for result in results)  # to the last bit
