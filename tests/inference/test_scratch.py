"""Whole videos' logits wait in scratch/: the system's temporary folder may be memory."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from losh.evaluate.protocols import videos
from losh.inference import predict
from losh.model.build import build_model
from losh.testing.tiny_training import tiny_params


class Seen(Exception):
    """The folder that `track` was given."""


def test_evaluation_and_prediction_name_a_folder_in_scratch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
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

    @contextmanager
    def extracted(clip: Path):
        yield store, "v"

    config = {"short_side": 48, "long_side": 576, "window": 4}
    model = build_model(params.model, params.pipeline)
    monkeypatch.setattr(predict, "track", track)
    monkeypatch.setattr(predict, "extracted", extracted)
    monkeypatch.setattr(predict, "load_model", lambda path: (model, config))
    with pytest.raises(Seen) as prediction:
        predict.predict(tmp_path, "the disc", tmp_path / "o.mp4", tmp_path, short="the disc")
    assert prediction.value.args == (Path("scratch/predict"),)
