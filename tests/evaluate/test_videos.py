"""Whole-video protocols on stored datasets with made-up trajectories: void, masks of some videos
alone, and stored videos that cannot be read.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from losh.datasets import open_reader
from losh.download import download
from losh.errors import UserError
from losh.evaluate.outputs.pictures import draw_cases
from losh.evaluate.protocols import videos
from losh.evaluate.protocols.davis import EXPRESSION_SETS
from losh.evaluate.protocols.setup import EvaluationSetup
from losh.frames import FrameStore
from losh.frames.extract import extract_frames
from losh.params import PublishedParams
from losh.runtime.distributed import Processes
from losh.testing.dataset_fixtures import (
    MAKERS,
    make_refer_davis17,
    make_refer_youtube_vos,
    write_palette,
)
from losh.testing.drawn_clip import draw_clip
from losh.testing.literal_davis import literal_f
from losh.testing.mevis_fixture import BOTH, make_mevis
from losh.testing.tiny_training import TINY_FRAMES, tiny_params


@dataclass
class FixedTrajectory:
    """A prediction that is the same in every frame."""

    predicted: np.ndarray
    score: float = 0.9

    def mask(self, t: int, size: tuple[int, int]) -> np.ndarray:
        assert self.predicted.shape == tuple(size)
        return self.predicted

    def probability(self, t: int, size: tuple[int, int]) -> np.ndarray:
        return self.predicted.astype(np.float32)

    def sizes(self, original):
        return None

    def logits_at(self, t):
        """One stream decides alone: there is nothing to show beside its mask."""
        return [None]


Setup = Callable[..., tuple[EvaluationSetup, pd.DataFrame]]


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setup:
    """Stores a release and gives (EvaluationSetup, expressions that are not for training);
    trajectories predict `predict(sentence)`.
    """

    def prepare(root: Path, kind: str, predict: Callable, on_error: str = "stop"):
        monkeypatch.setenv("LOSH_D", str(root))
        given = PublishedParams(kind=kind, source=str(root))
        download("d", given, tmp_path / "raw", tmp_path / "none")
        extract_frames(tmp_path / "raw", tmp_path / "frames", TINY_FRAMES, tmp_path / "scratch")

        @contextmanager
        def track(_predictor, frame_of, num_frames, sentences, *_) -> Iterator[list]:
            for t in range(num_frames):
                frame_of(t)
            yield [FixedTrajectory(predict(long)) for long, _short in sentences]

        monkeypatch.setattr(videos, "track", track)
        params = tiny_params().evaluate.model_copy(update={"on_error": on_error})
        store, processes = FrameStore(tmp_path / "frames"), Processes(0, 1, torch.device("cpu"))
        (tmp_path / "evaluate").mkdir(exist_ok=True)
        setup = EvaluationSetup(None, store, tmp_path, params, processes, tmp_path / "evaluate")
        table = pd.DataFrame([vars(one) for one in open_reader(tmp_path / "raw").expressions()])
        return setup, table[table["split"] != "train"]

    return prepare


def box(top: int, left: int, height: int, width: int) -> np.ndarray:
    mask = np.zeros((48, 64), bool)
    mask[top : top + height, left : left + width] = True
    return mask


ONE, TWO, VOID_AREA = box(10, 10, 20, 20), box(34, 40, 10, 10), box(10, 30, 20, 10)
PREDICTED = box(8, 10, 22, 30)
"""Object 1's prediction: the object (400 px), the void right of it (200) and two rows of 30 above
both, of which none is void.
"""


def davis_with_void(root: Path, void: np.ndarray) -> Path:
    make_refer_davis17(root, train=0, val=1, num_frames=2)
    for path in (root / "DAVIS/Annotations_unsupervised/480p/motorbike").iterdir():
        write_palette(path, np.where(void, 255, ONE + 2 * TWO).astype(np.uint8))
    return root


def predict_boxes(sentence: str) -> np.ndarray:
    return PREDICTED if "red" in sentence else TWO


def test_void_counts_for_nobody_in_j_and_f_of_both_protocols(setup: Setup, tmp_path: Path) -> None:
    context, expressions = setup(
        davis_with_void(tmp_path / "d", VOID_AREA), "refer_davis17", predict_boxes
    )
    metrics = videos.evaluate_davis(context, expressions).metrics
    j = 400 / 460  # without void 400 / 660
    f = literal_f(PREDICTED & ~VOID_AREA, ONE)
    assert f > literal_f(PREDICTED, ONE) + 0.1, "the example shows F too"
    for protocol in ("davis_unsupervised", "per_expression"):
        for name in (*EXPRESSION_SETS, "mean"):
            assert metrics[protocol][name]["j"] == pytest.approx((j + 1) / 2)
            assert metrics[protocol][name]["f"] == pytest.approx((f + 1) / 2)


def test_without_void_the_same_prediction_scores_less(setup: Setup, tmp_path: Path) -> None:
    root = davis_with_void(tmp_path / "d", np.zeros_like(ONE))
    context, expressions = setup(root, "refer_davis17", predict_boxes)
    mean = videos.evaluate_davis(context, expressions).metrics["davis_unsupervised"]["mean"]
    assert mean["j"] == pytest.approx((400 / 660 + 1) / 2)
    assert mean["f"] == pytest.approx((literal_f(PREDICTED, ONE) + 1) / 2)


def test_void_is_stored_and_is_neither_an_instance_nor_a_target(
    setup: Setup, tmp_path: Path
) -> None:
    root = davis_with_void(tmp_path / "d", VOID_AREA)
    store = setup(root, "refer_davis17", predict_boxes)[0].store
    np.testing.assert_array_equal(store.void("motorbike", 1), VOID_AREA)
    assert list(store.masks("motorbike", 1)) == ["1", "2"]
    assert store.videos["motorbike"]["instances"] == {"0": ["1", "2"], "1": ["1", "2"]}


def cut(store: FrameStore, video: str) -> None:
    """Cut the stored zip of a video."""
    path = store.root / f"{video}.zip"
    data = path.read_bytes()
    path.unlink()  # a hard link of scratch's
    path.write_bytes(data[: len(data) // 2])


def damage_mask(store: FrameStore, video: str) -> None:
    """Change a byte of the last frame's stored masks."""
    path = store.root / f"{video}.zip"
    with zipfile.ZipFile(path) as archive:
        data = archive.read(sorted(archive.namelist())[-1])
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole.replace(data, b"?" + data[1:]))


@pytest.mark.parametrize("damage", [cut, damage_mask])
def test_a_stored_video_that_cannot_be_read_is_skipped_and_counted(damage, setup, tmp_path) -> None:
    root = make_refer_youtube_vos(tmp_path / "y", valid_masks="palette", valid_ids=True)
    context, expressions = setup(root, "refer_youtube_vos", lambda _: ONE, "skip")
    damage(context.store, "valid000000")
    result = videos.evaluate_youtube_vos(context, expressions)
    assert len(result.rows) + len(result.skipped) == len(expressions) == 8
    assert all("valid000000" in why and "\n" not in why for why in result.skipped)
    with zipfile.ZipFile(context.out / "submission.zip") as archive:
        assert {name.split("/")[1] for name in archive.namelist()} == {"valid000001"}
    context.params = context.params.model_copy(update={"on_error": "stop"})
    with pytest.raises(UserError, match=r"valid000000\.zip"):
        videos.evaluate_youtube_vos(context, expressions)


def test_davis_counts_each_set_of_a_video_that_cannot_be_read(setup, tmp_path) -> None:
    root = MAKERS["refer_davis17"](tmp_path / "d")
    context, expressions = setup(root, "refer_davis17", lambda _: ONE, "skip")
    cut(context.store, "camel")
    result = videos.evaluate_davis(context, expressions)
    assert len(result.rows) + len(result.skipped) == len(expressions) == 24
    assert len(result.skipped) == 8 and result.metrics["per_expression"]["mean"]
    for video in ("motorbike", "blackswan"):
        cut(context.store, video)
    context.store = FrameStore(context.store.root)
    nothing = videos.evaluate_davis(context, expressions)
    assert len(nothing.skipped) == 24 and nothing.metrics == {}


def test_masks_of_some_valid_videos_are_scored_and_said(setup, tmp_path, capsys) -> None:
    root = make_refer_youtube_vos(tmp_path / "y", valid_masks="palette", valid_ids=True)
    shutil.rmtree(root / "valid/Annotations/valid000001")
    context, expressions = setup(root, "refer_youtube_vos", lambda _: ONE)
    result = videos.evaluate_youtube_vos(context, expressions)
    assert [row.j is not None for row in result.rows] == [True] * 4 + [False] * 4
    assert {"j", "f", "j_and_f"} <= set(result.metrics)
    assert "4 of 8 expressions have public masks and are scored here" in capsys.readouterr().out
    draw_cases(context.store, result, 3, tmp_path / "pictures")
    assert len(list((tmp_path / "pictures").iterdir())) == 3


def test_mevis_scores_unions_and_sentences_without_objects_and_submits_valid(
    setup, tmp_path, capsys
) -> None:
    root = make_mevis(tmp_path / "m", train=0, valid_u=1, num_frames=1, empty=True)
    both = draw_clip(0, 1).objects[0] > 0
    context, expressions = setup(
        root, "mevis", lambda sentence: both if sentence == BOTH else np.zeros_like(both)
    )
    result = videos.evaluate_youtube_vos(context, expressions)
    js = {row.expression_id: row.j for row in result.rows if row.video == "validu000000"}
    # Two shapes that were not found, their union twice in the same words, and nobody.
    assert js == {"0": 0, "1": 0, "2": 1, "3": 1, "4": 1}
    assert result.metrics == {"j": 3 / 5, "f": 3 / 5, "j_and_f": 3 / 5}
    assert "5 of 10 expressions have public masks" in (said := capsys.readouterr().out)
    assert "the submission holds those of valid" in said
    with zipfile.ZipFile(context.out / "submission.zip") as archive:
        assert archive.namelist() == [f"valid000000/{e}/00000.png" for e in range(5)]


def test_mevis_without_valid_leaves_no_submission(setup, tmp_path) -> None:
    root = make_mevis(tmp_path / "m", train=0, valid_u=1, valid=0, num_frames=1)
    context, expressions = setup(root, "mevis", lambda _: box(0, 0, 9, 9))
    (context.out / "submission.zip").write_bytes(b"an older one")
    assert videos.evaluate_youtube_vos(context, expressions).metrics["j"] > 0
    assert list(context.out.iterdir()) == []
