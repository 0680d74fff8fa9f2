"""A2D's protocol with stored videos that cannot be read: scored and skipped samples add up."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from losh.clips.samples import build_samples, read_expressions
from losh.errors import UserError
from losh.evaluate.protocols.annotated_frames import evaluate_a2d
from losh.evaluate.protocols.setup import EvaluationSetup
from losh.frames import FrameStore
from losh.inference.forward import Predictor
from losh.inference.text_features import TextFeatures
from losh.media.resizing import InputSize
from losh.model.build import build_model
from losh.runtime.distributed import Processes
from losh.testing.tiny_training import tiny_params


@pytest.mark.parametrize("on_error", ["skip", "stop"])
def test_scored_and_skipped_samples_add_up(on_error: str, tiny_data: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(tiny_data, data)
    store = FrameStore(data / "frames" / "tiny")
    samples, _ = build_samples(store, read_expressions(data / "short_text" / "tiny.csv"), False)
    broken = samples[0].video
    store._path(broken).unlink()
    store._path(broken).write_bytes(b"no zip")
    lost = [sample for sample in samples if sample.video == broken]
    assert len({sample.window for sample in lost}) < len(lost), "several samples share a window"
    params, device = tiny_params(), torch.device("cpu")
    model = build_model(params.model, params.pipeline).eval()
    predictor = Predictor(
        model, TextFeatures(model.base.text_encoder, device), InputSize(48, 576), torch.float32
    )
    given = params.evaluate.model_copy(update={"on_error": on_error})
    setup = EvaluationSetup(predictor, store, data, given, Processes(0, 1, device), tmp_path)
    if on_error == "stop":
        with pytest.raises(UserError, match="no readable"):
            evaluate_a2d(setup, samples)
        return
    result = evaluate_a2d(setup, samples)
    assert len(result.rows) == len(samples) - len(lost) and len(result.skipped) == len(lost)
    for sample in lost:
        assert sum(sample.sample_id in why for why in result.skipped) == 1
