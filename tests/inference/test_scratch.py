"""Whole videos' logits wait in scratch/: the system's temporary folder may be memory.

A full disk ends the evaluation.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from losh.errors import UserError
from losh.evaluate.protocols import videos
from losh.evaluate.protocols.setup import Result
from losh.inference.whole_video import NoRoom
from losh.testing.tiny_training import tiny_params


class Seen(Exception):
    """The folder that `track` was given."""


def evaluate_a_video(monkeypatch: pytest.MonkeyPatch, fails: Callable, **changes: str) -> list[str]:
    """What is skipped of an evaluation whose `track` fails."""

    @contextmanager
    def track(*arguments: object):
        raise fails(arguments[-1])
        yield

    params = tiny_params().evaluate.model_copy(update=changes)
    store = SimpleNamespace(
        videos={"v": {"num_frames": 3}}, index={"name": "tiny"}, frame=lambda video, t: None
    )
    processes = SimpleNamespace(rank=0, world=1, is_main=True)
    setup = SimpleNamespace(
        store=store,
        processes=processes,
        predictor=None,
        protocol="youtube_vos",
        params=params,
    )
    monkeypatch.setattr(videos, "track", track)
    monkeypatch.setattr(videos, "_read_masks", lambda setup, video: None)
    row = {"video": "v", "text": "a disc", "short_text": "a disc"}
    row |= {"expression_set": "", "expression_id": "0"}
    result = Result.empty()
    videos._each_video(setup, pd.DataFrame([row]), result, None)
    return result.skipped


def test_a_full_disk_stops_an_evaluation_that_skips_what_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch,
):
    assert evaluate_a_video(monkeypatch, lambda _: UserError("damaged"), on_error="skip")
    with pytest.raises(NoRoom):
        evaluate_a_video(monkeypatch, lambda _: NoRoom("full"), on_error="skip")


def test_evaluation_names_a_folder_in_scratch(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(Seen) as evaluation:
        evaluate_a_video(monkeypatch, Seen)
    assert evaluation.value.args == (Path("scratch/evaluate"),)
