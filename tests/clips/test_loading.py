"""Clips as the model gets them: targets, flow and text agree with the frames, mirrored or not."""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data._utils import signal_handling

from losh.augmentation.augmented_clips import AugmentedClips
from losh.clips.batches import IMAGE_MEAN, IMAGE_STD, make_batch
from losh.clips.dataset import ClipDataset, ClipRequest, readable
from losh.clips.geometry import Geometry
from losh.clips.loader import load_batches
from losh.clips.samples import build_samples, group_samples, read_expressions
from losh.frames import FrameStore
from losh.media.resizing import InputSize, resize_frame
from losh.params import AugmentationParams

SIZE = InputSize(48, 576)


def samples_of(data: Path, train: bool = True):
    return build_samples(
        FrameStore(data / "frames" / "tiny"),
        read_expressions(data / "short_text" / "tiny.csv"),
        train,
    )


def dataset_of(data: Path, most: int = 1, **options) -> ClipDataset:
    return ClipDataset(data, group_samples(samples_of(data)[0], most), SIZE, **options)


def flipping(data: Path, flip: float, **options) -> AugmentedClips:
    groups = group_samples(samples_of(data)[0], 1)
    return AugmentedClips(data, groups, SIZE, flip, AugmentationParams(), **options)


def test_a_sample_is_an_expression_and_an_annotated_frame_with_its_mask(tiny_data: Path):
    samples, _ = samples_of(tiny_data)
    store = FrameStore(tiny_data / "frames" / "tiny")
    assert len({sample.sample_id for sample in samples}) == len(samples)
    for sample in samples:
        t = sample.window[sample.annotated[0]]
        assert (
            sample.annotated == (2,)
            and len(sample.window) == 4
            and sample.instance in store.videos[sample.video]["instances"][str(t)]
        )
    assert {sample.video for sample in samples}.isdisjoint(
        sample.video for sample in samples_of(tiny_data, train=False)[0]
    )


def test_targets_are_all_instances_and_the_referred_one_is_named(tiny_data: Path):
    for clip in (dataset_of(tiny_data)[i] for i in range(5)):
        sample = clip.samples[0]
        pixels = clip.frames[sample.annotated[0]][clip.masks[clip.referred[0], 0]].float().mean(0)
        assert (pixels[0] > pixels[1]) == (sample.instance == "1")  # red square or green disc
        assert clip.visible[0, 0]


def test_expressions_of_a_window_share_its_frames(tiny_data: Path):
    samples, _ = samples_of(tiny_data)
    groups = group_samples(samples, 4)
    assert sorted(s.sample_id for g in groups for s in g) == sorted(s.sample_id for s in samples)
    assert any(len(group) == 2 for group in groups) and all(
        len({(s.video, s.window) for s in group}) == 1 for group in groups
    )
    clip = ClipDataset(tiny_data, [next(group for group in groups if len(group) == 2)], SIZE)[0]
    batch = make_batch([clip], torch.device("cpu"))
    assert (
        batch.clips.frames.shape[0] == 1
        and batch.clips.rows.tolist() == [0, 0]
        and len(batch.targets) == len(batch.long) == 2
    )
    assert {target.referred for target in batch.targets} == set(clip.referred) and len(
        set(clip.referred)
    ) == 2


def test_padding_is_zero_after_normalisation_and_marked(tiny_data: Path):
    clip = dataset_of(tiny_data)[0]
    small = ClipDataset(tiny_data, [clip.samples], InputSize(32, 576))[0]
    batch = make_batch([clip, small], torch.device("cpu"))
    h, w = small.frames.shape[1:3]
    assert (
        batch.clips.pad[1, :, h:].all()
        and batch.clips.pad[1, :, :, w:].all()
        and not batch.clips.pad[1, :, :h, :w].any()
    )
    assert (batch.clips.frames[1, :, :, h:] == 0).all()
    expected = (
        clip.frames[0].permute(2, 0, 1).float() / 255 - torch.tensor(IMAGE_MEAN).view(3, 1, 1)
    ) / torch.tensor(IMAGE_STD).view(3, 1, 1)
    assert torch.allclose(batch.clips.frames[0, 0], expected)


def test_flow_reaches_the_model_at_stride_four_with_its_neighbours(tiny_data: Path):
    clip = dataset_of(tiny_data, with_flow=True)[0]
    flow = clip.flow
    assert flow["forward"].shape == (1, 2, 2, 12, 16) and flow["valid"].all()
    assert flow["neighbour"].tolist() == [[1, 3]]
    # Stored as one pixel to the right of a grid of 24 x 32: half a pixel of 12 x 16.
    assert np.allclose(flow["forward"][0, :, 0], 0.5) and np.allclose(flow["forward"][0, :, 1], 0)


def test_the_model_is_told_which_frames_are_read(tiny_data: Path):
    """The annotated one, and for the consistency loss the neighbours that it has a flow to."""
    clip, cpu = dataset_of(tiny_data)[0], torch.device("cpu")
    with_flow = dataset_of(tiny_data, with_flow=True)[0]
    assert make_batch([clip, clip], cpu).clips.read == ((2,), (2,))
    assert make_batch([with_flow], cpu).clips.read == ((1, 2, 3),)
    with_flow.flow["valid"][0, 0] = False
    assert make_batch([with_flow], cpu).clips.read == ((2, 3),)


def test_a_clamped_window_has_no_neighbour_at_its_end(tiny_data: Path):
    dataset = dataset_of(tiny_data, with_flow=True)
    dataset.groups = [[sample] for group in dataset.groups for sample in group]
    sample = dataset.groups[0][0]
    clamped = type(sample)(**{**sample.__dict__, "window": (5, 5, 5, 6)})  # as at a video's start
    valid = dataset._flow(clamped, Geometry((48, 64)))["valid"]
    assert valid.tolist() == [[False, True]]


def test_mirroring_a_clip_mirrors_all_of_it(tiny_data: Path):
    dataset = flipping(tiny_data, 1.0, with_flow=True)
    sample = dataset.groups[0][0]
    texts = {"long": "the left red square moving right", "short": "the left red square"}
    dataset.groups[0] = [dataclasses.replace(sample, **texts)]
    clip, mirrored = dataset[0], dataset[ClipRequest(0, (0, 0, 0))]
    assert torch.equal(mirrored.frames, clip.frames.flip(2)) and torch.equal(
        mirrored.masks, clip.masks.flip(-1)
    )
    for way in ("forward", "backward"):
        u, v = (clip.flow[way][:, :, i, :, ::-1] for i in (0, 1))
        assert np.allclose(mirrored.flow[way][:, :, 0], -u) and abs(u).min() > 0
        assert np.allclose(mirrored.flow[way][:, :, 1], v)
    assert mirrored.long == ["the right red square moving left"] and mirrored.short == [
        "the right red square"
    ]
    assert clip.long == ["the left red square moving right"]


def test_flips_follow_the_orders_seed(tiny_data: Path):
    dataset = flipping(tiny_data, 0.5)
    flipped = [
        not torch.equal(dataset[ClipRequest(0, (0, 0, i))].frames, dataset[0].frames)
        for i in range(40)
    ]
    assert 8 < sum(flipped) < 32
    # The first draw of the seed: what a training that flips alone has always drawn.
    assert flipped == [np.random.default_rng((0, 0, i)).random() < 0.5 for i in range(40)]


def test_frames_are_resized_by_the_filter_that_is_asked_for(tiny_data: Path):
    store = FrameStore(tiny_data / "frames" / "tiny")
    groups = group_samples(samples_of(tiny_data)[0], 1)
    for name in ("area", "pil_bilinear"):
        clip = ClipDataset(tiny_data, groups, InputSize(40, 576, name))[0]
        sample = clip.samples[0]
        whole = store.frame(sample.video, sample.window[0])
        expected = resize_frame(whole, clip.frames.shape[1:3], name)
        assert whole.shape != expected.shape and (clip.frames[0].numpy() == expected).all()


def test_an_unreadable_sample_comes_as_one_line_not_as_a_workers_traceback(tiny_data: Path):
    dataset = dataset_of(tiny_data)
    sample = dataset.groups[0][0]
    dataset.groups[0] = [type(sample)(**{**sample.__dict__, "window": (90, 91, 92, 93)})]
    loaded = [dataset[0], dataset[1]]
    assert "\n" not in str(loaded[0]) and sample.video in str(loaded[0])
    assert len(readable(loaded, "skip")) == 1


def test_a_process_that_loads_outlives_sigterm_from_its_first_moment(
    tiny_data: Path, monkeypatch: pytest.MonkeyPatch
):
    """Slurm's reaches it whenever; one that PyTorch has just begun knows nothing of us yet."""
    begin = signal_handling._set_worker_signal_handlers

    def begin_and_be_told_to_end():
        begin()
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(signal_handling, "_set_worker_signal_handlers", begin_and_be_told_to_end)
    monkeypatch.setenv("LOSH_WORKERS", "1")
    loaded = list(load_batches(dataset_of(tiny_data), [[0], [1]], torch.device("cpu")))
    assert [len(clips) for clips in loaded] == [1, 1]
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ()), "ours is not blocked"
