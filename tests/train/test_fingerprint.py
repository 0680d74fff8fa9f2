"""Which training may go on from what waits in scratch/: one of the same code, parameters, data and
weights.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from losh.backbones.video_swin_blocks import SwinBlock
from losh.backbones.weights import build_backbone
from losh.model.text_encoder import EMBEDDED
from losh.runtime.files import write_json
from losh.testing.tiny_training import tiny_params
from losh.train.fingerprint import named_weights, training_fingerprint
from losh.train.training import KEPT, train


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder data/ with what the fingerprint reads of it."""
    write_json(tmp_path / "data" / "train_data.json", {"datasets": {}})
    return tmp_path / "data"


def test_another_value_is_another_training_but_for_what_changes_no_result(data: Path):
    def mark(**changes: object) -> str:
        return training_fingerprint(tiny_params(**changes), data, "code")

    assert mark() == mark() == mark(train__checkpoint_blocks=True)
    others = [mark(train__seed=9), mark(mttr__dropout=0.3), mark(mttr__losses__dice=1.0)]
    assert len({mark(), *others}) == 4
    assert mark(evaluate__chunk=9, flow__iterations=9) == mark()


def test_other_code_data_or_checked_files_are_another_training(data: Path):
    params = tiny_params()
    marks = [training_fingerprint(params, data, code) for code in ("one", "other")]
    write_json(data / "train_data.json", {"datasets": {"tiny": 1}})
    marks.append(training_fingerprint(params, data, "one"))
    write_json(data / "inputs" / "train.json", {"model.backbone.checkpoint": "a"})
    marks.append(training_fingerprint(params, data, "one"))
    write_json(data / "inputs" / "train.json", {"model.backbone.checkpoint": "b"})
    marks.append(training_fingerprint(params, data, "one"))
    assert len(set(marks)) == 5


def test_other_weights_behind_the_same_path_are_another_training(data: Path, tmp_path: Path):
    checkpoint, encoder = tmp_path / "swin.pth", tmp_path / "encoder"
    checkpoint.write_bytes(b"weights")
    shutil.copytree(EMBEDDED, encoder)
    changes = {"model__backbone__checkpoint": str(checkpoint), "model__text_encoder": str(encoder)}

    def mark() -> str:
        return training_fingerprint(tiny_params(**changes), data, "code")

    before = mark()
    os.utime(checkpoint)
    assert mark() == before
    checkpoint.write_bytes(b"Weights")
    after = mark()
    tokenizer = encoder / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text() + "\n")
    assert len({before, after, mark()}) == 3


def test_a_hub_name_stands_for_the_commit_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    commit = "0" * 39 + "1"
    cache = tmp_path / "models--roberta-base"
    (cache / "snapshots" / commit).mkdir(parents=True)
    (cache / "snapshots" / commit / "config.json").write_text("{}")
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(commit)
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(tmp_path))
    params = tiny_params(
        model__text_encoder="roberta-base",
        model__backbone__name="video_swin_t",
        model__backbone__checkpoint="torchvision",
    )
    named = named_weights(params)
    assert named["model.text_encoder"] == commit
    assert named["model.backbone.checkpoint"].endswith("swin3d_t-7615ae03.pth")


def test_a_finished_training_is_not_reused_with_other_weights_and_old_ones_go(
    tiny_data: Path, tmp_path: Path
):
    checkpoint = tmp_path / "swin.safetensors"
    for age in range(KEPT + 2):
        old = tmp_path / "scratch" / "train" / f"old{age}"
        old.mkdir(parents=True)
        os.utime(old, (age, age))
    params = tiny_params(train__epochs=1, model__backbone__checkpoint=str(checkpoint))

    def learnt(seed: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(seed)
        fresh = params.model.backbone.model_copy(update={"checkpoint": None})
        save_file(build_backbone(fresh).state_dict(), checkpoint)
        out = tmp_path / f"out{seed}"
        train(params, out / "model", out / "metrics", tiny_data, tmp_path / "scratch")
        return load_file(out / "model" / "last.safetensors")

    one, other = learnt(1), learnt(2)
    name = "base.backbone.patch_embed.proj.weight"
    assert (one[name] - other[name]).abs().max() > 0.01
    left = {path.name for path in (tmp_path / "scratch" / "train").iterdir() if path.is_dir()}
    assert len(left) == 1 + KEPT and f"old{KEPT + 1}" in left and "old1" not in left


def test_blocks_that_are_computed_again_change_no_result(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    computed = []
    forward = SwinBlock.forward
    monkeypatch.setattr(
        SwinBlock, "forward", lambda self, *given: (computed.append(1), forward(self, *given))[1]
    )

    def learnt(again: bool) -> tuple[bytes, int]:
        """The weights, and how many blocks were computed for them."""
        computed.clear()
        params = tiny_params(
            train__epochs=1,
            model__backbone__drop_path=0.5,
            mttr__dropout=0.1,
            train__checkpoint_blocks=again,
        )
        out = tmp_path / str(again)
        train(params, out / "model", out / "metrics", tiny_data, out / "scratch")
        return (out / "model" / "last.safetensors").read_bytes(), len(computed)

    (kept, few), (recomputed, many) = learnt(False), learnt(True)
    assert kept == recomputed
    assert many > few
