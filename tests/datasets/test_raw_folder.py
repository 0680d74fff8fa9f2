"""data/raw/<name>: what the download stage writes, every later stage opens."""

import csv

import pytest

from losh.datasets import open_reader
from losh.datasets.raw_folder import COLUMNS, read_manifest
from losh.download import download
from losh.errors import UserError
from losh.params import PublishedParams
from losh.testing.dataset_fixtures import MAKERS


@pytest.fixture
def raw(tmp_path, monkeypatch):
    """Prepares a kind's fixture and returns its raw folder."""
    monkeypatch.chdir(tmp_path)

    def prepare(kind, **options):
        MAKERS[kind](tmp_path / "data/sources" / kind, **options)
        out = tmp_path / "data/raw" / kind
        download(kind, PublishedParams(kind=kind), out)
        return out

    return prepare


@pytest.mark.parametrize("kind", MAKERS)
def test_the_opened_reader_gives_what_the_tables_say(kind, raw):
    out = raw(kind)
    reader = open_reader(out)
    assert reader.kind == kind and reader.name == kind
    with (out / "expressions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [tuple(row.values()) for row in rows] == [
        tuple(getattr(one, column) for column in COLUMNS) for one in reader.expressions()
    ]
    assert len(
        {(row["video"], row["expression_set"], row["expression_id"]) for row in rows}
    ) == len(rows)
    for video in reader.videos():
        assert len(list(reader.frames(video))) > max(video.annotated, default=0)
        for t in video.annotated:
            assert reader.masks(video, t)
    assert {row["video"] for row in rows} <= {video.video for video in reader.videos()}


@pytest.mark.parametrize("kind", MAKERS)
def test_the_manifest_lists_every_file_that_is_read(kind, raw, tmp_path):
    out = raw(kind)
    source = tmp_path / "data/sources" / kind
    files = {
        path.relative_to(source).as_posix(): path.stat().st_size
        for path in source.rglob("*")
        if path.is_file()
    }
    unread = ("davis_semantics.json", "train/meta.json", "_train.json", "000000999999.jpg")
    never_read = {name for name in files if name.endswith(unread)}
    assert read_manifest(out / "manifest.csv") == {
        name: size for name, size in files.items() if name not in never_read
    }


def test_a_video_that_vanished_after_the_check_is_an_error_and_not_a_smaller_dataset(raw, tmp_path):
    out = raw("a2d_sentences")
    (tmp_path / "data/sources/a2d_sentences/Release/clips320H/a-0003=_x.mp4").unlink()
    reader = open_reader(out)
    video = next(video for video in reader.videos() if video.video == "a-0003=_x")
    with pytest.raises(UserError, match=r"a-0003=_x\.mp4 is missing"):
        list(reader.frames(video))


def test_a_source_that_vanished_is_named(raw, tmp_path):
    out = raw("refer_davis17")
    (tmp_path / "data/sources/refer_davis17").rename(tmp_path / "moved")
    with pytest.raises(UserError, match="the files of refer_davis17 are in none of"):
        open_reader(out)


def test_a_folder_without_dataset_json_says_how_to_make_it(tmp_path):
    with pytest.raises(
        UserError, match=r"dataset\.json is missing. Make it with `dvc repro download@nothing`"
    ):
        open_reader(tmp_path / "nothing")


def test_the_same_reader_serves_a_worker_until_the_data_change(raw):
    out = raw("refer_davis17")
    first = open_reader(out)
    assert open_reader(out) is first
    download("refer_davis17", PublishedParams(kind="refer_davis17"), out)
    assert open_reader(out) is not first
