"""The dataset on disk: A2D's layout and quirks, and the same bytes every time."""

import csv
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import av
import h5py
import numpy as np
import pytest

from losh.moving_shapes.annotations import write_masks
from losh.moving_shapes.generate import clip_seed, generate
from losh.moving_shapes.meaning import referents
from losh.moving_shapes.scene import render_clip
from losh.moving_shapes.truth import read_truth
from losh.moving_shapes.video import write_video
from losh.params import MovingShapesParams

PARAMS = MovingShapesParams(
    kind="moving_shapes", seed=3, train_videos=3, test_videos=2, num_frames=16, height=96, width=128
)
AGAIN = (
    "import sys; from pathlib import Path; from losh.moving_shapes.generate import generate; "
    "from losh.params import MovingShapesParams; "
    + (
        "generate(MovingShapesParams.model_validate_json(sys.argv[1]), Path(sys.argv[2]), "
        "progress=False)"
    )
)


def _hashes(folder: Path) -> dict[str, str]:
    return {
        str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest()
        for f in sorted(folder.rglob("*"))
        if f.is_file()
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("made")
    generate(PARAMS, out, progress=False)
    return out


def test_same_seed_same_bytes_in_another_process(made, tmp_path):
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    subprocess.run(
        [sys.executable, "-c", AGAIN, PARAMS.model_dump_json(), str(tmp_path)],
        check=True,
        env=environment,
    )
    assert _hashes(made) == _hashes(tmp_path)


def test_same_bytes_from_several_processes(tmp_path, monkeypatch):
    many = PARAMS.model_copy(
        update={"train_videos": 14, "num_frames": 8, "height": 64, "width": 80}
    )
    for count in ("1", "2"):
        monkeypatch.setenv("LOSH_WORKERS", count)
        generate(many, tmp_path / count, progress=False)
    assert _hashes(tmp_path / "1") == _hashes(tmp_path / "2")


def test_masks_are_the_same_bytes_where_something_holds_a_dataset(tmp_path, monkeypatch):
    """As Dask's profiler does, which holds the frames of the call that it looks at."""
    rng = np.random.default_rng(0)
    masks = {name: rng.random((96, 128)) > 0.9 for name in "123"}
    write_masks(tmp_path / "free.h5", masks)
    create, held = h5py.Group.create_dataset, []

    def hold(*args, **kwargs):
        held.append(create(*args, **kwargs))
        return held[-1]

    monkeypatch.setattr(h5py.Group, "create_dataset", hold)
    write_masks(tmp_path / "held.h5", masks)
    assert len(held) == 3
    assert (tmp_path / "held.h5").read_bytes() == (tmp_path / "free.h5").read_bytes()


def test_a_video_depends_on_its_frames_alone(tmp_path):
    """Not on what lay in memory before: x264 reads beyond a row of macroblocks, unless told not
    to.
    """
    rng = np.random.default_rng(0)
    for index in range(4):  # of these sizes two clips in three came out in several ways
        frames = render_clip(clip_seed(1, "train", index), 10, 72, 104).frames
        made = set()
        for _ in range(12):
            junk = [
                np.full(size, value, np.uint8)
                for size, value in rng.integers((100, 0), (200_000, 256), (50, 2))
            ]
            del junk[::2]
            write_video(tmp_path / "clip.mp4", frames)
            made.add((tmp_path / "clip.mp4").read_bytes())
        assert len(made) == 1


def test_another_seed_other_bytes(made, tmp_path):
    generate(
        PARAMS.model_copy(update={"seed": 4, "train_videos": 1, "test_videos": 1}),
        tmp_path,
        progress=False,
    )
    clips = [f for f in _hashes(tmp_path).items() if f[0].endswith(".mp4")]
    assert clips and not set(clips) & set(_hashes(made).items())


def test_layout(made):
    files = set(_hashes(made))
    videos = [f"ms_train_{k:04d}" for k in range(3)] + [f"ms_test_{k:04d}" for k in range(2)]
    tables = {"Release/videoset.csv"} | {
        f"text_annotations/{name}"
        for name in (
            "a2d_annotation.txt",
            "a2d_missed_videos.txt",
            "objects.json",
            "scenes.json",
            "short_texts.csv",
        )
    }
    masks = {f for f in files if f.startswith("text_annotations/a2d_annotation_with_instances/")}
    assert files - masks == tables | {f"Release/clips320H/{v}.mp4" for v in videos} | {
        f"flow/{v}.npz" for v in videos[3:]
    }
    assert len(masks) == 3 * len(videos)
    rows = list(csv.reader((made / "Release/videoset.csv").open()))
    assert [(r[0], r[4:]) for r in rows] == [
        (v, ["96", "128", "16", "3", "0" if "train" in v else "1"]) for v in videos
    ]


def test_annotation_table(made):
    with (made / "text_annotations/a2d_annotation.txt").open() as file:
        header, *rows = csv.reader(file)
    assert header == ["video_id", "instance_id", "query"]
    objects = json.loads((made / "text_annotations/objects.json").read_text())
    for video, instance, query in rows:
        thing = objects[video][instance]
        assert set(thing) == {"colour", "shape", "size", "texture", "motion"}
        assert thing["shape"] in query.split() and thing["colour"] in query.split()
        for path in (made / "text_annotations/a2d_annotation_with_instances" / video).iterdir():
            with h5py.File(path) as file:
                assert float(instance) in file["instance"][()]
    assert {row[0] for row in rows} == set(objects)


def test_truth_of_test_clips_is_in_the_order_of_the_table(made):
    """Expression k of a clip in the table is expression k of its truth; training clips have
    none.
    """
    scenes = json.loads((made / "text_annotations/scenes.json").read_text())
    assert set(scenes) == {"ms_test_0000", "ms_test_0001"}
    with (made / "text_annotations/short_texts.csv").open() as file:
        rows = list(csv.DictReader(file))
    for video, values in scenes.items():
        known = read_truth(values)
        own = [row for row in rows if row["video_id"] == video]
        assert [row["kind"] for row in own] == list(known.kinds)
        for row, meaning in zip(own, known.meanings, strict=True):
            assert [s.instance for s in referents(known.scene, meaning)] == [row["instance_id"]]


def test_more_test_clips_leave_the_training_clips_as_they_are(made, tmp_path):
    generate(PARAMS.model_copy(update={"test_videos": 1}), tmp_path, progress=False)

    def clips(folder: Path, split: str) -> dict[str, str]:
        return {f: digest for f, digest in _hashes(folder).items() if f"ms_{split}_" in f}

    assert clips(made, "train") == clips(tmp_path, "train")
    assert clips(made, "test").items() > clips(tmp_path, "test").items()


def test_masks_and_frames_belong_together(made):
    """Each mask file lies at its 1-based frame, transposed; the video decodes to the drawn
    frames.
    """
    clip = render_clip(clip_seed(PARAMS.seed, "test", 1), 16, 96, 128)
    with av.open(str(made / "Release/clips320H/ms_test_0001.mp4")) as video:
        decoded = np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)])
    assert decoded.shape == clip.frames.shape
    # Grey levels: what 4:2:0 and H.264 lose.
    assert np.abs(decoded.astype(int) - clip.frames).mean() < 4
    for t in clip.annotated:
        with h5py.File(
            made / f"text_annotations/a2d_annotation_with_instances/ms_test_0001/{t + 1:05d}.h5"
        ) as file:
            masks, boxes = file["reMask"][()], file["reBBox"][()]
            assert (
                masks.dtype == np.uint8
                and masks.shape[1:] == (128, 96)
                and boxes.shape == (4, len(masks))
            )
            for name, mask, (x1, y1, x2, y2) in zip(
                file["instance"][()], masks, boxes.T, strict=True
            ):
                k = [o.instance for o in clip.objects].index(str(int(name)))
                assert np.array_equal(mask.T > 0, clip.masks[t, k])
                rows, columns = np.nonzero(mask.T)
                assert (x1, y1, x2, y2) == (columns.min(), rows.min(), columns.max(), rows.max())


def test_a_single_instance_takes_the_flat_form(tmp_path):
    mask = np.zeros((6, 9), bool)
    mask[1:3, 4:8] = True
    write_masks(tmp_path / "one.h5", {"2": mask})
    with h5py.File(tmp_path / "one.h5") as file:
        assert file["reMask"].shape == (9, 6) and file["instance"][()].tolist() == [2]
        assert np.array_equal(file["reMask"][()].T > 0, mask)
        assert file["reBBox"][()].tolist() == [[4], [1], [7], [2]]


def test_kept_flow_is_the_exact_one(made):
    clip = render_clip(clip_seed(PARAMS.seed, "test", 0), 16, 96, 128)
    with np.load(made / "flow/ms_test_0000.npz") as kept:
        assert np.array_equal(kept["forward"], clip.flow_forward) and np.array_equal(
            kept["backward"], clip.flow_backward
        )


def test_no_two_clips_share_a_seed():
    seeds = [
        clip_seed(seed, split, k)
        for seed in range(4)
        for split in ("train", "test")
        for k in (0, 1, 999_999)
    ]
    assert len(set(seeds)) == len(seeds) and min(seeds) >= 1_000_000


def test_an_interrupted_generation_has_no_annotation_table(tmp_path, monkeypatch):
    calls = []

    def fails(*arguments, **named):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return render_clip(*arguments, **named)

    monkeypatch.setattr("losh.moving_shapes.generate.render_clip", fails)
    with pytest.raises(KeyboardInterrupt):
        generate(PARAMS, tmp_path, progress=False)
    names = [f.name for f in tmp_path.rglob("*") if f.is_file()]
    assert "a2d_annotation.txt" not in names and not any(n.startswith(".part") for n in names)
