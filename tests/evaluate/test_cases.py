"""The strips that evaluation leaves for the report: which cases, and what each picture shows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from losh.evaluate import evaluation
from losh.evaluate.evaluation import evaluate
from losh.evaluate.outputs import cases
from losh.evaluate.outputs.cases import choose
from losh.evaluate.outputs.table import ExpressionRow
from losh.report.dataset_section import read_cases
from losh.testing.small_models import save_untrained
from losh.testing.tiny_training import tiny_params


def row(video: str, iou: float) -> ExpressionRow:
    return ExpressionRow(video, "", f"{iou}", "1", 0, 1, "a disc", "a disc", 0.5, iou=iou)


def chosen(rows: list[ExpressionRow], count: int) -> list[tuple[str, str, float]]:
    return [(group, one.video, one.quality) for group, one in choose(rows, count)]


def test_each_group_has_its_own_cases_of_different_videos():
    rows = [row(video, i / 20) for i, video in enumerate("aaabcdefghijklmnopqrr")]
    assert chosen(rows, 6) == [
        ("best", "r", 1.0),
        ("best", "q", 0.9),
        ("median", "i", 0.5),
        ("median", "h", 0.45),
        ("worst", "a", 0.0),
        ("worst", "b", 0.15),
    ]


def test_few_cases_are_shown_once_each():
    assert chosen([], 9) == [] and chosen([row("a", 0.5)], 0) == []
    assert chosen([row("a", 0.5)], 9) == [("worst", "a", 0.5)]
    two = [row("a", 0.1), row("a", 0.2)]
    assert chosen(two, 9) == [("worst", "a", 0.1), ("worst", "a", 0.2)]
    assert chosen(two, 2) == [("best", "a", 0.2), ("worst", "a", 0.1)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model file with both streams."""
    return save_untrained(tmp_path_factory.mktemp("model") / "model.safetensors")


def moving_right(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    assert first.shape == second.shape and not np.array_equal(first, second)
    field = np.zeros((2, *first.shape[:2]), np.float32)
    field[0] = 2.5
    return field


def evaluated(data: Path, root: Path, model: Path, **changes: object) -> Path:
    """Evaluate with `changes` of the section; the folder of the cases."""
    shutil.copytree(data, root)
    params = tiny_params(**changes)
    evaluate("tiny", params.evaluate, root, root / "metrics", model, params.flow)
    return root / "evaluate" / "tiny" / "cases"


def test_a_strip_shows_frames_truth_each_stream_and_flow(tiny_data, tmp_path, model, monkeypatch):
    monkeypatch.setattr(evaluation, "flow_between", lambda params, device: moving_right)
    folder = evaluated(tiny_data, tmp_path / "data", model, evaluate__rule="mean")
    written = json.loads((folder / "cases.json").read_text())
    assert [one["group"] for one in written] == ["best", "worst"]
    for case in written:
        names = [tile["name"] for tile in case["tiles"]]
        assert [name for name in names if not name.startswith("frame")] == [
            "truth",
            "long",
            "short",
            "joint",
            "flow",
        ]
        by_name = dict(zip(names, case["tiles"], strict=True))
        assert by_name["joint"]["iou"] == case["quality"]  # the mask that was scored
        assert "full colour: 2.5 px" in by_name["flow"]["label"]
        pictures = {name: cv2.imread(str(folder / tile["file"])) for name, tile in by_name.items()}
        assert len({picture.shape for picture in pictures.values()}) == 1
        assert max(pictures["flow"].shape) == 320
        blue, green, red = pictures["flow"].reshape(-1, 3).mean(0)
        assert red > 240 and blue < 20 and green < 20  # to the right
        blue, green, red = pictures["truth"].reshape(-1, 3).astype(int).max(0)
        assert (pictures["truth"][..., 1].astype(int) - pictures["truth"][..., 2]).max() > 60
    assert {group: len(found) for group, found in read_cases(folder).items()} == {
        "best": 1,
        "worst": 1,
    }


def test_the_short_stream_is_shown_where_the_long_one_is_scored_alone(
    tiny_data, tmp_path, model, monkeypatch
):
    """The pictures of the cases that both rules show are the same, masks and all."""
    monkeypatch.setattr(evaluation, "flow_between", lambda params, device: None)
    shown = {}
    for rule in ("long", "mean"):
        folder = evaluated(
            tiny_data, tmp_path / rule, model, evaluate__rule=rule, evaluate__pictures=9
        )
        for case in json.loads((folder / "cases.json").read_text()):
            tiles = {tile["name"]: tile for tile in case["tiles"]}
            scored = "long" if rule == "long" else "joint"
            assert tiles[scored]["iou"] == case["quality"]
            assert [name for name in tiles if "scored" in tiles[name]["label"]] == [scored]
            for name in ("short", "joint"):
                picture = (folder / tiles[name]["file"]).read_bytes()
                shown.setdefault((case["video"], case["text"], case["frame"], name), {})[rule] = (
                    picture,
                    tiles[name]["iou"],
                )
    both = [found for found in shown.values() if len(found) == 2]
    assert both and all(found["long"] == found["mean"] for found in both)


def test_a_base_pipeline_alone_has_one_mask(tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation, "flow_between", lambda params, device: None)
    alone = save_untrained(tmp_path / "base.safetensors", model__short_stream=False)
    folder = evaluated(tiny_data, tmp_path / "data", alone, evaluate__rule="long")
    for case in json.loads((folder / "cases.json").read_text()):
        labels = {tile["name"]: tile["label"] for tile in case["tiles"]}
        assert labels["joint"] == "mask" and not set(labels) & {"long", "short", "flow"}


def test_without_pictures_there_are_no_cases_and_no_flow_network(
    tiny_data, tmp_path, model, monkeypatch
):
    monkeypatch.setattr(evaluation, "flow_between", lambda params, device: pytest.fail("loaded"))
    folder = evaluated(tiny_data, tmp_path / "data", model, evaluate__pictures=0)
    assert read_cases(folder) == {} and not list(folder.glob("*.jpg"))


def test_weights_of_the_flow_that_cannot_be_had_cost_only_the_flow(capsys):
    params = tiny_params(flow__checkpoint="./nowhere.ckpt").flow
    assert cases.flow_between(params, "cpu") is None
    assert "no flow in the strips" in capsys.readouterr().out
