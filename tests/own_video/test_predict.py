"""`losh predict`: from any folder; the checkpoint and the command line decide, params.yaml does
not.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from own_video.made_clips import picture, write_clip
from pycocotools import mask as coco_mask

from losh.cli import main
from losh.own_video.sentences import split_sentences
from losh.own_video.settings import Settings
from losh.params import load_params

ROOT = Path(__file__).parents[2]
MODEL = ["--model", "model.safetensors"]


def losh(place: Path, *options: str, fails: bool = False) -> str:
    """Run `losh predict` there; its output, or (`fails`) the lines of its error."""
    command = ["predict", "clip", "the red square", "-o", "overlay.mp4"]
    done = subprocess.run(
        [sys.executable, "-m", "losh.cli", *command, "--model", "model.safetensors", *options],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "LOSH_DEVICE": "cpu"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode != 0) == fails, done.stderr
    return done.stderr if fails else done.stdout


def test_it_needs_no_params_file_and_reads_none(place):
    said = losh(place, "--masks", "masks")
    assert "short expression: " in said and "of 6 frames" in said
    masks = [path.read_bytes() for path in sorted((place / "masks").glob("*.png"))]
    assert len(masks) == 6
    (place / "params.yaml").write_text("not: ours\n")
    assert losh(place, "--masks", "again") == said.replace("masks/", "again/")
    assert [path.read_bytes() for path in sorted((place / "again").glob("*.png"))] == masks
    (place / "params.yaml").unlink()


def test_rule_threshold_and_chunk_are_options(place):
    said = losh(place, "--threshold", "0", "--chunk", "4", "--rule", "long", "--masks", "all")
    assert "cover 100.0 %" in said
    assert "threshold is 1.5" in losh(place, "--threshold", "1.5", fails=True)


def test_the_defaults_are_those_of_the_shipped_file():
    shipped, settings = load_params(ROOT / "params.yaml"), Settings()
    assert (settings.rule, settings.threshold, settings.chunk, settings.mode) == (
        shipped.evaluate.rule,
        shipped.evaluate.threshold,
        shipped.evaluate.chunk,
        shipped.short_text.mode,
    )


def test_several_sentences_become_files_of_masks_and_scores(place, tmp_path):
    files = ["--masks", str(tmp_path / "m"), "--rle", str(tmp_path / "m.json")]
    said = losh(place, "a green disc", *files, "--scores", str(tmp_path / "s.json"))
    assert said.count("short expression: ") == 2 and "MovingShapes" in said
    assert '"disc"' in said and '"green"' not in said.split("short")[0]  # what it never saw
    masks = json.loads((tmp_path / "m.json").read_text())
    scores = json.loads((tmp_path / "s.json").read_text())
    assert [row["frame"] for row in masks["frames"]] == list(range(6))
    assert [row["time"] for row in scores["frames"]] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    for row, scored in zip(masks["frames"], scores["frames"], strict=True):
        for n, (code, covered) in enumerate(zip(row["masks"], scored["covered"], strict=True)):
            png = cv2.imread(str(tmp_path / "m" / str(n + 1) / f"{row['frame']:05d}.png"), -1)
            assert np.array_equal(coco_mask.decode(code) * 255, png)
            assert covered == pytest.approx((png > 0).mean(), abs=1e-6)
            assert 0 <= scored["scores"][n] <= 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--rate", "0"], "--rate is 0"),
        (["--rate", "-3"], "--rate is -3"),
        (["--rate", "nan"], "--rate is nan"),
        (["--short", ""], "no word in the short expression"),
        (["a second one", "--short", "one"], "2 sentences and 1 short"),
        (["12 ?!"], "no word in the sentence '12 ?!'"),
        (["the red car. the blue car"], "is 2 sentences"),
        (["--model", "clip"], "clip is a folder"),
        (["--model", "none.safetensors"], "`make run`"),
        (["--masks", "model.safetensors"], "model.safetensors is a file"),
        (["--masks", "."], "holds other files"),
        (["-o", "clip/000.png/out.mp4"], "is a file"),
        (["-o", "/proc/out.mp4"], "cannot be written"),
        (["-o", "out.gif"], "out.gif is no .mp4"),
        (["--chunk", "0"], "chunk is 0"),
        (["--no-such-option"], "unrecognized arguments"),
    ],
)
def test_a_slip_is_one_line_and_leaves_nothing(place, monkeypatch, capsys, options, told):
    monkeypatch.chdir(place)
    before = sorted(place.rglob("*"))
    command = ["predict", "clip", "the red square", "-o", "none.mp4"]
    model = [] if "--model" in options else ["--model", "model.safetensors"]
    with pytest.raises(SystemExit) as end:
        main([*command, *model, *options])
    said = capsys.readouterr().err
    assert end.value.code == 1 and said.count("\n") == 1 and told in said
    assert "published file" not in said and sorted(place.rglob("*")) == before


def test_a_video_keeps_its_own_rate(place, monkeypatch, capsys, tmp_path):
    clip = write_clip(tmp_path / "in.mp4", [picture(32, 48, t) for t in range(3)])
    monkeypatch.chdir(place)
    with pytest.raises(SystemExit):
        main(["predict", str(clip), "a disc", "-o", "none.mp4", "--rate", "5", *MODEL])
    assert "--rate is for a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("the red car", 1),
        ("the red car.", 1),
        ("the St. Bernard dog", 1),
        ("player no. 5 in red", 1),
        ("the red car. The blue car", 2),
        ("the red car; the blue car!", 2),
        ("the red car\nthe blue car", 2),
        ("红色的车。蓝色的车", 2),
        ("the car (e.g. the red one)", 1),
    ],
)
def test_sentences_are_counted(text, count):
    assert len(split_sentences(text)) == count


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_is_quiet_and_leaves_nothing(place, tmp_path, number):
    clip = write_clip(tmp_path / "in.mp4", [picture(64, 96, t) for t in range(900)], sound="aac")
    out = tmp_path / "out"
    out.mkdir()
    command = ["predict", str(clip), "the red square", "-o", str(out / "o.mp4")]
    files = ["--masks", str(out / "m"), "--rle", str(out / "m.json")]
    process = subprocess.Popen(
        [sys.executable, "-m", "losh.cli", *command, *files, "--model", "model.safetensors"],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "LOSH_DEVICE": "cpu"},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and not list(out.glob(".part-*/*.png")):
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == 128 + number and errors == ""
    assert list(out.iterdir()) == []
