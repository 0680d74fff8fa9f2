"""Whole videos' logits wait in scratch/: the system's temporary folder may be memory."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from losh.evaluate.protocols import videos
from losh.testing.tiny_training import tiny_params


class Seen(Exception):
    """The folder that `track` was given."""


def test_evaluation_names_a_folder_in_scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    @contextmanager
    def track(*arguments: object):
        raise Seen(arguments[-1])
        yield

    params = tiny_params()
    store = SimpleNamespace(
        videos={"v": {"num_frames": 3}}, index={"name": "tiny"}, frame=lambda video, t: None
    )
    processes = SimpleNamespace(rank=0, world=1, is_main=True)
    setup = SimpleNamespace(
        store=store,
        processes=processes,
        predictor=None,
        protocol="youtube_vos",
        params=params.evaluate,
    )
    monkeypatch.setattr(videos, "track", track)
    rows = pd.DataFrame([{"video": "v", "text": "a disc", "short_text": "a disc"}])
    with pytest.raises(Seen) as evaluation:
        videos._each_video(setup, rows, None, None)
    assert evaluation.value.args == (Path("scratch/evaluate"),)
