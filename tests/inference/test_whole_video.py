"""Whole videos in chunks: one trajectory over the video, in memory that does not grow."""

from __future__ import annotations

import shutil
import tracemalloc

import numpy as np
import pytest
import torch

from losh.clips.batches import pad_frames
from losh.inference.forward import Predictor
from losh.inference.streams import joint_probabilities, predictions
from losh.inference.text_features import TextFeatures
from losh.inference.whole_video import NoRoom, new_array, track
from losh.media.resizing import InputSize
from losh.model.build import build_model
from losh.model.structures import Clips, FrameSizes
from losh.testing.tiny_training import tiny_params

SENTENCES = [
    ("the red square is moving right", "the red square"),
    ("the green disc", "the green disc"),
]


@pytest.fixture(scope="module")
def parts():
    torch.manual_seed(0)
    params = tiny_params()
    model = build_model(params.model, params.pipeline).eval()
    return model, TextFeatures(model.base.text_encoder, torch.device("cpu"))


def frame_of(t: int) -> np.ndarray:
    rng = np.random.default_rng(t // 4)  # changes slowly
    return rng.integers(0, 255, (48, 64, 3), np.uint8)


def tracked(parts, frames: int, chunk: int | None, rule: str = "long"):
    predictor = Predictor(*parts, InputSize(48, 576), torch.float32, rule)
    return track(predictor, frame_of, frames, SENTENCES, chunk, "youtube_vos")


@pytest.mark.parametrize("rule", ["long", "product", "intersection", "mean"])
def test_one_chunk_is_the_model_itself(parts, rule):
    model, texts = parts
    pixels, pad = pad_frames(
        [torch.from_numpy(np.stack([frame_of(t) for t in range(6)]))], torch.device("cpu")
    )
    with torch.no_grad():
        output = model(
            Clips(pixels, pad, torch.arange(6)[None]),
            texts.inputs([SENTENCES[0][0]]),
            texts.inputs([SENTENCES[0][1]]),
        )
    (found,) = predictions(model.base, output, rule)
    sizes, mask_rule = FrameSizes((48, 64), (48, 64), (96, 128)), model.base.mask_rule("davis")
    with tracked(parts, 6, None, rule) as tracks:
        assert tracks[0].query == found.best
        assert tracks[0].score == pytest.approx(float(found.scores.mean(0).max()), rel=1e-4)
        for t in range(6):
            logits = [x[t] for x in found.logits]
            joint = joint_probabilities(logits, rule, mask_rule, sizes)
            expected = mask_rule.masks(joint, sizes, 0.5)[found.best].numpy()
            assert np.array_equal(tracks[0].mask(t, (96, 128)), expected)
            assert tracks[0].probability(t, (96, 128)).shape == (96, 128)


def test_chunks_keep_what_waits_in_float16(parts):
    with (
        tracked(parts, 8, None) as whole,
        tracked(parts, 8, 8) as same,
        tracked(parts, 8, 4) as cut,
    ):
        assert whole[0].logits[0].dtype == same[0].logits[0].dtype == np.float32
        assert cut[0].logits[0].dtype == np.float16
        assert np.array_equal(whole[0].mask(3, (48, 64)), same[0].mask(3, (48, 64)))


def test_the_query_is_one_for_the_whole_video(parts):
    with tracked(parts, 12, 4) as tracks:
        for one in tracks:
            assert one.scores.shape[0] == 12 and one.query == int(one.scores.mean(0).argmax())
        assert not np.array_equal(tracks[0].scores, tracks[1].scores)


def test_without_a_chunk_the_whole_video_is_encoded_at_once(parts, monkeypatch):
    model, seen = parts[0], []
    encode = model.base.encode_video
    monkeypatch.setattr(
        model.base,
        "encode_video",
        lambda frames, pad: (seen.append(frames.shape[1]), encode(frames, pad))[1],
    )
    with tracked(parts, 30, None):
        assert seen == [30]
    seen.clear()
    with tracked(parts, 30, 24):
        assert seen == [15, 15]


def test_memory_does_not_grow_with_the_videos_length(parts):
    peaks = []
    for frames in (8, 64):
        tracemalloc.start()
        with tracked(parts, frames, 4) as tracks:
            for t in range(frames):
                tracks[0].mask(t, (48, 64))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # What grows is the scores, N floats a frame.
    assert peaks[1] - peaks[0] < 200_000


def test_what_the_disk_cannot_hold_is_refused_before_it_is_written(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    path = tmp_path / "losh-1" / "0-0-0.raw"
    path.parent.mkdir()
    with pytest.raises(NoRoom) as caught:
        new_array(path, np.dtype(np.float16), (free // 1000, 1000))
    assert f"{tmp_path} has no room" in str(caught.value)
    assert f"{free // 1000 * 2000 / 1e9:.1f} GB more are needed" in str(caught.value)
    assert not path.exists()


def test_the_bytes_of_an_array_on_disk_are_reserved(tmp_path):
    path = tmp_path / "array.raw"
    array = new_array(path, np.dtype(np.float32), (100, 1000))
    assert array.shape == (100, 1000) and path.stat().st_size == 400_000
    assert path.stat().st_blocks * 512 >= 400_000
    array[7] = 3
    array.flush()
    assert (np.fromfile(path, np.float32).reshape(100, 1000)[7] == 3).all()
