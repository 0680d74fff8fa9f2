"""Three lines: import, load, segment."""

from __future__ import annotations

import runpy
import subprocess
import sys
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from own_video.made_clips import picture, write_clip

import losh
from losh.errors import UserError
from losh.inference.whole_video import track
from losh.own_video.segmenting import PROTOCOL


@pytest.fixture(scope="module")
def model(place: Path) -> losh.Model:
    return losh.load(place / "model.safetensors", device="cpu", settings=losh.Settings(chunk=4))


@pytest.fixture(scope="module")
def frames(place: Path) -> np.ndarray:
    return np.stack(
        [cv2.imread(str(path))[..., ::-1] for path in sorted((place / "clip").iterdir())]
    )


def test_arrays_tensors_and_paths_give_the_same_masks(model, frames, place):
    masks = model.segment(frames, "the red car")
    assert masks.shape == (6, 64, 80) and masks.dtype == bool
    tensor = model.segment(torch.from_numpy(frames), "the red car")
    assert isinstance(tensor, torch.Tensor) and np.array_equal(tensor.numpy(), masks)
    assert np.array_equal(model.segment(place / "clip", "the red car"), masks)
    assert np.array_equal(model.segment(str(place / "clip"), "the red car"), masks)
    both = model.segment(frames, ["the red car", "a disc"], short=["the car", "a disc"])
    assert both.shape == (2, 6, 64, 80)


def test_masks_are_probabilities_at_the_frames_size_cut(model, frames):
    """Interpolated first, cut then; a chunk of four, and the last two with two before them."""
    pairs = [(one.long, one.short) for one in model.expressions("the red car")]
    wanted, scores = [], []
    for first, last, skip in ((0, 4, 0), (2, 6, 2)):
        part = frames[first:last]
        with track(model.predictor, part.__getitem__, 4, pairs, None, PROTOCOL) as [one]:
            wanted += [one.probability(t, (64, 80)) > 0.5 for t in range(skip, 4)]
            scores += [one.scores[t, one.query] for t in range(skip, 4)]
    found = list(model.stream(frames, "the red car"))
    assert np.array_equal([one.masks[0] for one in found], wanted)
    assert np.allclose([one.scores[0] for one in found], scores)


def test_a_long_clip_takes_no_more_memory(model, tmp_path):
    peaks = []
    for count in (16, 64):
        write_clip(tmp_path / "clip.mp4", [picture(96, 128, t) for t in range(count)])
        tracemalloc.start()
        assert sum(1 for _ in model.stream(tmp_path / "clip.mp4", "a disc")) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 10 * 96 * 128 * 3


def test_what_cannot_be_used_is_one_line(model, frames, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="float32"):
        model.segment(frames.astype(np.float32), "the red car")
    with pytest.raises(UserError, match="no word"):
        model.segment(frames, "...")
    with pytest.raises(UserError, match="rule is 'best'"):
        losh.Settings(rule="best")  # type: ignore[arg-type]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"no model has been trained here: data/model/.*make run"):
        losh.load()


def test_importing_it_imports_nothing_slow():
    code = "import losh, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "losh" in loaded and not loaded & {"torch", "numpy", "pydantic", "losh.params"}
    assert {"load", "Model", "Settings", "MaskedFrame"} <= set(dir(losh))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        losh.nothing  # noqa: B018


def test_the_example_prints_places_frame_by_frame(place, tmp_path, monkeypatch, capsys):
    example = Path(__file__).parents[2] / "examples" / "predict.py"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(example), str(place / "model.safetensors")])
    runpy.run_path(str(example), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.endswith("% of all pixels")] == lines[1:3]
    assert lines[1].startswith("the large orange square: ")
    assert [line.split(":")[0] for line in lines[3:]] == [f"frame {t}" for t in range(36)]
    assert list(tmp_path.iterdir()) == []
