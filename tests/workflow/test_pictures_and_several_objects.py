"""RefCOCO and MeViS through all stages' own functions: from a release to a training on both and
to scores. RAFT itself is left out (others test it): flow is a stand-in's.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from losh.augmentation.augmented_clips import AugmentedClips
from losh.clips.dataset import ClipRequest
from losh.clips.samples import Sample, without_copies
from losh.download import download
from losh.errors import UserError
from losh.evaluate.evaluation import evaluate
from losh.flow import FlowStore, compute
from losh.flow.compute import compute_flow
from losh.frames import FrameStore
from losh.frames.extract import extract_frames
from losh.media.resizing import InputSize
from losh.params import AugmentationParams, Params, check_params, load_params
from losh.short_text.parse import parse_text
from losh.testing.mevis_fixture import make_mevis
from losh.testing.refcoco_fixture import make_refcoco
from losh.testing.tiny_training import tiny_raw
from losh.train.dataset_digests import describe_train_data
from losh.train.split import load_train_samples
from losh.train.training import train

NAMES = ("refcoco", "mevis")
DATASETS = {name: {"kind": name} for name in NAMES}


class OneStep:
    """A stand-in for RAFT: everything moves by a pixel."""

    def estimate_both(self, frames: np.ndarray, pairs: list) -> tuple[np.ndarray, np.ndarray]:
        there = np.zeros((len(pairs), 2, *frames.shape[1:3]), np.float32)
        there[:, 0] = 1
        return there, -there


def params(**changes: object) -> Params:
    base = {"train__datasets": list(NAMES), "train__pseudo_clips": True, "train__epochs": 1}
    return check_params(tiny_raw(DATASETS, **{**base, **changes}))


def prepare(root: Path, given: Params, asked_for_flow: list[str]) -> Path:
    data = root / "data"
    for name in given.datasets:
        raw, frames = data / "raw" / name, data / "frames" / name
        download(name, given.datasets[name], raw, root / "none")
        extract_frames(raw, frames, given.frames, root / "scratch")
        before = len(asked_for_flow)
        compute_flow(frames, data / "flow" / name, given.flow, root / "scratch", False)
        asked_for_flow[before:] = [name] if len(asked_for_flow) > before else []
        texts = data / "short_text" / f"{name}.csv"
        parse_text(raw / "expressions.csv", texts, given.short_text, False)
    describe_train_data(list(given.train.datasets), data / "train_data.json", data)
    return data


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Both datasets prepared, trained on for an epoch, and scored."""
    root = tmp_path_factory.mktemp("both")
    make_refcoco(root / "coco", train=3)
    make_mevis(root / "mevis", train=3, valid_u=1, valid=1, num_frames=5, empty=True)
    asked: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOSH_REFCOCO", str(root / "coco"))
        patch.setenv("LOSH_MEVIS", str(root / "mevis"))
        patch.setattr(compute, "_new_estimator", lambda _: asked.append("") or OneStep())
        patch.setattr(compute, "_recipe", lambda _: {})
        given = params()
        data = prepare(root, given, asked)
        train(given, data / "model", root / "metrics", data, root / "scratch")
        for name in NAMES:
            evaluate(name, given.evaluate, data, root / "metrics")
        yield root
    assert asked == ["mevis"]  # pictures have no flow, and no network is built for them


def scores(root: Path, name: str) -> dict:
    return json.loads((root / "metrics/eval" / f"{name}.json").read_text())


def samples_of(root: Path, name: str) -> list[Sample]:
    return load_train_samples([name], root / "data")[0]


def loaded(root: Path, sample: Sample, seed: tuple[int, ...] | None = None, **more: object):
    size, nothing = InputSize(48, 576), AugmentationParams()
    clips = AugmentedClips(root / "data", [[sample]], size, 0.0, nothing, **more)
    clip = clips[ClipRequest(0, seed)]
    if isinstance(clip, UserError):
        raise clip
    return clip


def test_it_learns_from_both_with_the_consistency_of_the_videos_alone(project: Path):
    summary = json.loads((project / "metrics/train.json").read_text())
    assert summary["epochs"] == 1 and summary["skipped_steps"] == 0
    assert {"reference", "focal", "dice", "intersection", "consistency"} <= set(summary["loss"])
    assert 0 <= summary["validation"]["mean_iou"] <= 1


def test_pictures_have_an_index_of_flow_and_no_files(project: Path):
    folder = project / "data/flow/refcoco"
    assert [path.name for path in folder.iterdir()] == ["index.json"]
    assert not FlowStore(folder).has("COCO_train2014_000000001000", 0, 1)
    clip = loaded(project, samples_of(project, "refcoco")[0], (1,), with_flow=True)
    assert not clip.flow["valid"].any()
    video = loaded(project, samples_of(project, "mevis")[0], (1,), with_flow=True)
    assert video.flow["valid"].any()


def test_a_picture_is_trained_on_as_a_pseudo_clip_and_scored_alone(project: Path):
    sample = samples_of(project, "refcoco")[0]
    assert sample.window == (0,) * 4 and sample.annotated == (0, 1, 2, 3)
    clip, again = loaded(project, sample, (1, 2)), loaded(project, sample, (1, 2))
    still = loaded(project, sample)
    assert clip.frames.shape == (4, 48, 64, 3) and clip.masks.shape[1] == 4
    assert (clip.frames == again.frames).all() and not (clip.frames[0] == clip.frames[1]).all()
    assert (still.frames == still.frames[0]).all(), "without augmentation the picture repeats"
    same = [(frame == still.frames[0]).all().item() for frame in clip.frames]
    assert sum(same) == 1
    assert (clip.masks[:, same.index(True)] == still.masks[:, 0]).all(), "masks move along"
    alone = without_copies(sample)
    assert loaded(project, alone).frames.shape[0] == 1


def test_crowds_and_objects_without_area_are_left_out_and_counted(project: Path):
    samples, left_out = load_train_samples(["refcoco"], project / "data")
    assert len(samples) == 12 and left_out == {"instance without a mask": 4}


def test_each_split_of_pictures_has_its_scores(project: Path):
    found = scores(project, "refcoco")
    assert set(found) == {"val", "testA", "testB", "samples", "skipped"}
    assert found["samples"] == 12
    table = pd.read_csv(project / "data/evaluate/refcoco/expressions.csv", dtype={"frame": int})
    images = {"val": "1003", "testA": "1004", "testB": "1005"}
    for split, image in images.items():
        own = table[table["video"].str.endswith(image)]
        overall = own["intersection"].sum() / own["union"].sum()
        assert len(own) == 4 and found[split]["overall_iou"] == pytest.approx(overall, abs=1e-4)
        assert found[split]["mean_iou"] == pytest.approx(own["iou"].mean(), abs=1e-4)
        assert {f"precision_at_{k}" for k in range(50, 100, 10)} <= set(found[split])
    assert len(list((project / "data/evaluate/refcoco/pictures").iterdir())) == 2


def test_a_union_is_trained_on_as_one_object(project: Path):
    both = next(one for one in samples_of(project, "mevis") if one.instance == "1+2")
    clip = loaded(project, both)
    assert clip.masks.shape[0] == 3 and clip.rows == [[1]]
    store = FrameStore(project / "data/frames/mevis")
    for k, t in enumerate(both.window):
        masks = store.masks(both.video, t)
        assert (clip.masks[1, k].numpy() == (masks["1"] | masks["2"])).all()
    assert clip.visible.all(), "the disc is in sight while the square is away"


def test_sentences_without_objects_are_not_trained_on(project: Path):
    _, left_out = load_train_samples(["mevis"], project / "data")
    assert left_out == {"instance without a mask": 3}


def test_valid_u_is_scored_and_valid_submitted(project: Path):
    found = scores(project, "mevis")
    assert found["samples"] == 5 and {"j", "f", "j_and_f"} <= set(found)
    with zipfile.ZipFile(project / "data/evaluate/mevis/submission.zip") as archive:
        names = set(archive.namelist())
    assert names == {f"valid000000/{e}/{t:05d}.png" for e in range(5) for t in range(5)}


def test_a_dataset_of_pictures_can_be_trained_on_without_copies(project: Path, tmp_path: Path):
    given = params(train__datasets=["refcoco"], train__pseudo_clips=False, frames__window=1)
    raw, frames = project / "data/raw/refcoco", tmp_path / "data/frames/refcoco"
    extract_frames(raw, frames, given.frames, tmp_path / "scratch")
    for name in ("flow", "short_text"):
        (tmp_path / "data" / name).symlink_to(project / "data" / name)
    describe_train_data(["refcoco"], tmp_path / "data/train_data.json", tmp_path / "data")
    assert samples_of(tmp_path, "refcoco")[0].window == (0,)
    out = (tmp_path / "data/model", tmp_path / "metrics")
    summary = train(given, *out, tmp_path / "data", tmp_path / "scratch")
    assert summary["loss"]["consistency"] == 0 < summary["loss"]["dice"]


def test_pictures_asked_for_windows_are_one_line(tmp_path: Path):
    raw = tiny_raw(DATASETS, train__datasets=["mevis", "refcoco"])
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(raw))
    with pytest.raises(UserError) as error:
        load_params(path)
    assert str(error.value) == (
        f"{path}: the file: train.datasets names 'refcoco', which has pictures, but frames.window "
        "is 4. Set frames.window to 1, or train.pseudo_clips to true"
    )
    raw["train"]["datasets"] = ["mevis"]  # for evaluation alone they need no window
    check_params(raw)
