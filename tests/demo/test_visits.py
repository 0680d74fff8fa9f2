"""Files of the demo's visitors: each page's own, deleted with it, and no one else's."""

from pathlib import Path

import pytest

from losh.demo.visits import Visits


@pytest.fixture
def visits(tmp_path: Path) -> Visits:
    return Visits(tmp_path)


def upload(visits: Visits, name: str) -> Path:
    """A file as the server stores it: in a folder named by its contents."""
    path = visits.uploads / name / "clip.mp4"
    path.parent.mkdir()
    path.touch()
    return path


def left(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_an_upload_goes_when_another_takes_its_place_or_the_page_closes(visits: Visits):
    first, second = upload(visits, "a"), upload(visits, "b")
    visits.shows("me", first)
    visits.shows("me", first)
    assert first.exists()
    visits.shows("me", second)
    assert not first.parent.exists() and second.exists()
    visits.leave("me")
    assert left(visits.uploads) == []


def test_an_upload_that_another_page_shows_stays(visits: Visits):
    same = upload(visits, "a")
    visits.shows("me", same)
    visits.shows("you", same)
    visits.leave("me")
    assert same.exists()
    visits.shows("you", None)
    assert not same.exists()


def test_an_example_is_never_deleted(visits: Visits, tmp_path: Path):
    example = tmp_path / "shapes.mp4"
    example.touch()
    visits.shows("me", example)
    visits.shows("me", None)
    visits.leave("me")
    assert example.exists()


def test_results_stay_until_the_next_ones(visits: Visits):
    first = visits.begin("me")
    (first / "masks.zip").touch()
    visits.end("me", worked=True)
    other = visits.begin("you")
    visits.end("you", worked=True)
    second = visits.begin("me")
    assert not first.exists() and second.exists() and other.exists()
    visits.end("me", worked=False)
    assert not second.exists() and other.exists()


def test_a_page_closed_at_work_loses_its_files_when_the_work_ends(visits: Visits):
    clip = upload(visits, "a")
    visits.shows("me", clip)
    folder = visits.begin("me")
    visits.leave("me")
    assert folder.exists() and clip.exists()
    visits.end("me", worked=True)
    assert not folder.exists() and not clip.exists()


def test_a_clip_changed_at_work_is_read_to_its_end(visits: Visits):
    first, second = upload(visits, "a"), upload(visits, "b")
    visits.shows("me", first)
    visits.begin("me")
    visits.shows("me", second)
    assert first.exists()
    visits.end("me", worked=True)
    assert not first.exists() and second.exists()


def test_who_was_never_here_leaves_nothing(visits: Visits):
    visits.leave("nobody")
