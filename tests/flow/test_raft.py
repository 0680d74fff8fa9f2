"""RAFT through ptlflow: what the network is handed, where weights come from, how good ours are."""

from __future__ import annotations

import json
import urllib.error
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from frame_folder import textured
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from losh.errors import UserError
from losh.flow.estimator import FlowEstimator
from losh.flow.raft import EMBEDDED, load_network, run_network, weights_digest
from losh.params import FlowParams

PARAMS = FlowParams(
    model="raft_small",
    checkpoint="embedded",
    short_side=96,
    iterations=8,
    stored_stride=2,
    batch_size=8,
    on_error="stop",
)


@pytest.fixture(scope="module")
def estimator():
    torch.set_num_threads(1)
    return FlowEstimator(PARAMS)


class Recorder:
    """A network that keeps its input and answers with the horizontal place of each pixel."""

    training = False

    def __call__(self, inputs: dict) -> dict:
        self.images = inputs["images"]
        batch, _, _, height, width = self.images.shape
        columns = torch.arange(width).float().expand(batch, 1, 2, height, width)
        return {"flows": columns}


def test_the_network_gets_blue_first_in_0_to_1_with_the_pair_in_order():
    first, second = torch.zeros(2, 3, 128, 136), torch.zeros(2, 3, 128, 136)
    first[:, 0] = 1  # red
    second[:, 2] = 0.5  # blue
    recorder = Recorder()
    run_network(recorder, first, second)
    assert recorder.images.shape == (2, 2, 3, 128, 136)
    assert recorder.images[1, 0].mean((1, 2)).tolist() == [0, 0, 1]
    assert recorder.images[1, 1].mean((1, 2)).tolist() == [0.5, 0, 0]


@pytest.mark.parametrize("size", [(96, 128), (64, 80), (129, 170), (128, 136)])
def test_padding_is_taken_off_again(size):
    image = torch.rand(1, 3, *size)
    recorder = Recorder()
    (field,) = run_network(recorder, image, image)
    height, width = recorder.images.shape[-2:]
    assert height % 8 == width % 8 == 0 and min(height, width) >= 128
    assert field.shape[-2:] == size
    left = (width - size[1]) // 2
    assert field[0, 0, 0].tolist() == list(range(left, left + size[1]))


def test_small_frames_give_finite_flow(estimator):
    """Without padding to 128 px ptlflow's sampler divides by zero: 96 x 128 frames give NaN."""
    image = textured(1, 64, 80)[None]
    assert np.isfinite(estimator.estimate(image, image)).all()


@pytest.mark.parametrize(
    ("shift", "component", "sign"),
    [((3, 0), 0, 1), ((-3, 0), 0, -1), ((0, 3), 1, 1), ((0, -3), 1, -1)],
)
def test_right_and_down_are_positive(estimator, shift, component, sign):
    wide = textured(2, 108, 140)
    first = wide[6:102, 6:134]
    second = wide[6 - shift[1] : 102 - shift[1], 6 - shift[0] : 134 - shift[0]]
    flow = estimator.estimate(first[None], second[None])
    assert flow.dtype == np.float32 and flow.shape == (1, 2, 96, 128)
    middle = flow[0, :, 16:-16, 16:-16].mean((1, 2))
    assert sign * middle[component] == pytest.approx(3, abs=0.6)
    assert abs(middle[1 - component]) < 0.6


def test_a_pair_alone_or_in_a_batch(estimator):
    first = np.stack([textured(i, 96, 128) for i in range(3)])
    second = np.roll(first, 2, axis=2)
    together = estimator.estimate(first, second)
    alone = estimator.estimate(first[1:2], second[1:2])
    assert np.abs(together[1] - alone[0]).max() < 1e-3


def test_both_ways_is_each_way_and_a_frame_is_encoded_once(estimator):
    frames = np.stack(
        [textured(3, 96, 128), np.roll(textured(3, 96, 128), 2, axis=1), textured(5, 96, 128)]
    )
    encoded = []
    encoders = estimator.network.fnet, estimator.network.cnet
    hooks = [
        encoder.conv1.register_forward_hook(lambda *call: encoded.append(len(call[2])))
        for encoder in encoders
    ]
    there, back = estimator.estimate_both(frames, [(2, 1), (0, 1)])
    for hook in hooks:
        hook.remove()
    assert encoded == [3, 3]
    for i, (a, b) in enumerate([(2, 1), (0, 1)]):
        assert (
            np.abs(there[i] - estimator.estimate(frames[a][None], frames[b][None])[0]).max() < 1e-3
        )
        assert (
            np.abs(back[i] - estimator.estimate(frames[b][None], frames[a][None])[0]).max() < 1e-3
        )


@pytest.fixture(scope="module")
def held_out(estimator):
    """End-point errors in px of ours, DIS and no motion, over all pixels and on objects, on pairs
    neither trained on nor measured.

    As in the stage, frames went through JPEG and RAFT runs at 120 px; DIS gets the frames as they
    are.
    """
    from losh.moving_shapes.scene import render_clip

    best = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    sums: dict[str, list[tuple[float, float]]] = {"ours": [], "dis": [], "none": []}
    for seed in range(950_000, 950_012):
        clip = render_clip(seed, 8, 96, 128)
        for t in (1, 5):
            jpegs = [
                cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
                for frame in clip.frames[t : t + 2]
            ]
            pair = [
                np.ascontiguousarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR)[..., ::-1])
                for jpeg in jpegs
            ]
            truth, objects = clip.flow_forward[t], clip.masks[t].any(0)
            first, second = (cv2.resize(frame, (160, 120))[None] for frame in pair)
            ours = np.stack(
                [
                    cv2.resize(part, (128, 96)) / 1.25
                    for part in estimator.estimate(first, second)[0]
                ]
            )
            grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in pair]
            flows = {
                "ours": ours,
                "dis": np.moveaxis(best.calc(*grey, None), -1, 0),
                "none": 0 * truth,
            }
            for name, flow in flows.items():
                error = np.hypot(*(flow - truth))
                sums[name].append((error.mean(), error[objects].mean()))
    return {name: np.mean(errors, axis=0) for name, errors in sums.items()}


def test_embedded_weights_follow_the_objects(held_out):
    assert held_out["ours"][1] < 0.4 * held_out["none"][1]


def test_embedded_weights_beat_dis(held_out):
    """Over all pixels. On the objects alone DIS is the better one (README)."""
    assert held_out["ours"][0] < held_out["dis"][0]


def test_the_embedded_file_says_where_it_comes_from():
    with safe_open(EMBEDDED["raft_small"], "pt") as file:
        notes = json.loads(file.metadata()["losh"])
    assert (
        notes["licence"] == "Apache-2.0"
        and "train_raft.py" in notes["source"]
        and int(notes["steps"]) > 0
    )
    assert EMBEDDED["raft_small"].stat().st_size < 6e6


def test_a_path_to_safetensors_or_to_a_torch_file(tmp_path, estimator):
    state = load_file(EMBEDDED["raft_small"])
    save_file(state, tmp_path / "own.safetensors")
    torch.save({"state_dict": state, "hyper_parameters": {}}, tmp_path / "own.ckpt")
    image = textured(1, 96, 128)[None]
    expected = estimator.estimate(image, image)
    for name in ("own.safetensors", "own.ckpt"):
        own = FlowEstimator(PARAMS.model_copy(update={"checkpoint": str(tmp_path / name)}))
        assert np.array_equal(own.estimate(image, image), expected)


def test_the_digest_follows_the_contents(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"one")
    before = weights_digest("raft_small", str(path))
    path.write_bytes(b"two")
    assert weights_digest("raft_small", str(path)) != before
    assert weights_digest("raft_small", "things") == "ptlflow:things"


def other_networks_weights(folder) -> str:
    save_file({"a": torch.zeros(1)}, folder / "other.safetensors")
    return str(folder / "other.safetensors")


def broken_file(folder) -> str:
    (folder / "broken.safetensors").write_bytes(b"not weights")
    return str(folder / "broken.safetensors")


@pytest.mark.parametrize(
    ("model", "checkpoint", "said"),
    [
        (
            "raft_small",
            "no_such_name",
            r"'no_such_name' is no checkpoint of raft_small. It takes embedded, things or a path",
        ),
        ("raft", "embedded", "no embedded weights of raft"),
        ("raft_small", "some/where.safetensors", "some/where.safetensors does not exist"),
        (
            "raft_small",
            other_networks_weights,
            "other.safetensors does not hold the weights of ptlflow's raft_small",
        ),
        ("raft_small", broken_file, "broken.safetensors cannot be read as weights"),
    ],
)
def test_a_wrong_checkpoint_is_one_clear_line(tmp_path, model, checkpoint, said):
    asked = checkpoint if isinstance(checkpoint, str) else checkpoint(tmp_path)
    with pytest.raises(UserError, match=said) as caught:
        load_network(model, asked, 1)
    assert "\n" not in str(caught.value)


def test_a_download_that_fails_names_the_checkpoint(monkeypatch):
    def fail(*args: object, **options: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch, "hub", SimpleNamespace(load_state_dict_from_url=fail))
    with pytest.raises(
        UserError,
        match=r"raft checkpoint 'sintel' cannot be fetched from https://.*no route to host",
    ):
        load_network("raft", "sintel", 1)
