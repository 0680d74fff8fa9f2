"""A third base pipeline works without one line outside its folder.

LoSh trains, resumes, evaluates and predicts with it. It has what MTTR has not: boxes, one target,
one sigmoid class, its own mask rule, and a refinement that needs the video's features and weights
of its own.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from losh import pipelines
from losh.errors import UserError
from losh.evaluate.evaluation import evaluate
from losh.inference.forward import Predictor
from losh.inference.text_features import TextFeatures
from losh.inference.whole_video import track
from losh.media.resizing import InputSize
from losh.model.checkpoint import load_model
from losh.params import Params, check_params
from losh.testing.tiny_training import tiny_raw
from losh.train.trainer import Stopped
from losh.train.training import train

ELSEWHERE = str(Path(__file__).parent / "elsewhere")
SECTION = {
    "d_model": 16,
    "num_heads": 2,
    "ffn_dim": 16,
    "dropout": 0.0,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "num_queries": 4,
    "losses": {"score": 1.0, "box": 1.0, "dice": 2.0},
}


@pytest.fixture(scope="module", autouse=True)
def installed():
    """The folder beside the package's own, as a folder inside it would be."""
    pipelines.__path__.append(ELSEWHERE)
    yield
    pipelines.__path__.remove(ELSEWHERE)


def toy_params(**changes: object) -> Params:
    raw = tiny_raw({"tiny": {"kind": "a2d_sentences"}}, **{"model__base": "toy", **changes})
    return check_params({**raw, "toy": SECTION})


@pytest.fixture(scope="module")
def trained(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("toy")
    params = toy_params()
    summary = train(params, out / "model", out / "metrics", tiny_data, out / "scratch")
    assert {"score", "box", "dice", "intersection", "consistency"} <= set(summary["loss"])
    assert "reference" not in summary["loss"]
    return out


def test_it_trains_every_weight_of_its_own(trained: Path, tiny_data: Path):
    weights = load_file(trained / "model" / "last.safetensors")
    assert weights["base.gain"] != 1, "the refinement's own weight got a gradient"
    assert any(name.startswith("cross_blocks.0.short_layer.") for name in weights)


def test_it_resumes_exactly(trained: Path, tiny_data: Path, tmp_path: Path, monkeypatch):
    from losh.train.trainer import Trainer

    save_if_due = Trainer._save_if_due

    def stopping(self: Trainer) -> None:
        if self._global_step == 3 and not self.state_path.exists():
            self.stop.signal = 15
        save_if_due(self)

    places = (tmp_path / "model", tmp_path / "metrics", tiny_data, tmp_path / "scratch")
    monkeypatch.setattr(Trainer, "_save_if_due", stopping)
    with pytest.raises(SystemExit) as stop:
        train(toy_params(), *places)
    assert stop.value.code == 128 + 15 and issubclass(Stopped, Exception)
    train(toy_params(), *places)
    again = load_file(tmp_path / "model" / "last.safetensors")
    for name, value in load_file(trained / "model" / "last.safetensors").items():
        assert torch.equal(value, again[name]), name


def test_it_is_evaluated_with_its_own_mask_rule(trained: Path, tiny_data: Path, tmp_path: Path):
    (tmp_path / "data").mkdir()
    for name in ("raw", "frames", "short_text"):
        (tmp_path / "data" / name).symlink_to(tiny_data / name)
    params = toy_params(evaluate__rule="product").evaluate
    model = trained / "model" / "model.safetensors"
    scores = evaluate("tiny", params, tmp_path / "data", tmp_path / "metrics", model)
    assert scores["samples"] > 0 and 0 <= scores["mean_iou"] <= 1


@pytest.mark.parametrize("chunk", [None, 3])
def test_it_refines_the_chosen_query_of_a_whole_video(trained: Path, chunk: int | None):
    model, config = load_model(trained / "model" / "model.safetensors")
    assert config["pipeline"] == toy_params().pipeline.model_dump()
    texts = TextFeatures(model.base.text_encoder, torch.device("cpu"))
    predictor = Predictor(model, texts, InputSize(48, 576), torch.float32, "mean")
    frames = [cv2.resize(np.eye(6, dtype=np.uint8) * 40 * i, (64, 48)) for i in range(6)]
    rgb = [np.stack([frame] * 3, -1) for frame in frames]
    sentences = [("a red disc moving left", "a red disc")]
    with track(predictor, rgb.__getitem__, 6, sentences, chunk, "davis") as [found]:
        assert [x.shape for x in found.logits] == [(6, 12, 16)] * 2, "refined: stride 4, not 16"
        assert found.mask(5, (90, 100)).shape == (90, 100)


def test_its_smallest_side_and_its_name_are_checked(trained: Path):
    model, _ = load_model(trained / "model" / "model.safetensors")
    from losh.testing.small_models import small_clips

    with pytest.raises(UserError, match=r"side of 24 px.*at least 32"):
        model(small_clips(size=(24, 56)), None)
    raw = tiny_raw({"tiny": {"kind": "a2d_sentences"}}, model__base="toy")
    with pytest.raises(UserError, match=r"model\.base is toy, but there is no section toy"):
        check_params(raw)


def test_no_file_of_the_package_names_a_pipeline():
    """But for the files in the pipelines' own folders, and those that read one's released files."""
    package = Path(pipelines.__file__).parents[1]
    allowed = {"testing", "pipelines"}
    for path in package.rglob("*.py"):
        place = path.relative_to(package)
        if place.parts[0] in allowed or place.as_posix() == "model/released.py":
            continue
        assert "losh.pipelines.mttr" not in path.read_text(), place
