"""The whole dataset on disk, in A2D-Sentences' layout."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from losh.errors import UserError
from losh.moving_shapes.annotations import write_masks, write_table
from losh.moving_shapes.expressions import Described
from losh.moving_shapes.scene import RenderedClip, render_clip
from losh.moving_shapes.truth import truth_as_json
from losh.moving_shapes.video import RATE, write_video
from losh.params import MovingShapesParams
from losh.runtime.files import atomic_write, write_json
from losh.runtime.parallel import map_items

SPLITS = ("train", "test")  # in the order of A2D's subset numbers
SEEDS_A_SPLIT = 1_000_000
ATTRIBUTES = ("colour", "shape", "size", "texture", "motion")


def clip_seed(seed: int, split: str, index: int) -> int:
    """Return the clip's own seed: never the same for two clips of any datasets.

    It is never below 1,000,000, which is left to other uses.
    """
    return (2 * seed + 1 + SPLITS.index(split)) * SEEDS_A_SPLIT + index


def generate(params: MovingShapesParams, out: Path, progress: bool = True) -> None:
    """Generate the dataset under `out`. The same parameters give the same bytes.

    Written besides A2D's own files: `text_annotations/objects.json` (video -> instance -> its
    attributes), `text_annotations/short_texts.csv` (the true short form and the kind of each
    expression), and for test clips `text_annotations/scenes.json` (video -> its scene and what its
    expressions mean, `losh.moving_shapes.truth`) and `flow/<video>.npz` with the exact flow,
    `forward` and `backward` float32 [T - 1, 2, H, W] as in `RenderedClip`. Tables are written last:
    without them it did not end.

    Raises:
        UserError: more clips than there are seeds.
    """
    counts = {"train": params.train_videos, "test": params.test_videos}
    if max(counts.values()) > SEEDS_A_SPLIT:
        raise UserError(
            f"moving_shapes cannot make more than {SEEDS_A_SPLIT} clips a split",
            "Lower train_videos or test_videos",
        )
    objects: dict[str, dict] = {}
    scenes: dict[str, dict] = {}
    videos, texts = [], []
    clips = [(split, index) for split in SPLITS for index in range(counts[split])]
    with map_items(partial(_make_clip, params, out), clips) as made:
        bar = tqdm(
            made, total=len(clips), desc="generating clips", unit="clip", disable=not progress
        )
        for (split, _), (video, row, attributes, described, scene) in zip(clips, bar, strict=True):
            objects[video] = attributes
            if scene:
                scenes[video] = scene
            videos.append((*row, SPLITS.index(split)))
            texts += [
                (video, d.instance, d.text, d.short_text, d.short_text_with_position, d.kind)
                for d in described
            ]
    folder = out / "text_annotations"
    write_json(folder / "objects.json", objects)
    write_json(folder / "scenes.json", scenes)
    write_table(
        folder / "short_texts.csv",
        texts,
        ("video_id", "instance_id", "query", "short_query", "short_query_with_position", "kind"),
    )
    write_table(folder / "a2d_missed_videos.txt", [])
    write_table(out / "Release" / "videoset.csv", videos)
    write_table(
        folder / "a2d_annotation.txt",
        (row[:3] for row in texts),
        ("video_id", "instance_id", "query"),
    )


def _make_clip(
    params: MovingShapesParams, out: Path, place: tuple[str, int]
) -> tuple[str, tuple, dict[str, dict[str, str]], list[Described], dict[str, Any]]:
    """Write clip `place` (split, index).

    Returns:
        Its name, its row for the table of videos, its objects' attributes, its expressions, and of
        a test clip the truth.
    """
    split, index = place
    video = f"ms_{split}_{index:04d}"
    clip = render_clip(
        clip_seed(params.seed, split, index), params.num_frames, params.height, params.width
    )
    _write_clip(out, video, clip, with_flow=split == "test")
    attributes = {o.instance: {word: getattr(o, word) for word in ATTRIBUTES} for o in clip.objects}
    described = sorted((d for o in clip.objects for d in o.expressions), key=lambda d: d.instance)
    told = ((d.meaning, d.kind) for d in described)
    truth = truth_as_json(clip.scene, told) if split == "test" else {}
    return video, _video_row(video, clip), attributes, described, truth


def _video_row(video: str, clip: RenderedClip) -> tuple:
    """Return vid, label, start, end, height, width, total frames, annotated frames.

    A2D's label is an actor and an action: none here.
    """
    count, height, width = clip.frames.shape[:3]
    return (
        video,
        0,
        "0:00:00",
        f"0:00:{-(-count // RATE):02d}",
        height,
        width,
        count,
        len(clip.annotated),
    )


def _write_clip(out: Path, video: str, clip: RenderedClip, with_flow: bool) -> None:
    write_video(out / "Release" / "clips320H" / f"{video}.mp4", clip.frames)
    for frame in clip.annotated:
        masks = {
            o.instance: mask
            for o, mask in zip(clip.objects, clip.masks[frame], strict=True)
            if mask.any()
        }
        # A2D counts frames from 1.
        write_masks(
            out
            / "text_annotations"
            / "a2d_annotation_with_instances"
            / video
            / f"{frame + 1:05d}.h5",
            masks,
        )
    if with_flow:
        with atomic_write(out / "flow" / f"{video}.npz") as part:
            np.savez_compressed(part, forward=clip.flow_forward, backward=clip.flow_backward)
