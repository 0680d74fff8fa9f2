"""Where a dataset is looked for, and how its parts are found there."""

import pytest

from losh.datasets import source_of
from losh.datasets.locate import variable_of
from losh.datasets.published import LAYOUTS
from losh.errors import UserError
from losh.testing.dataset_fixtures import MAKERS, make_a2d

NAME = "a2d_sentences"


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(variable_of(NAME), raising=False)
    return tmp_path


def test_environment_then_params_then_sources_then_unpacked(place, monkeypatch):
    for name in (
        "env",
        "configured",
        "data/sources/a2d_sentences",
        "data/sources-unpacked/a2d_sentences",
    ):
        make_a2d(place / name, train=1, test=1)
    (place / "params.yaml").write_text(
        "datasets: {a2d_sentences: {kind: a2d_sentences, source: configured}}"
    )
    monkeypatch.setenv("LOSH_A2D_SENTENCES", "env")
    found = [str(source_of(NAME))]
    monkeypatch.delenv("LOSH_A2D_SENTENCES")
    found.append(str(source_of(NAME)))
    (place / "params.yaml").write_text(
        "datasets: {a2d_sentences: {kind: a2d_sentences, source: null}}"
    )
    found.append(str(source_of(NAME)))
    (place / "data/sources/a2d_sentences").rename(place / "elsewhere")
    found.append(str(source_of(NAME)))
    assert found == [
        "env",
        "configured",
        "data/sources/a2d_sentences",
        "data/sources-unpacked/a2d_sentences",
    ]


def test_nothing_names_all_the_places():
    with pytest.raises(
        UserError,
        match=r"LOSH_A2D_SENTENCES, datasets.a2d_sentences.source, data/sources/a2d_sentences, "
        r"data/sources-unpacked",
    ):
        source_of(NAME, NAME)


def test_a_place_that_is_named_and_not_there_is_never_passed_over(place, monkeypatch):
    make_a2d(place / "data/sources/a2d_sentences", train=1, test=1)
    monkeypatch.setenv("LOSH_A2D_SENTENCES", "nowhere")
    with pytest.raises(UserError, match="LOSH_A2D_SENTENCES names nowhere"):
        source_of(NAME, NAME)


def test_archives_stand_for_what_was_unpacked_from_them(place):
    (place / "data/sources/a2d_sentences").mkdir(parents=True)
    (place / "data/sources/a2d_sentences/all.zip").write_bytes(b"")
    with pytest.raises(UserError, match="are not unpacked yet"):
        source_of(NAME, NAME)
    make_a2d(place / "data/sources-unpacked/a2d_sentences", train=1, test=1)
    assert str(source_of(NAME, NAME)) == "data/sources-unpacked/a2d_sentences"


def test_a_folder_that_keeps_its_archives_beside_the_unpacked_files_is_used_as_it_is(place):
    make_a2d(place / "data/sources/a2d_sentences", train=1, test=1)
    (place / "data/sources/a2d_sentences/A2D_main_1_0.tar.bz").write_bytes(b"")
    assert str(source_of(NAME, NAME)) == "data/sources/a2d_sentences"


@pytest.mark.parametrize("kind", MAKERS)
def test_a_layout_is_found_at_the_root_and_below(kind, place):
    MAKERS[kind](place / "root")
    MAKERS[kind](place / "deep/datasets/one")
    layout = LAYOUTS[kind]
    at_root, below = layout.locate(place / "root"), layout.locate(place / "deep")
    assert not layout.missing(at_root) and set(at_root.values()) <= {
        part.path for part in layout.parts.values()
    }
    assert {name: f"datasets/one/{path}" for name, path in at_root.items()} == below


def test_parts_that_were_unpacked_side_by_side_are_found(place):
    make_a2d(place / "a")
    (place / "a/text_annotations/a2d_annotation_with_instances").rename(
        place / "a/a2d_annotation_with_instances"
    )
    assert LAYOUTS[NAME].locate(place / "a")["masks"] == "a2d_annotation_with_instances"


def test_what_is_missing_is_named(place):
    make_a2d(place / "a")
    (place / "a/text_annotations/a2d_annotation.txt").unlink()
    layout = LAYOUTS[NAME]
    assert layout.missing(layout.locate(place / "a")) == ["text_annotations/a2d_annotation.txt"]


def test_an_experiments_copy_uses_the_repositorys_sources(place, monkeypatch):
    make_a2d(place / "data/sources/a2d_sentences", train=1, test=1)
    copy = place / ".dvc/tmp/exps/tmp123"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    assert source_of(NAME, NAME) == place / "data/sources/a2d_sentences"
    make_a2d(copy / "data/sources/a2d_sentences", train=1, test=1)
    assert str(source_of(NAME, NAME)) == "data/sources/a2d_sentences"
