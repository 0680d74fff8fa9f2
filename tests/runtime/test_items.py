"""Videos that wait in scratch/ are made again when the stage's code is another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from losh.download import download
from losh.flow import compute
from losh.frames import extract
from losh.params import PublishedParams
from losh.runtime import resume
from losh.testing.dataset_fixtures import make_a2d
from losh.testing.tiny_training import TINY_FLOW, TINY_FRAMES


class Still:
    """An estimator for which nothing moves; counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def estimate_both(
        self, frames: np.ndarray, pairs: list[tuple[int, int]]
    ) -> tuple[np.ndarray, np.ndarray]:
        self.calls += 1
        none = np.zeros((len(pairs), 2, *frames.shape[1:3]), np.float32)
        return none, none


@pytest.fixture
def edited(monkeypatch: pytest.MonkeyPatch):
    """Makes all code another, as an edit of each file would."""

    def edit() -> None:
        whole = resume.content_digest
        monkeypatch.setattr(resume, "content_digest", lambda path: whole(path) + "edited")

    return edit


def test_an_edit_makes_frames_and_flow_again_and_nothing_else_does(
    tmp_path: Path, edited, monkeypatch: pytest.MonkeyPatch
):
    source = make_a2d(tmp_path / "source", train=2, test=1, num_frames=8)
    monkeypatch.setenv("LOSH_TINY", str(source))
    where = PublishedParams(kind="a2d_sentences", source=str(source))
    download("tiny", where, tmp_path / "raw" / "tiny", tmp_path / "none")
    still = Still()
    monkeypatch.setattr(compute, "_new_estimator", lambda params: still)
    frames, scratch = tmp_path / "frames" / "tiny", tmp_path / "scratch"

    def both() -> tuple[set[tuple[str, int]], int]:
        """Names and times of the items of the frames, and how often flow was computed so far."""
        extract.extract_frames(tmp_path / "raw" / "tiny", frames, TINY_FRAMES, scratch)
        compute.compute_flow(frames, tmp_path / "flow" / "tiny", TINY_FLOW, scratch, progress=False)
        items = (scratch / "extract_frames" / "tiny").glob("*.zip")
        return {(path.name, path.stat().st_mtime_ns) for path in items}, still.calls

    items, calls = both()
    assert calls > 0
    assert both() == (items, calls)
    edited()
    again, more = both()
    assert len(again) == len(items) and not again & items and more == 2 * calls
