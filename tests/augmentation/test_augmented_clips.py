"""Augmented clips: all of a clip changes together, follows from its seed, and shows its object."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from losh.augmentation.augmented_clips import AugmentedClips
from losh.clips.batches import make_batch
from losh.clips.dataset import ClipRequest, LoadedClip
from losh.clips.samples import group_samples
from losh.errors import UserError
from losh.layers.boxes import boxes_of_masks
from losh.media.resizing import InputSize
from losh.params import AugmentationParams
from losh.testing.dataset_fixtures import make_a2d, make_refer_youtube_vos
from losh.testing.tiny_training import prepare_dataset
from losh.train.split import load_train_samples

SIZE = InputSize(48, 576)
COLOUR = {"probability": 0.5, "permutation": 0.5}
CROP = {"probability": 1.0, "short_sides": [60], "sides": [32, 50], "final_short_sides": [40]}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames of `dense` (all annotated, 12 a video) and `sparse` (three annotated, 12 kept)."""
    root = tmp_path_factory.mktemp("augmented")
    dense = make_refer_youtube_vos(root / "dense", train=3, valid=1, hidden=0, num_frames=12)
    prepare_dataset(root, root / "data", "dense", "refer_youtube_vos", dense)
    few = make_a2d(root / "few", train=3, test=1, num_frames=12)
    prepare_dataset(root, root / "data", "few", "a2d_sentences", few, keep="all")
    prepare_dataset(root, root / "data", "cut", "a2d_sentences", few)
    return root / "data"


def clips_of(data: Path, name: str = "dense", flip: float = 0.0, most: int = 1, **params):
    sparse = params.get("clips") == "sparse"
    groups = group_samples(load_train_samples([name], data, sparse)[0], most)
    checked = AugmentationParams.model_validate(params)
    return AugmentedClips(data, groups, SIZE, flip, checked, with_flow=True)


def drawn(dataset: AugmentedClips, count: int = 8, index: int | None = None) -> list[LoadedClip]:
    indices = range(count) if index is None else [index] * count
    found = [dataset[ClipRequest(i % len(dataset), (0, 0, p))] for p, i in enumerate(indices)]
    assert not any(isinstance(clip, UserError) for clip in found), found
    return found


def red(clip: LoadedClip, place: int) -> np.ndarray:
    """The pixels of a frame that are as red as object 1."""
    frame = clip.frames[place].int()
    return ((frame[..., 0] > 150) & (frame[..., 1] < 110) & (frame[..., 2] < 110)).numpy()


def assert_masks_lie_on_their_objects(clip: LoadedClip) -> None:
    """Every annotated frame: inside the mask is the object's colour, outside it is not."""
    for k, place in enumerate(clip.samples[0].annotated):
        for sample, referred, visible in zip(
            clip.samples, clip.referred, clip.visible, strict=True
        ):
            mask = clip.masks[referred, k].numpy()
            assert mask.any() == bool(visible[k])
            if sample.instance == "1":
                kernel = np.ones((7, 7), np.uint8)  # nearest neighbours, twice, err by 2 px
                inner = cv2.erode(mask.astype(np.uint8), kernel, borderValue=1).astype(bool)
                outer = cv2.dilate(mask.astype(np.uint8), kernel).astype(bool)
                shown = red(clip, place)
                assert shown[inner].mean() > 0.9 if inner.any() else True
                assert not shown[~outer].any() or not mask.any()


@pytest.mark.parametrize("name", ["dense", "few"])
@pytest.mark.parametrize(
    "params",
    [
        {"crop": CROP},
        {"crop": {**CROP, "keeps": "whole"}},
        {"short_sides": [32, 40, 56], "long_side": 70},
        {"clips": "sparse"},
        {"reverse": 0.5},
        {"clips": "sparse", "reverse": 0.5, "short_sides": [32, 40, 56], "crop": CROP},
    ],
    ids=lambda p: " ".join(p),
)
def test_masks_and_boxes_go_with_the_frames(data: Path, name: str, params: dict):
    found = drawn(clips_of(data, name, flip=0.5, most=2, **params))
    for clip in found:
        assert_masks_lie_on_their_objects(clip)
        assert clip.visible.any(1).all(), "of each expression something is left"
        assert clip.masks.flatten(1).any(1).all(), "an instance without a pixel is no target"
        assert clip.frames.shape[1:3] == clip.masks.shape[2:]
    first = make_batch(found[:3], torch.device("cpu")).targets[0].masks[0]
    height, width = first.shape[1:]
    for mask, box in zip(first, boxes_of_masks(first), strict=True):
        if mask.any():
            rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
            ends = [columns.min(), rows.min(), columns.max(), rows.max()]
            centre = [(ends[0] + ends[2]) / 2 / width, (ends[1] + ends[3]) / 2 / height]
            assert box[:2].tolist() == pytest.approx([float(x) for x in centre], abs=1e-6)


def test_crops_may_lose_the_object_in_some_frames_and_then_it_is_not_visible(data: Path):
    lost = [c for c in drawn(clips_of(data, crop=CROP), 30) if not c.visible.all()]
    plain = {
        (c.samples[0].sample_id, c.samples[0].window): c.visible for c in drawn(clips_of(data), 30)
    }
    gone = [
        c for c in lost if (c.visible < plain[c.samples[0].sample_id, c.samples[0].window]).any()
    ]
    assert gone, "no crop cut the object out of a frame"


def test_a_clip_without_its_object_is_replaced_by_another_of_its_dataset(data: Path):
    tiny = {"probability": 1.0, "short_sides": [200], "sides": [32, 33], "final_short_sides": [32]}
    dataset = clips_of(data, crop=tiny)
    found = drawn(dataset, 16, index=0)
    asked = dataset.groups[0][0].sample_id
    others = [clip.samples[0].sample_id for clip in found if clip.samples[0].sample_id != asked]
    assert 2 < len(others) < 16 and len(set(others)) > 2
    assert all(clip.visible.any() for clip in found)


def test_expressions_whose_object_is_cut_out_leave_their_group(data: Path):
    found = drawn(clips_of(data, most=4, crop={**CROP, "sides": [32, 34]}), 20)
    assert len({len(clip.samples) for clip in found}) > 1
    for clip in found:
        sizes = {len(clip.long), len(clip.short), len(clip.referred), len(clip.visible)}
        assert sizes == {len(clip.samples)}


def test_a_crop_keeps_the_whole_box(data: Path):
    """Object 1 is 17 px wide of 64, all through its way; 45 px of 80 hold it."""
    crop = {**CROP, "sides": [56, 60], "keeps": "whole"}
    plain = drawn(clips_of(data, "few"), 10)
    for clip, whole in zip(drawn(clips_of(data, "few", crop=crop), 10), plain, strict=True):
        own, height = clip.masks[clip.referred[0], 0], clip.frames.shape[1]
        area = whole.masks[whole.referred[0], 0].float().mean() * 48 * 64
        scale = (60 / 48 * 40 / 56, 60 / 48 * 40 / 60)  # of a crop that is 56 to 60 px high
        assert scale[1] ** 2 * 0.85 < own.sum() / area < scale[0] ** 2 * 1.2, height
        rows = own.any(1).nonzero()
        assert len(rows) >= 12


def test_a_reversed_clip_swaps_neighbours_and_flow(data: Path):
    dataset, backwards = (clips_of(data, "few", reverse=p) for p in (0.0, 1.0))
    for clip, turned in zip(drawn(dataset, 6), drawn(backwards, 6), strict=True):
        assert turned.samples[0].window == clip.samples[0].window[::-1]
        assert torch.equal(turned.frames, clip.frames.flip(0))
        assert turned.samples[0].annotated == (3 - clip.samples[0].annotated[0],)
        assert torch.equal(turned.masks, clip.masks)
        for key in ("forward", "backward", "valid"):
            assert (turned.flow[key] == clip.flow[key][:, ::-1]).all()
        here, there = clip.flow["neighbour"][:, ::-1], turned.flow["neighbour"]
        valid = turned.flow["valid"]
        assert (there[valid] == 3 - here[valid]).all() and valid.any()
        assert turned.long == clip.long


def test_neighbours_are_frames_in_a_row_whatever_the_clip(data: Path):
    """Flow is stored as one pixel to the right of half the size for all pairs."""
    for reach, expected in ((1, 1.0), (3, 0.2)):
        shares = []
        for clip in drawn(clips_of(data, clips="sparse", reach=reach, reverse=0.5), 15):
            window, flow = clip.samples[0].window, clip.flow
            for k, place in enumerate(clip.samples[0].annotated):
                for side, step in enumerate((-1, 1)):
                    beside = place + step
                    near = 0 <= beside < 4 and abs(window[beside] - window[place]) == 1
                    assert flow["valid"][k, side] == near
                    if near:
                        assert flow["neighbour"][k, side] == beside
                        assert np.allclose(flow["forward"][k, side, 0], 0.5)
            shares.append(flow["valid"].any())
        assert np.mean(shares) >= expected
    assert np.mean(shares) < 1, "with a reach of 3 some clips have no flow at all"


def test_sparse_samples_are_the_published_items(data: Path):
    """Each expression with each T-th frame, those without the object included."""
    dense = load_train_samples(["dense"], data, sparse=True)[0]
    by_video: dict[str, list[int]] = {}
    for sample in dense:
        assert sample.annotated == (0, 1, 2, 3)
        by_video.setdefault(sample.video, []).append(sample.window[0])
    assert sorted(map(len, by_video.values())) == [4, 12, 12]  # four expressions; 3, 12, 12 frames
    assert all(set(anchors) in ({0}, {0, 4, 8}) for anchors in by_video.values())
    few, windows = (load_train_samples(["few"], data, sparse)[0] for sparse in (True, False))
    assert few == windows, "one item for each annotated frame"


def test_an_annotated_frame_keeps_its_target_in_a_sparse_clip(data: Path):
    dataset = clips_of(data, "few", clips="sparse", reverse=0.5)
    for clip, plain in zip(drawn(dataset, 8), drawn(clips_of(data, "few"), 8), strict=True):
        one, other = clip.samples[0], plain.samples[0]
        anchor = other.window[other.annotated[0]]
        assert len(one.annotated) == 1 and one.window[one.annotated[0]] == anchor
        assert torch.equal(clip.masks, plain.masks)
        place = one.annotated[0]
        assert torch.equal(clip.frames[place], plain.frames[other.annotated[0]])


def test_sparse_clips_need_all_frames(data: Path):
    with pytest.raises(UserError) as error:
        load_train_samples(["cut"], data, sparse=True)
    assert "frames.keep" in str(error.value) and "\n" not in str(error.value)


def test_colours_are_drawn_for_each_frame_and_leave_masks_and_flow_alone(data: Path):
    plain, coloured = (drawn(clips_of(data, colour=c), 6) for c in ({}, COLOUR))
    apart = 0
    for one, other in zip(plain, coloured, strict=True):
        assert torch.equal(one.masks, other.masks)
        assert all((one.flow[key] == other.flow[key]).all() for key in one.flow)
        changes = (other.frames.float() - one.frames.float()).mean((1, 2))
        apart += len({tuple(np.round(change.numpy())) for change in changes}) > 2
    assert apart == 6
    half = {"short_sides": [32], "colour": COLOUR}
    before = drawn(clips_of(data, **half), 6)
    half["colour"] = {**COLOUR, "when": "after_resizing"}
    pairs = list(zip(before, drawn(clips_of(data, **half), 6), strict=True))
    apart = [(a.frames.float() - b.frames.float()).abs() for a, b in pairs]
    assert all(x.median() <= 1 for x in apart) and any(x.max() > 0 for x in apart)


def test_left_and_right_change_with_a_mirrored_crop(data: Path):
    dataset = clips_of(data, flip=1.0, crop=CROP)
    dataset.groups = [
        [dataclasses.replace(one, long="the left one", short="left") for one in group]
        for group in dataset.groups
    ]
    for clip in drawn(dataset, 4):
        assert clip.long == ["the right one"] and clip.short == ["right"]
        assert_masks_lie_on_their_objects(clip)
        # Whatever the size, motion to the right is now one to the left.
        assert (clip.flow["forward"][clip.flow["valid"]][:, 0] < 0).all()


def test_all_of_it_follows_from_the_seed(data: Path):
    everything = {
        "clips": "sparse",
        "reverse": 0.5,
        "short_sides": [32, 40, 56],
        "crop": {**CROP, "probability": 0.5},
        "colour": COLOUR,
    }
    one, other = (drawn(clips_of(data, flip=0.5, **everything), 6) for _ in range(2))
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a.frames, b.frames) and torch.equal(a.masks, b.masks)
        assert a.samples == b.samples and a.long == b.long
        assert all((a.flow[key] == b.flow[key]).all() for key in a.flow)
    again = clips_of(data, flip=0.5, **everything)[ClipRequest(0, (0, 1, 0))]
    assert again.frames.shape != one[0].frames.shape or not torch.equal(again.frames, one[0].frames)
