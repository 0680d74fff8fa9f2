"""The download stage: from a folder or archives to a checked, linked raw folder or instructions."""

import json
import shutil
import zipfile

import pytest

from losh.datasets import open_reader
from losh.datasets.locate import variable_of
from losh.download import download
from losh.download.catalogue import CATALOGUE
from losh.errors import UserError
from losh.params import MovingShapesParams, PublishedParams
from losh.testing.dataset_fixtures import MAKERS, make_a2d, make_jhmdb


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for kind in MAKERS:
        monkeypatch.delenv(variable_of(kind), raising=False)

    def no_network(*_, **__):
        raise UserError("http://example.invalid could not be fetched")

    monkeypatch.setattr("losh.download.prepare.fetch", no_network)
    return tmp_path


def prepare(kind, place, name=None, **options):
    download(name or kind, PublishedParams(kind=kind, **options), place / "raw" / (name or kind))
    return place / "raw" / (name or kind)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("kind", MAKERS)
def test_a_folder_is_linked_and_nothing_tells_which_machine_it_was(kind, place):
    MAKERS[kind](place / "disk one" / kind)
    MAKERS[kind](place / "other" / kind)
    one = contents(prepare(kind, place, source=str(place / "disk one" / kind)))
    other = contents(prepare(kind, place, source=f"other/{kind}"))
    assert one == other and str(place).encode() not in b"".join(one.values())
    assert set(one) - {"jhmdb_samples.json"} == {
        "dataset.json",
        "expressions.csv",
        "manifest.csv",
        "report.txt",
    }
    assert ("jhmdb_samples.json" in one) == (kind == "jhmdb_sentences")


@pytest.mark.parametrize("kind", MAKERS)
def test_a_subset_is_reported_as_one(kind, place):
    MAKERS[kind](place / "data/sources" / kind)
    out = prepare(kind, place)
    dataset = json.loads((out / "dataset.json").read_text())
    assert dataset["complete"] is False and dataset["media"] == "linked"
    assert (out / "report.txt").read_text().startswith(f"{kind}: a subset, ")
    if kind == "a2d_sentences":
        assert (
            "5 of 3,781 videos" in (out / "report.txt").read_text()
            and dataset["faults"]["missing"] == 1
        )


def test_the_variable_wins_over_params(place, monkeypatch):
    make_a2d(place / "env", train=1, test=1)
    make_a2d(place / "configured", train=2, test=2)
    monkeypatch.setenv("LOSH_A2D_SENTENCES", str(place / "env"))
    out = prepare("a2d_sentences", place, source="configured")
    assert json.loads((out / "dataset.json").read_text())["found"]["videos"] == 2


def test_two_entries_of_one_kind_have_their_own_places(place):
    make_a2d(place / "data/sources/a2d_small", train=1, test=1)
    out = prepare("a2d_sentences", place, name="a2d_small")
    assert open_reader(out).name == "a2d_small"


def test_archives_and_loose_files_together(place):
    whole, sources = make_a2d(place / "whole"), place / "data/sources/a2d_sentences"
    sources.mkdir(parents=True)
    shutil.make_archive(str(sources / "A2D_main_1_0"), "bztar", whole, "Release")
    (sources / "A2D_main_1_0.tar.bz2").rename(sources / "A2D_main_1_0.tar.bz")  # the published name
    shutil.make_archive(
        str(sources / "a2d_annotation_with_instances"),
        "zip",
        whole / "text_annotations",
        "a2d_annotation_with_instances",
    )
    for name in ("a2d_annotation.txt", "a2d_missed_videos.txt"):
        shutil.copy(whole / "text_annotations" / name, sources / name)
    reader = open_reader(prepare("a2d_sentences", place))
    assert len(reader.videos()) == 5 and len(reader.expressions()) == 9
    assert all(
        len(list(reader.frames(video))) == 12 and reader.masks(video, 2)
        for video in reader.videos()
    )
    assert (place / "data/sources-unpacked/a2d_sentences/a2d_annotation.txt").is_symlink()


@pytest.mark.parametrize(
    ("kind", "form", "suffix"),
    [
        ("refer_davis17", "zip", ".zip"),
        ("jhmdb_sentences", "gztar", ".tar.gz"),
        ("refer_youtube_vos", "tar", ".tar"),
    ],
)
def test_one_archive_named_in_params(kind, form, suffix, place):
    shutil.make_archive(str(place / "all"), form, MAKERS[kind](place / "whole" / kind), ".")
    out = prepare(kind, place, source=f"all{suffix}")
    (place / "params.yaml").write_text(
        f"datasets: {{{kind}: {{kind: {kind}, source: all{suffix}}}}}"
    )
    reader = open_reader(out)
    assert {video.video for video in reader.videos()} and all(
        list(reader.frames(video)) for video in reader.videos()
    )


def test_an_archive_is_unpacked_once_and_again_when_it_changes(place):
    whole, archive = make_jhmdb(place / "whole"), place / "data/sources/jhmdb_sentences/all.zip"
    archive.parent.mkdir(parents=True)
    shutil.make_archive(str(archive.with_suffix("")), "zip", whole)
    prepare("jhmdb_sentences", place)
    frame = next((place / "data/sources-unpacked").rglob("00001.png"))
    before = frame.stat().st_mtime_ns
    prepare("jhmdb_sentences", place)
    assert frame.stat().st_mtime_ns == before
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("more.txt", "x")
    prepare("jhmdb_sentences", place)
    assert (
        frame.stat().st_mtime_ns != before
        and (place / "data/sources-unpacked/jhmdb_sentences/more.txt").exists()
    )


def test_jhmdbs_samples_are_published_or_drawn_and_kept(place):
    make_jhmdb(place / "with", published_samples=True)
    make_jhmdb(place / "without")
    published = json.loads(
        (prepare("jhmdb_sentences", place, source="with") / "jhmdb_samples.json").read_text()
    )
    drawn = [
        json.loads(
            (
                prepare("jhmdb_sentences", place, source="without", seed=seed)
                / "jhmdb_samples.json"
            ).read_text()
        )
        for seed in (0, 0, 1)
    ]
    assert published["origin"] == "published" and drawn[0]["origin"] == "drawn with seed 0"
    assert drawn[0] == drawn[1] and drawn[0]["frames"] != drawn[2]["frames"] != published["frames"]
    (place / "params.yaml").write_text(
        "datasets: {jhmdb_sentences: {kind: jhmdb_sentences, source: without}}"
    )
    assert {
        video.video: list(video.annotated)
        for video in open_reader(place / "raw/jhmdb_sentences").videos()
    } == drawn[2]["frames"]


def test_the_published_samples_can_be_required(place):
    make_jhmdb(place / "with", published_samples=True)
    make_jhmdb(place / "without")
    prepare("jhmdb_sentences", place, source="with", require_sample_list=True)
    with pytest.raises(UserError, match=r"jhmdb_sentences_samples_metadata\.json") as error:
        prepare("jhmdb_sentences", place, source="without", require_sample_list=True)
    assert "require_sample_list" in str(error.value) and "\n" not in str(error.value)
    assert not (place / "raw/jhmdb_sentences/dataset.json").exists()


def test_a_video_that_the_list_of_samples_lacks_is_reported(place):
    root = make_jhmdb(place / "with", published_samples=True)
    path = root / "jhmdb_sentences_samples_metadata.json"
    rows = json.loads(path.read_text())
    path.write_text(json.dumps([row for row in rows if row[0] != rows[0][0]]))
    out = prepare("jhmdb_sentences", place, source="with")
    assert f"  {rows[0][0]}: no frame that is scored" in (out / "report.txt").read_text()


@pytest.mark.parametrize("kind", MAKERS)
def test_nothing_there_says_which_files_from_where_to_where(kind, place):
    with pytest.raises(UserError) as caught:
        prepare(kind, place)
    message = str(caught.value)
    assert f"data/sources/{kind}" in message and variable_of(kind) in message
    for item in CATALOGUE[kind]:
        assert item.file in message and (item.url or item.page) in message
    assert not (place / "raw" / kind / "dataset.json").exists()


def test_only_what_is_still_missing_is_asked_for(place):
    make_a2d(place / "data/sources/a2d_sentences")
    shutil.rmtree(
        place / "data/sources/a2d_sentences/text_annotations/a2d_annotation_with_instances"
    )
    with pytest.raises(UserError) as caught:
        prepare("a2d_sentences", place)
    assert "a2d_annotation_with_instances.zip" in str(caught.value) and "A2D_main_1_0" not in str(
        caught.value
    )


def test_what_has_a_direct_link_is_fetched_into_our_own_folder(place, monkeypatch):
    whole = MAKERS["refer_davis17"](place / "whole")
    fetched = []

    def fetch(wanted, target):
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = "davis_text_annotations" if "text" in target.name else "DAVIS"
        shutil.make_archive(str(target.with_suffix("")), "zip", whole, folder)
        fetched.append(wanted.url)

    monkeypatch.setattr("losh.download.prepare.fetch", fetch)
    out = prepare("refer_davis17", place)
    assert len(fetched) == 2 and len(open_reader(out).videos()) == 5


def test_nothing_is_fetched_while_a_file_waits_for_a_person(place, monkeypatch):
    monkeypatch.setattr(
        "losh.download.prepare.fetch", lambda *_: pytest.fail("a long transfer began in vain")
    )
    with pytest.raises(UserError, match="a2d_annotation_with_instances"):
        prepare("a2d_sentences", place)


def test_a_users_own_folder_is_never_written_to(place, monkeypatch):
    monkeypatch.setattr(
        "losh.download.prepare.fetch", lambda *_: pytest.fail("we wrote into the user's folder")
    )
    (place / "mine").mkdir()
    with pytest.raises(UserError, match="refer_davis17 lacks"):
        prepare("refer_davis17", place, source="mine")
    assert list((place / "mine").iterdir()) == []


def test_a_run_that_fails_leaves_no_mark_of_a_whole_folder(place):
    make_a2d(place / "data/sources/a2d_sentences")
    out = prepare("a2d_sentences", place)
    (place / "data/sources/a2d_sentences/Release/videoset.csv").write_text("broken")
    with pytest.raises(UserError, match=r"videoset\.csv:1"):
        prepare("a2d_sentences", place)
    assert not (out / "dataset.json").exists()


def test_moving_shapes_are_generated_in_place(place):
    params = MovingShapesParams(
        kind="moving_shapes",
        seed=3,
        train_videos=2,
        test_videos=1,
        num_frames=8,
        height=64,
        width=64,
    )
    dataset = download("moving_shapes", params, place / "raw/moving_shapes")
    reader = open_reader(place / "raw/moving_shapes")
    assert (
        dataset["complete"]
        and dataset["media"] == "embedded"
        and not (place / "raw/moving_shapes/manifest.csv").exists()
    )
    assert [video.split for video in reader.videos()] == ["test", "train", "train"]
    assert all(
        len(list(reader.frames(video))) == 8 and reader.masks(video, video.annotated[0])
        for video in reader.videos()
    )
