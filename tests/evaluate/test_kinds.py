"""MovingShapes is scored by kind of expression, with intervals, beside the trivial predictors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from losh.commands.summary import print_summary
from losh.evaluate.evaluation import evaluate
from losh.moving_shapes.single_frame import GROUPS
from losh.testing.tiny_training import tiny_params


@pytest.fixture(scope="module")
def scored(tiny_shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data/ and metrics/ after an evaluation of an untrained model."""
    root = tmp_path_factory.mktemp("kinds")
    shutil.copytree(tiny_shapes / "data", root / "data")
    params = tiny_params(evaluate__pictures=0).evaluate
    evaluate("shapes", params, root / "data", root / "metrics", tiny_shapes / "model.safetensors")
    return root


def test_every_sample_has_its_kind_and_every_kind_its_scores(scored: Path) -> None:
    metrics = json.loads((scored / "metrics" / "eval" / "shapes.json").read_text())
    table = pd.read_csv(scored / "data" / "evaluate" / "shapes" / "expressions.csv")
    truth = pd.read_csv(scored / "data" / "raw" / "shapes" / "text_annotations/short_texts.csv")
    said = dict(
        zip(zip(truth["video_id"], truth["query"], strict=True), truth["kind"], strict=True)
    )
    for row in table.itertuples():
        kind = said[row.video, row.text]
        assert row.kind == kind or (kind == "ambiguous" and row.kind in GROUPS["ambiguous"])
    for group, scores in metrics["kinds"].items():
        own = table[table["kind"].isin(GROUPS[group])]
        assert len(own) == scores["samples"]
        assert own["iou"].mean() == pytest.approx(scores["mean_iou"], abs=1e-4)
        interval = scores["mean_iou_interval"]
        assert interval["low"] <= scores["mean_iou"] <= interval["high"]
    assert metrics["kinds"].keys() >= {"looks", "ambiguous"}
    assert metrics["mean_iou_interval"]["low"] < metrics["mean_iou"]


def test_the_single_frame_guess_is_right_wherever_one_frame_tells(scored: Path) -> None:
    metrics = json.loads((scored / "metrics" / "eval" / "shapes.json").read_text())
    guess = {
        group: scores["trivial"]["best_single_frame_guess"]
        for group, scores in metrics["kinds"].items()
    }
    assert guess["looks"] == 1
    assert 0.2 <= guess["motion"] <= 0.5
    parts = [(scores["samples"], guess[group]) for group, scores in metrics["kinds"].items()]
    whole = dict(zip(metrics["kinds"], parts, strict=True))
    weights, values = zip(whole["looks"], whole["ambiguous"], strict=True)
    expected = np.average(values, weights=weights)
    assert metrics["trivial"]["best_single_frame_guess"]["mean_iou"] == pytest.approx(
        expected, abs=1e-4
    )


def test_summary_shows_interval_and_kinds(scored: Path, capsys: pytest.CaptureFixture) -> None:
    path = scored / "metrics" / "eval" / "shapes.json"
    metrics = json.loads(path.read_text())
    print_summary(scored / "metrics")
    shown = capsys.readouterr().out
    interval, looks = metrics["mean_iou_interval"], metrics["kinds"]["looks"]
    line = f"mean_iou {metrics['mean_iou']:.3f} ({interval['low']:.3f}, {interval['high']:.3f})"
    assert f"{line}: 95 % interval" in shown
    (row,) = [line for line in shown.splitlines() if line.startswith("looks decide")]
    assert row.split()[2:4] == [str(looks["samples"]), f"{looks['mean_iou']:.3f}"]
    assert row.split()[-3] == "1.000"
    (guess,) = [one for one in shown.splitlines() if one.strip().startswith("best single frame")]
    assert guess.split()[4:] == [
        f"{metrics['trivial']['best_single_frame_guess']['mean_iou']:.3f}",
        *["-"] * 5,
    ]
