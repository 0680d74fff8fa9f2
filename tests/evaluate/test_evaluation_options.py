"""Options of evaluation that published recipes set: precision, order of batches, whole videos,
and the filter that the model was trained with.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

from losh.clips.samples import Sample, build_samples, read_expressions
from losh.evaluate.evaluation import evaluate
from losh.frames import FrameStore
from losh.inference.forward import Predictor
from losh.inference.text_features import TextFeatures
from losh.media.resizing import InputSize
from losh.model.checkpoint import load_model, save_model
from losh.testing.small_models import save_untrained
from losh.testing.tiny_training import tiny_params


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model file."""
    return save_untrained(tmp_path_factory.mktemp("model") / "model.safetensors")


def scores(data: Path, out: Path, model: Path, **changes: object) -> list[float]:
    """Each expression's score, in the order of the table."""
    shutil.copytree(data, out)
    params = tiny_params(evaluate__pictures=0, **changes).evaluate
    evaluate("tiny", params, out, out / "metrics", model)
    return pd.read_csv(out / "evaluate" / "tiny" / "expressions.csv")["score"].tolist()


def test_the_precision_is_the_parameter(tiny_data: Path, tmp_path: Path, model: Path):
    full, default, half = (
        scores(tiny_data, tmp_path / name, model, evaluate__precision=name)
        for name in ("fp32", "auto", "bf16")
    )
    assert full != half and full == pytest.approx(half, abs=0.05)
    if not torch.cuda.is_available():
        assert default == full


def samples_of(data: Path) -> list[Sample]:
    return build_samples(
        FrameStore(data / "frames" / "tiny"),
        read_expressions(data / "short_text" / "tiny.csv"),
        train=True,
    )[0]


def batches_of(data: Path, model: Path, samples: list[Sample], by_window: bool) -> list[list[str]]:
    network, config = load_model(model)
    texts = TextFeatures(network.base.text_encoder, torch.device("cpu"))
    size = InputSize.of_config(config)
    predictor = Predictor(network, texts, size, torch.float32, batch_size=3, by_window=by_window)
    return [
        [sample.sample_id for _, sample in batch.samples()]
        for batch, _ in predictor.windows(samples, data, True)
    ]


def test_in_the_files_order_each_expression_is_a_clip_of_its_own(tiny_data: Path, model: Path):
    samples = samples_of(tiny_data)
    names = [sample.sample_id for sample in samples]
    published = batches_of(tiny_data, model, samples, by_window=False)
    assert published == [names[i : i + 3] for i in range(0, len(names), 3)]
    ours = batches_of(tiny_data, model, samples, by_window=True)
    assert sorted(name for batch in ours for name in batch) == sorted(names)


def test_the_order_changes_no_score_where_all_clips_have_one_size(
    tiny_data: Path, tmp_path: Path, model: Path
):
    by_window, by_file = (
        scores(tiny_data, tmp_path / name, model, evaluate__order=name, evaluate__batch_size=3)
        for name in ("window", "file")
    )
    assert by_window == pytest.approx(by_file, abs=1e-5)


def test_a_model_is_scored_with_the_filter_it_was_trained_with(
    tiny_data: Path, tmp_path: Path, model: Path
):
    network, config = load_model(model)
    found = {}
    for name in ("area", "pil_bilinear"):
        path = tmp_path / f"{name}.safetensors"
        save_model(path, network, {**config, "short_side": 40, "resize_filter": name})
        found[name] = scores(tiny_data, tmp_path / name, path)
    assert found["area"] != found["pil_bilinear"]
