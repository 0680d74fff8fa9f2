"""Tiny datasets in the published layouts, quirks included, for tests and measurements.

Those of RefCOCO and of MeViS have files of their own; losh.testing.drawn_clip says what is shown.
"""

from __future__ import annotations

import csv
import json
import random
from functools import partial
from pathlib import Path

import av
import h5py
import numpy as np
import scipy.io
from PIL import Image

from losh.datasets import DatasetReader, make_reader
from losh.datasets.listing import FileListing
from losh.datasets.published import LAYOUTS
from losh.testing.drawn_clip import QUERIES, SHORT, SIZE, draw_clip, write_jpegs
from losh.testing.mevis_fixture import make_mevis
from losh.testing.refcoco_fixture import make_refcoco

COPIED_VIDEO = "T6bNPuKV-wY"
PALETTE = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0] + [0] * 756


def make_a2d(
    root: Path,
    train: int = 3,
    test: int = 2,
    num_frames: int = 12,
    size: tuple[int, int] = SIZE,
    short_queries: bool = False,
    missing: int = 1,
) -> Path:
    """Write a tiny A2D-Sentences.

    The first training video is the one with the "1 (copy)" row, the second has a single instance,
    so that its masks have no first axis; in the third, object 2 is not in the last annotated frame;
    `missing` further videos are listed and described, but not there, and one is in
    a2d_missed_videos.txt. Frames 3, 6 and 9 (1-based) are annotated.
    """
    release, texts = root / "Release", root / "text_annotations"
    masks = texts / "a2d_annotation_with_instances"
    (release / "clips320H").mkdir(parents=True)
    masks.mkdir(parents=True)
    names = [COPIED_VIDEO, *(f"a-{i:04d}=_x" for i in range(1, train + test))]
    subsets = [0] * train + [1] * test
    rows: list[tuple[str, int | str, str, str]] = []
    for number, video in enumerate(names):
        clip = draw_clip(number, num_frames, size)
        write_video(release / "clips320H" / f"{video}.mp4", clip.frames)
        there = [1] if number == 1 else [1, 2]
        for frame in range(3, num_frames + 1, 3)[:3]:
            shown = [one for one in there if not (number == 2 and one == 2 and frame == 9)]
            _write_h5(masks / video / f"{frame:05d}.h5", clip.objects[frame - 1], shown)
        rows += [(video, one, QUERIES[one], SHORT[one]) for one in there]
    rows.insert(1, (COPIED_VIDEO, "1 (copy)", "a copied description", "a copy"))
    rows[2] = (rows[2][0], rows[2][1], 'a "green" disc, which is rolling', SHORT[2])
    rows += [(f"gone{i}", 1, QUERIES[1], SHORT[1]) for i in range(missing)]
    with (texts / "a2d_annotation.txt").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(
            ("video_id", "instance_id", "query", "short_query")[: 4 if short_queries else 3]
        )
        table.writerows(row[: 4 if short_queries else 3] for row in rows)
    (texts / "a2d_missed_videos.txt").write_text("never_described\n")
    listed = [
        *zip(names, subsets, strict=True),
        *((f"gone{i}", 0) for i in range(missing)),
        ("never_described", 0),
    ]
    with (release / "videoset.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            (video, 21, "0:00:00", "0:00:02", *size, num_frames, 3, subset)
            for video, subset in listed
        )
    return root


def _write_h5(path: Path, objects: np.ndarray, shown: list[int]) -> None:
    """Masks as MATLAB wrote them: [n, W, H], or [W, H] for one instance."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stacked = np.stack([(objects == one).T for one in shown]).astype(np.uint8)
    boxes = [
        [columns.min(), rows.min(), columns.max(), rows.max()]
        for rows, columns in (np.nonzero(objects == one) for one in shown)
    ]
    with h5py.File(path, "w") as file:
        file["instance"] = np.array(shown, np.float64)
        file["reMask"] = stacked if len(shown) > 1 else stacked[0]
        file["reBBox"] = np.array(boxes, np.float64).T


def write_video(path: Path, frames: np.ndarray) -> None:
    """Return an H.264 file of the frames, nearly lossless."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=10, options={"preset": "ultrafast", "crf": "8", "threads": "1"}
        )
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


JHMDB_NAMES = (
    ("ride_bike", "#437_How_To_Ride_A_Bike_ride_bike_f_cm_np1_le_bad_0"),
    ("kick_ball", "Goal!_(1)_kick_ball_f_cm_np1_ba_bad_6"),
    ("catch", "Ball & Glove + Hand catch_u_cm_np1_fr_goo_0"),
)


def make_jhmdb(
    root: Path,
    videos: int = 4,
    num_frames: int = 8,
    size: tuple[int, int] = SIZE,
    published_samples: bool = False,
    missing: int = 0,
) -> Path:
    """Write a tiny JHMDB-Sentences with the odd names of JHMDB_NAMES.

    Masks lack the last two frames; `missing` described videos are not there.
    """
    names = [*JHMDB_NAMES, *(("walk", f"walk_{i:04d}") for i in range(videos))][:videos]
    (root / "Rename_Images").mkdir(parents=True)
    samples = []
    for number, (label, video) in enumerate(names):
        clip = draw_clip(number, num_frames, size)
        frames, masks = root / "Rename_Images" / label / video, root / "puppet_mask" / label / video
        frames.mkdir(parents=True)
        masks.mkdir(parents=True)
        for t in range(num_frames):
            Image.fromarray(clip.frames[t]).save(frames / f"{t + 1:05d}.png", compress_level=1)
        (frames / ".AppleDouble").mkdir()
        # Body parts are numbered; any of them is the person.
        parts = (clip.objects[: num_frames - 2] == 1).transpose(1, 2, 0) * np.uint8(3)
        scipy.io.savemat(masks / "puppet_mask.mat", {"part_mask": parts}, do_compression=True)
        for frame in random.Random(number).sample(range(1, num_frames - 1), min(3, num_frames - 2)):
            place = f"./jhmdb_sentences/Rename_Images/{label}/{video}/{frame:05d}.png"
            samples.append(
                [
                    video,
                    place,
                    f"./jhmdb_sentences/puppet_mask/{label}/{video}/puppet_mask.mat",
                    num_frames - 2,
                    QUERIES[1],
                ]
            )
    with (root / "jhmdb_annotation.txt").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("video_id", "query"))
        table.writerows((video, QUERIES[1]) for _, video in names)
        table.writerows((f"gone{i}", QUERIES[1]) for i in range(missing))
    if published_samples:
        (root / "jhmdb_sentences_samples_metadata.json").write_text(json.dumps(samples))
    return root


def make_refer_youtube_vos(
    root: Path,
    train: int = 3,
    valid: int = 2,
    hidden: int = 2,
    num_frames: int = 7,
    size: tuple[int, int] = SIZE,
    test_file: bool = True,
    valid_masks: str = "",
    valid_ids: bool = False,
) -> Path:
    """Write a tiny Refer-YouTube-VOS.

    In the first training video object 1 leaves and returns; the second has three frames, fewer than
    a window; valid.json lists `hidden` test videos, without frames. `valid_masks`: "" (none, as
    published for years), "palette" or "expressions" (one folder of 0/255 per expression);
    `valid_ids` adds obj_id to valid.json.
    """
    entries: dict[str, dict] = {"train": {}, "valid": {}, "test": {}}
    for split, count in (("train", train), ("valid", valid)):
        for number in range(count):
            video, length = (
                f"{split}{number:06x}",
                min(3, num_frames) if split == "train" and number == 1 else num_frames,
            )
            absent = (
                {1: set(range(2, max(3, length - 2)))} if split == "train" and number == 0 else {}
            )
            clip = draw_clip(number, length, size, absent)
            names = [f"{5 * t:05d}" for t in range(length)]
            write_jpegs(root / split / "JPEGImages" / video, clip, names)
            expressions = {
                str(2 * (one - 1) + i): {"exp": text[one]}
                for one in (1, 2)
                for i, text in enumerate((QUERIES, SHORT))
            }
            if split == "train" or valid_ids:
                expressions = {
                    key: value | {"obj_id": str(1 + int(key) // 2)}
                    for key, value in expressions.items()
                }
            entries[split][video] = {"frames": names, "expressions": expressions}
            masks = root / split / "Annotations" / video
            if split == "train" or valid_masks == "palette":
                for t, name in enumerate(names):
                    write_palette(masks / f"{name}.png", clip.objects[t])
            elif valid_masks == "expressions":
                for key in expressions:
                    for t, name in enumerate(names):
                        _write_grey(
                            masks / key / f"{name}.png", clip.objects[t] == 1 + int(key) // 2
                        )
    for number in range(hidden):
        entry = {"frames": ["00000", "00005"], "expressions": {"0": {"exp": QUERIES[1]}}}
        entries["valid"][f"hidden{number}"] = entries["test"][f"hidden{number}"] = entry
    for split, videos in entries.items():
        if split != "test" or test_file:
            path = root / "meta_expressions" / split / "meta_expressions.json"
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps({"videos": videos}))
    (root / "train").mkdir(exist_ok=True)
    objects = {
        video: {"objects": {one: {"category": "shape"} for one in "12"}}
        for video in entries["train"]
    }
    (root / "train" / "meta.json").write_text(json.dumps({"videos": objects}))
    return root


DAVIS_NAMES = {"train": ("classic-car", "dogs-scale"), "val": ("motorbike", "blackswan", "camel")}
"""The three videos that the text files misspell come first."""
MISSPELT = {"classic-car": "clasic-car", "dogs-scale": "dog-scale", "motorbike": "motor-bike"}


def make_refer_davis17(
    root: Path, train: int = 2, val: int = 3, num_frames: int = 6, size: tuple[int, int] = SIZE
) -> Path:
    """Write a tiny Refer-DAVIS17 with its misspelt names.

    Annotator 2's files are in Latin-1, and an expression has quotation marks inside it.
    """
    davis, texts = root / "DAVIS", root / "davis_text_annotations"
    (davis / "ImageSets" / "2017").mkdir(parents=True)
    texts.mkdir(parents=True)
    split_videos = {}
    for split, count in (("train", train), ("val", val)):
        split_videos[split] = [*DAVIS_NAMES[split], *(f"{split}-{i:04d}" for i in range(count))][
            :count
        ]
        (davis / "ImageSets" / "2017" / f"{split}.txt").write_text(
            "".join(f"{video}\n" for video in split_videos[split])
        )
        for number, video in enumerate(split_videos[split]):
            names = [f"{t:05d}" for t in range(num_frames)]
            clip = draw_clip(number, num_frames, size, {2: {0}} if number == 0 else {})
            write_jpegs(davis / "JPEGImages" / "480p" / video, clip, names)
            for t, name in enumerate(names):
                write_palette(
                    davis / "Annotations_unsupervised" / "480p" / video / f"{name}.png",
                    clip.objects[t],
                )
    semantics = {
        video: {"1": "square", "2": "disc"} for videos in split_videos.values() for video in videos
    }
    (davis / "davis_semantics.json").write_text(json.dumps(semantics))
    for annotator, encoding in ((1, "utf-8"), (2, "latin-1")):
        for view in ("", "_full_video"):
            lines = [
                f'{MISSPELT.get(video, video)} {one} "{SHORT[one] if not view else QUERIES[one]} '
                f'of annotator {annotator}, caf\xe9"\n'
                for videos in split_videos.values()
                for video in videos
                for one in (1, 2)
            ]
            lines[-1] = lines[-1].replace("the green", 'the "green"')
            (texts / f"Davis17_annot{annotator}{view}.txt").write_bytes(
                "".join(lines).encode(encoding)
            )
    return root


def write_palette(path: Path, objects: np.ndarray) -> None:
    """Return a PNG whose palette indices are the objects' ids."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(objects)
    image.putpalette(PALETTE)
    image.save(path, compress_level=1)


def _write_grey(path: Path, mask: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8) * 255).save(path)


MAKERS = {
    "a2d_sentences": make_a2d,
    "jhmdb_sentences": make_jhmdb,
    "refer_youtube_vos": make_refer_youtube_vos,
    "refer_davis17": make_refer_davis17,
    "mevis": make_mevis,
    "refcoco": make_refcoco,
    "refcoco_plus": partial(make_refcoco, kind="refcoco_plus"),
    "refcocog": partial(make_refcoco, kind="refcocog"),
}


def reader_of(
    kind: str, root: Path, samples: dict[str, list[int]] | None = None, strict: bool = False
) -> DatasetReader:
    """Return the reader over a fixture's folder, without the download stage."""
    return make_reader(kind, kind, FileListing(root), LAYOUTS[kind].locate(root), samples, strict)
