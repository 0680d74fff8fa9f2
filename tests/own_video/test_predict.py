"""`losh predict`: from any folder; the checkpoint and the command line decide, params.yaml does
not.
"""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from own_video.made_clips import picture, write_clip
from pycocotools import mask as coco_mask

from losh.cli import main
from losh.errors import UserError
from losh.own_video import predict_arguments
from losh.own_video.clip_input import open_clip
from losh.own_video.settings import Settings
from losh.own_video.spoken import about_several, split_sentences
from losh.params import load_params

ROOT = Path(__file__).parents[2]
MODEL = ["--model", "model.safetensors"]
RED = ["the red square"]


@pytest.fixture
def losh(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    """Run `losh predict` there: (sentences, options) -> its output, or what `fails` says."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("LOSH_DEVICE", "cpu")

    def run(sentences: list[str], *options: str, fails: bool = False) -> str:
        capsys.readouterr()
        command = ["predict", "clip", *sentences, "-o", "overlay.mp4"]
        if not fails:
            main([*command, *MODEL, *options])
            return capsys.readouterr().out
        with pytest.raises(SystemExit) as end:
            main([*command, *(MODEL if "--model" not in options else []), *options])
        said = capsys.readouterr().err
        assert end.value.code == 1 and said.count("\n") == 1
        return said

    return run


def test_it_needs_no_params_file_and_reads_none(place, losh):
    said = losh(RED, "--masks", "masks")
    assert "short expression: " in said and "of 6 frames" in said
    masks = [path.read_bytes() for path in sorted((place / "masks").glob("*.png"))]
    assert len(masks) == 6
    (place / "params.yaml").write_text("not: ours\n")
    assert losh(RED, "--masks", "again") == said.replace("masks/", "again/")
    assert [path.read_bytes() for path in sorted((place / "again").glob("*.png"))] == masks
    (place / "params.yaml").unlink()


def test_rule_threshold_and_chunk_are_options(losh):
    said = losh(RED, "--threshold", "0", "--chunk", "4", "--rule", "long", "--masks", "all")
    assert "cover 100.0 %" in said
    assert "threshold is 1.5" in losh(RED, "--threshold", "1.5", fails=True)


def test_the_defaults_are_those_of_the_shipped_file():
    shipped, settings = load_params(ROOT / "params.yaml"), Settings()
    assert (settings.rule, settings.threshold, settings.chunk, settings.mode) == (
        shipped.evaluate.rule,
        shipped.evaluate.threshold,
        shipped.evaluate.chunk,
        shipped.short_text.mode,
    )


def test_several_sentences_become_files_of_masks_and_scores(losh, tmp_path):
    files = ["--masks", str(tmp_path / "m"), "--rle", str(tmp_path / "m.json")]
    said = losh([*RED, "a green disc"], *files, "--scores", str(tmp_path / "s.json"))
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
    ("sentences", "options", "told"),
    [
        (RED, ["--rate", "0"], "--rate is 0"),
        (RED, ["--rate", "-3"], "--rate is -3"),
        (RED, ["--rate", "nan"], "--rate is nan"),
        (RED, ["--short", ""], "no word in the short expression"),
        (["one", "two"], ["--short", "one"], "2 sentences and 1 short"),
        (["12 ?!"], [], "no word in the sentence '12 ?!'"),
        ([" "], [], "the sentence is empty"),
        (["the red car. the blue car"], [], "is 2 sentences"),
        (RED, ["--model", "clip"], "clip is a folder"),
        (RED, ["--model", "none.safetensors"], "`make run`"),
        (RED, ["--masks", "model.safetensors"], "model.safetensors is a file"),
        (RED, ["--masks", "."], "contains the clip"),
        (RED, ["-o", "clip/000.png/out.mp4"], "lies in the clip's folder"),
        (RED, ["-o", "/proc/out.mp4"], "cannot be written"),
        (RED, ["-o", "out.gif"], "out.gif is no .mp4"),
        (RED, ["--scores", "out.txt"], "out.txt is no .json"),
        (RED, ["--chunk", "0"], "chunk is 0"),
        (RED, ["--no-such-option"], "unrecognized arguments"),
    ],
)
def test_a_slip_is_one_line_and_leaves_nothing(place, losh, sentences, options, told):
    before = sorted(place.rglob("*"))
    said = losh(sentences, *options, fails=True)
    assert told in said and "published file" not in said
    assert sorted(place.rglob("*")) == before


def test_a_slip_is_told_before_anything_slow_is_imported(place):
    """torch and what reads text take seconds, which a mistyped path must not cost."""
    lines = [
        "import sys",
        "from losh.cli import main",
        "try:",
        "    main(['predict', 'none.mp4', 'red', '-o', 'o.mp4', '--model', 'model.safetensors'])",
        "except SystemExit:",
        "    print(sorted({'torch', 'transformers', 'spacy', 'pandas'} & set(sys.modules)))",
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )
    assert "none.mp4 does not exist" in done.stderr
    assert done.stdout.strip() == "[]"


def test_a_video_keeps_its_own_rate(place, losh):
    write_clip(place / "in.mp4", [picture(32, 48, t) for t in range(3)])
    with pytest.raises(UserError, match="--rate is for a folder"):
        open_clip(place / "in.mp4", 5.0)


def test_masks_of_before_are_replaced_whole(place, losh):
    losh(RED, "--masks", "twice", "--chunk", "6")
    first = place / "twice" / "00000.png"
    (place / "twice" / "00099.png").write_bytes(first.read_bytes())  # of a longer clip
    losh(RED, "--masks", "twice", "--chunk", "6")
    assert [path.name for path in sorted((place / "twice").iterdir())] == [
        f"{t:05d}.png" for t in range(6)
    ]


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
        ("the U.S. flag", 1),
        ("the Prof. in white", 1),
        ("the man approx. 30 years old", 1),
        ("the Ph.D. student at 5 p.m.", 1),
        ("the youtube.com logo, 3.5 m wide", 1),
        ("the St.Bernard dog", 1),
        ("the red car.the blue car", 2),
        ("the red car.The blue car", 2),
        ("the red car;the blue car", 2),
        ("Cat. Dog", 2),
        ("cat.Dog", 2),
        ("cars, bikes etc. The dog", 2),
        ("the flag of the U.S. The blue car", 2),
    ],
)
def test_sentences_are_counted(text, count):
    assert len(split_sentences(text)) == count


@pytest.mark.parametrize(
    ("sentence", "noted"),
    [
        ("the red square, the blue circle", True),
        ("The red square and the blue circle", True),
        ("the man/a dog", True),
        ("the cat on the left and the dog on the right", True),
        ("the red and blue ball", False),
        ("a man in a shirt and a hat", False),
        ("the car between the man and the dog", False),
        ("the man, who runs", False),
        ("a dog", False),
    ],
)
def test_what_may_be_two_objects_is_noted(sentence, noted):
    notes = about_several([*RED, sentence])
    assert len(notes) == noted
    assert all(sentence in note and "several arguments" in note for note in notes)


def test_the_note_comes_first_and_the_work_goes_on(losh):
    said = losh(["the red square and the blue circle"])
    assert said.startswith("note: 'the red square and the blue circle' ") and "wrote" in said
    assert "note: " not in losh(RED)


def test_the_process_keeps_the_memory_that_it_frees(losh, monkeypatch):
    kept = []
    monkeypatch.setattr(predict_arguments, "keep_freed_memory", lambda: kept.append(True))
    losh(RED, "--model", "none.safetensors", fails=True)
    assert kept == [True]


def test_ctrl_c_is_quiet_and_leaves_nothing(place, tmp_path):
    clip = write_clip(tmp_path / "in.mp4", [picture(64, 96, t) for t in range(900)], sound="aac")
    out = tmp_path / "out"
    out.mkdir()
    command = ["predict", str(clip), *RED, "-o", str(out / "o.mp4"), *MODEL]
    files = ["--masks", str(out / "m"), "--rle", str(out / "m.json"), "--short", "red"]
    process = subprocess.Popen(
        [sys.executable, "-m", "losh.cli", *command, *files],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "LOSH_DEVICE": "cpu"},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # A shell's background jobs, and so their children, ignore it.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    while process.poll() is None and not list(out.glob(".part-*/*.png")):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130 and errors == ""
    assert list(out.iterdir()) == []


def test_a_polite_kill_ends_it_in_order(monkeypatch):
    before = signal.getsignal(signal.SIGTERM)

    def stop(_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    monkeypatch.setattr("losh.cli._check", stop)
    with pytest.raises(SystemExit) as end:
        main(["check"])
    assert end.value.code == 143 and signal.getsignal(signal.SIGTERM) == before
