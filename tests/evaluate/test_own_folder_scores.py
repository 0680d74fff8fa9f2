"""A user's own folder is scored by whole videos where every frame has its masks, else by frames."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from losh.datasets import open_reader
from losh.download import download
from losh.evaluate.evaluation import evaluate
from losh.evaluate.protocols import videos
from losh.evaluate.protocols.setup import EvaluationSetup
from losh.frames import FrameStore
from losh.frames.extract import extract_frames
from losh.params import FolderParams
from losh.runtime.distributed import Processes
from losh.testing.own_folder_fixture import ROWS, clip_of, make_own_folder, write_rows
from losh.testing.small_models import save_untrained
from losh.testing.tiny_training import TINY_FRAMES, tiny_params


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model file."""
    return save_untrained(tmp_path_factory.mktemp("model") / "model.safetensors")


def prepared(source: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """data/ of the folder, as it is before evaluation; each short text is the long one."""
    monkeypatch.setenv("LOSH_OWN", str(source))
    data = base / "data"
    download("own", FolderParams(kind="folder"), data / "raw" / "own")
    extract_frames(data / "raw/own", data / "frames/own", TINY_FRAMES, base / "scratch")
    table = pd.DataFrame([vars(one) for one in open_reader(data / "raw/own").expressions()])
    (data / "short_text").mkdir()
    table.assign(short_text=table["text"], step="whole").to_csv(
        data / "short_text/own.csv", index=False
    )
    return data


def scored(data: Path, model: Path) -> dict:
    params = tiny_params(evaluate__pictures=1).evaluate
    evaluate("own", params, data, data / "metrics", model)
    return json.loads((data / "metrics/eval/own.json").read_text())


def test_masks_on_every_frame_give_j_and_f_and_ious(tmp_path, monkeypatch, model):
    data = prepared(make_own_folder(tmp_path / "own"), tmp_path, monkeypatch)
    scores = scored(data, model)
    assert {"j", "f", "j_and_f", "mean_iou", "overall_iou", "precision_at_50"} <= scores.keys()
    assert scores["samples"] == 2 and not list((data / "evaluate/own").glob("*.zip"))
    assert len(list((data / "evaluate/own/pictures").glob("*.jpg"))) == 1


def test_masks_on_some_frames_give_ious_of_those(tmp_path, monkeypatch, model):
    data = prepared(make_own_folder(tmp_path / "own", every=2), tmp_path, monkeypatch)
    scores = scored(data, model)
    assert {"mean_iou", "overall_iou", "precision_at_50", "map_all_queries"} <= scores.keys()
    assert "j" not in scores and scores["samples"] == 4


def test_without_a_split_to_score_one_line_says_so(tmp_path, monkeypatch, model, capsys):
    root = make_own_folder(tmp_path / "own")
    write_rows(root, *(row.replace(",test,", ",train,") for row in ROWS))
    data = prepared(root, tmp_path, monkeypatch)
    capsys.readouterr()
    assert scored(data, model) == {"samples": 0, "skipped": 0}
    assert capsys.readouterr().out == (
        "evaluate own: nothing to score, for all its expressions are of the split train\n"
    )


@dataclass
class Still:
    """A prediction that is the same in every frame."""

    predicted: np.ndarray
    score: float = 0.9

    def mask(self, t: int, size: tuple[int, int]) -> np.ndarray:
        return self.predicted

    def sizes(self, original: tuple[int, int]) -> None:
        """No picture is drawn, so nothing reads it."""

    def logits_at(self, t: int) -> list[torch.Tensor]:
        return []


def test_the_scores_are_those_of_the_masks(tmp_path, monkeypatch):
    root = make_own_folder(tmp_path / "own")
    write_rows(root, ROWS[0], "walk,the red square,1,test,", "walk,the green disc,2,test,")
    truth = clip_of("walk").objects.copy()
    truth[1][truth[1] == 1] = 0  # the square is not seen in frame 1
    truth[:, :6] = 255  # void
    for t, values in enumerate(truth):
        Image.fromarray(values).save(root / f"masks/walk/{t:05d}.png")
    data = prepared(root, tmp_path, monkeypatch)
    guess = {"red": truth[0] == 1, "green": np.ones((48, 64), bool)}

    @contextmanager
    def track(_predictor, _frame_of, _frames, sentences, *_) -> Iterator[list[Still]]:
        yield [Still(guess["red" if "red" in long else "green"]) for long, _ in sentences]

    monkeypatch.setattr(videos, "track", track)
    store, processes = FrameStore(data / "frames/own"), Processes(0, 1, torch.device("cpu"))
    params = SimpleNamespace(on_error="stop", chunk=None, pictures=0)
    setup = EvaluationSetup(None, store, data, params, processes, tmp_path / "out")
    table = pd.read_csv(data / "short_text/own.csv", dtype=str, keep_default_na=False)
    metrics = videos.evaluate_whole_videos(setup, table).metrics

    seen = truth != 255
    areas = [
        [(guess[word] & seen[t] & (truth[t] == one)).sum() for t in range(4)]
        + [(guess[word] & seen[t] | (truth[t] == one)).sum() for t in range(4)]
        for one, word in ((1, "red"), (2, "green"))
    ]
    ious = [[a / u for a, u in zip(row[:4], row[4:], strict=True)] for row in areas]
    assert ious[0][1] == 0  # counts in J, and as no frame that shows the object in the IoUs
    shown = [ious[0][t] for t in (0, 2, 3)] + ious[1]
    assert metrics["mean_iou"] == pytest.approx(np.mean(shown))
    both = [(row[t], row[4 + t]) for row in areas for t in range(4) if (row, t) != (areas[0], 1)]
    assert metrics["overall_iou"] == pytest.approx(
        sum(a for a, _ in both) / sum(u for _, u in both)
    )
    assert metrics["j"] == pytest.approx(np.mean(ious))


def test_another_split_or_fewer_masks_are_extracted_anew(tmp_path, monkeypatch):
    """What scratch/ keeps of a video must not outlive what the table says of it."""
    root = make_own_folder(tmp_path / "own")

    def extracted() -> FrameStore:
        download("own", FolderParams(kind="folder"), tmp_path / "raw")
        extract_frames(tmp_path / "raw", tmp_path / "frames", TINY_FRAMES, tmp_path / "scratch")
        return FrameStore(tmp_path / "frames")

    monkeypatch.setenv("LOSH_OWN", str(root))
    Image.fromarray(np.uint8(2) * (clip_of("walk").objects[1] == 2)).save(
        root / "masks/walk/00001.png"
    )
    first = extracted()
    assert first.videos["walk"]["split"] == "train"
    assert first.masks("walk", 1).keys() == {"1", "2"}
    write_rows(root, *(row.replace(",train,", ",valid,") for row in ROWS))
    assert extracted().videos["walk"]["split"] == "valid"
    (root / "masks/jump/3.png").unlink()
    fewer = extracted()
    assert fewer.index["protocol"] == "a2d" and fewer.masks("walk", 1).keys() == {"2"}
