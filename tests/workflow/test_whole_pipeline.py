"""`dvc repro` from download to metrics, on all five datasets at once, by params.yaml alone.

One run serves all tests of this file: MovingShapes is generated, the four published datasets are
tiny fixtures in their own layouts; training is on four of them with sampling weights, every one is
scored by its protocol.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from project import clone, environment

from losh.frames import FrameStore
from losh.testing.dataset_fixtures import (
    make_a2d,
    make_jhmdb,
    make_refer_davis17,
    make_refer_youtube_vos,
)
from losh.testing.tiny_training import TINY_SHAPES, tiny_raw

DATASETS = [
    "moving_shapes",
    "a2d_sentences",
    "jhmdb_sentences",
    "refer_youtube_vos",
    "refer_davis17",
]
TRAINED = ["moving_shapes", "a2d_sentences", "refer_youtube_vos", "refer_davis17"]


def call(root: Path, *command: str, fails: bool = False) -> str:
    variables = {**environment(), "TQDM_MININTERVAL": "60"}
    done = subprocess.run(command, cwd=root, env=variables, capture_output=True, text=True)
    assert (done.returncode != 0) == fails, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("pipeline")
    root = clone(base / "clone")
    make_a2d(base / "a2d", train=3, test=2, num_frames=10, short_queries=True)
    # In the repository's own place for sources.
    make_jhmdb(root / "data" / "sources" / "jhmdb_sentences", videos=3)
    make_refer_youtube_vos(base / "ytvos", train=3, valid=2, valid_masks="palette", valid_ids=True)
    make_refer_davis17(base / "davis", train=2, val=2)
    datasets = {
        "moving_shapes": TINY_SHAPES,
        "a2d_sentences": {"kind": "a2d_sentences", "source": str(base / "a2d")},
        "jhmdb_sentences": {"kind": "jhmdb_sentences", "seed": 3},
        "refer_youtube_vos": {"kind": "refer_youtube_vos", "source": str(base / "ytvos")},
        "refer_davis17": {"kind": "refer_davis17", "source": str(base / "davis")},
    }
    raw = tiny_raw(
        datasets,
        train__datasets=TRAINED,
        train__sampling_weights=[1.0, 1.0, 2.0, 1.0],
        train__epochs=2,
        short_text__prefer_published=True,
    )
    (root / "params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    call(root, sys.executable, "-m", "dvc", "repro")
    return root


def metrics(project: Path, name: str) -> dict:
    return json.loads((project / "metrics" / "eval" / f"{name}.json").read_text())


@pytest.mark.parametrize("name", DATASETS[:3])
def test_a2d_protocol_scores(project, name):
    scores = metrics(project, name)
    assert {
        "mean_iou",
        "overall_iou",
        "map_all_queries",
        "map_best_query",
        *(f"precision_at_{k}" for k in range(50, 100, 10)),
    } <= set(scores)
    assert scores["samples"] > 0 and scores["skipped"] == 0
    assert (scores.get("trivial") is not None) == (name != "jhmdb_sentences")
    table = pd.read_csv(
        project / "data" / "evaluate" / name / "expressions.csv", keep_default_na=False
    )
    assert len(table) == scores["samples"]
    assert table["iou"].astype(float).mean() == pytest.approx(scores["mean_iou"], abs=1e-4)


def test_refer_youtube_vos_gives_a_submission_and_local_scores(project):
    scores = metrics(project, "refer_youtube_vos")
    assert {"j", "f", "j_and_f"} <= set(scores) and scores["samples"] > 0
    store = FrameStore(project / "data" / "frames" / "refer_youtube_vos")
    valid = {video: row for video, row in store.videos.items() if row["split"] == "valid"}
    expressions = pd.read_csv(
        project / "data" / "short_text" / "refer_youtube_vos.csv", dtype=str, keep_default_na=False
    )
    expected = {
        f"Annotations/{row.video}/{row.expression_id}/{frame}.png"
        for row in expressions.itertuples()
        if row.video in valid
        for frame in valid[row.video]["frame_names"]
    }
    with zipfile.ZipFile(project / "data/evaluate/refer_youtube_vos/submission.zip") as archive:
        assert set(archive.namelist()) == expected
        mask = cv2.imdecode(
            np.frombuffer(archive.read(sorted(expected)[0]), np.uint8), cv2.IMREAD_UNCHANGED
        )
    assert mask.ndim == 2 and set(np.unique(mask)) <= {0, 255}


def test_refer_davis17_gives_both_scores_for_four_sets(project):
    scores = metrics(project, "refer_davis17")
    sets = {"annot1", "annot1_full_video", "annot2", "annot2_full_video", "mean"}
    assert set(scores["davis_unsupervised"]) == sets and set(scores["per_expression"]) == sets
    # Best assignment can only gain over each expression's own object, but for what the label map
    # takes away; both are proper scores.
    assert all(
        0 <= scores[kind][name][key] <= 1
        for kind in ("davis_unsupervised", "per_expression")
        for name in sets
        for key in ("j", "f", "j_and_f")
    )


def test_short_texts_are_readable_and_published_ones_are_used(project):
    table = list(csv.DictReader((project / "data/short_text/a2d_sentences.csv").open()))
    assert {"text", "short_text", "step"} <= set(table[0]) and {row["step"] for row in table} == {
        "published"
    }
    shapes = list(csv.DictReader((project / "data/short_text/moving_shapes.csv").open()))
    assert all(0 < len(row["short_text"].split()) <= len(row["text"].split()) for row in shapes)


def test_flow_is_there_for_training_videos_alone(project):
    flows = {
        name: json.loads((project / "data/flow" / name / "index.json").read_text())["videos"]
        for name in DATASETS
    }
    assert flows["jhmdb_sentences"] == {}
    for name in TRAINED:
        frames = json.loads((project / "data/frames" / name / "index.json").read_text())["videos"]
        assert set(flows[name]) == {
            video for video, row in frames.items() if row["split"] == "train"
        }


def test_published_jpegs_are_packed_as_they_are(project):
    store = FrameStore(project / "data/frames/refer_youtube_vos")
    video = sorted(store.videos)[0]
    source = project.parent / "ytvos" / store.videos[video]["split"] / "JPEGImages" / video
    with zipfile.ZipFile(store._path(video)) as archive:
        for i, name in enumerate(store.videos[video]["frame_names"]):
            assert (
                archive.read(f"frames/{i:06d}.jpg")
                == (source / f"{Path(name).stem}.jpg").read_bytes()
            )


def test_the_loss_has_every_part(project):
    loss = json.loads((project / "metrics/train.json").read_text())["loss"]
    assert {"reference", "focal", "dice", "intersection", "consistency", "total"} <= set(loss)
    assert loss["consistency"] > 0


def test_pictures_and_plots_are_there(project):
    for name in DATASETS:
        assert len(list((project / "data/evaluate" / name / "pictures").glob("*.jpg"))) == 2, name
        assert (
            (project / "metrics/plots" / name / "precision.csv")
            .read_text()
            .startswith("threshold,precision\n0.50,")
        )
    assert (project / "metrics/train/curves.png").exists()
    page = call(project, sys.executable, "-m", "dvc", "plots", "show", "-o", "plots_page")
    html = (project / "plots_page" / "index.html").read_text()
    assert "Training loss" in html and "file://" in page


def test_the_report_shows_every_dataset_and_stage(project):
    page = (project / "metrics/report/index.html").read_text()
    assert re.findall(r"<h2>(.*?)</h2>", page) == [*DATASETS, "Training", "Time and memory"]
    for name in DATASETS:
        found = list((project / "data/evaluate" / name / "cases").glob("*.jpg"))
        assert {path.stem.split("-")[1] for path in found} >= {"truth", "long", "short", "joint"}
        assert f"evaluate@{name}" in page
    cases = list((project / "data/evaluate").glob("*/cases/*.jpg"))
    assert page.count("data:image/jpeg") == len(cases) and "-flow.jpg" in str(cases)


def test_a_second_repro_runs_the_check_alone(project):
    output = call(project, sys.executable, "-m", "dvc", "repro")
    assert re.findall(r"Running stage '([^']+)'", output) == ["check"]


def test_outputs_name_no_machine_path(project):
    """But for `source` in params.yaml, which the user may give there (or in an environment variable
    instead).
    """
    for path in [
        *(project / "data").glob("*/*/index.json"),
        *(project / "data").glob("raw/*/dataset.json"),
        project / "dvc.lock",
    ]:
        lines = [
            line
            for line in path.read_text().splitlines()
            if not line.strip().startswith("source: ")
        ]
        assert not any(str(project.parent) in line for line in lines), path


def test_every_stage_is_deterministic(project):
    """Forced to run again, the preparing stages give the same bytes: dvc.lock does not change."""
    before = (project / "dvc.lock").read_text()
    for stage in (
        "download@moving_shapes",
        "extract_frames@refer_davis17",
        "parse_text@a2d_sentences",
        "evaluate@refer_youtube_vos",
    ):
        call(project, sys.executable, "-m", "dvc", "repro", "-f", "-s", stage)
    assert (project / "dvc.lock").read_text() == before


def test_the_summary_names_scores_and_places(project):
    output = call(project, sys.executable, "-m", "losh.cli", "summary")
    assert (
        "moving_shapes: " in output
        and "largest object" in output
        and "davis_unsupervised.mean.j_and_f" in output
        and "curves.png" in output
    )


@pytest.mark.parametrize("name", ["a2d_sentences", "refer_youtube_vos", "refer_davis17"])
def test_two_processes_score_each_sample_once(project, name, monkeypatch):
    summary, table = (
        project / "metrics" / "eval" / f"{name}.json",
        project / "data" / "evaluate" / name / "expressions.csv",
    )
    before, rows = summary.read_bytes(), pd.read_csv(table, keep_default_na=False)
    monkeypatch.setenv("LOSH_PROCESSES", "2")
    monkeypatch.setenv("LOSH_DEVICE", "cpu")
    for path in (summary, table):
        path.unlink()
    call(project, sys.executable, "stages/evaluate.py", name)
    assert summary.read_bytes() == before
    # Other batches add up in another order: the score's last digit may differ, everything else is
    # the same.
    pd.testing.assert_frame_equal(
        pd.read_csv(table, keep_default_na=False), rows, check_exact=False, rtol=0, atol=2e-6
    )


def test_a_given_checkpoint_is_scored_instead(project):
    file, good = project / "params.yaml", (project / "params.yaml").read_text()
    scores = (project / "metrics/eval/jhmdb_sentences.json").read_bytes()
    try:
        file.write_text(
            good.replace("checkpoint: null\n  rule", "checkpoint: nowhere.safetensors\n  rule")
        )
        assert "nowhere.safetensors is missing" in call(
            project, sys.executable, "stages/evaluate.py", "jhmdb_sentences", fails=True
        )
        shutil.copy(project / "data/model/model.safetensors", project / "other.safetensors")
        file.write_text(
            good.replace("checkpoint: null\n  rule", "checkpoint: other.safetensors\n  rule")
        )
        call(project, sys.executable, "stages/evaluate.py", "jhmdb_sentences")
    finally:
        file.write_text(good)
    assert (project / "metrics/eval/jhmdb_sentences.json").read_bytes() == scores


def test_predict_masks_an_own_clip(project, tmp_path):
    video = next((project.parent / "a2d").rglob("*.mp4"))
    command = [
        sys.executable,
        "-m",
        "losh.cli",
        "predict",
        str(video),
        "the red square moving right",
        "-o",
        str(tmp_path / "overlay.mp4"),
    ]
    output = call(project, *command, "--masks", str(tmp_path / "masks"))
    assert "short expression: the red square" in output
    capture = cv2.VideoCapture(str(tmp_path / "overlay.mp4"))
    assert (
        int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        == 10
        == len(list((tmp_path / "masks").glob("*.png")))
    )


def test_a_users_mistake_is_one_line_and_exit_code_1(project):
    good = (project / "params.yaml").read_text()
    try:
        (project / "params.yaml").write_text(good.replace("rule: long", "rule: best"))
        output = call(project, sys.executable, "stages/evaluate.py", "moving_shapes", fails=True)
    finally:
        (project / "params.yaml").write_text(good)
    assert output.strip().count("\n") == 0 and output.startswith(
        "error: params.yaml: evaluate.rule"
    )
    assert "Traceback" not in call(
        project, sys.executable, "stages/download.py", "nothing", fails=True
    )
