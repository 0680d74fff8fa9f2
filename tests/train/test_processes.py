"""Several processes: how many, what they share, and what stops them with one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from losh.errors import UserError
from losh.inference.text_features import TextFeatures
from losh.model.build import build_model
from losh.model.checkpoint import load_model
from losh.model.text_encoder import SentenceFeatures, TextEncoder
from losh.runtime import distributed
from losh.runtime.distributed import Processes, processes_wanted
from losh.testing.tiny_training import ROOT, tiny_params
from losh.train import text_cache
from losh.train.text_cache import encode_together
from losh.train.training import divisible_into_clips, train


@pytest.mark.parametrize(
    ("gpus", "batch", "wanted", "said"),
    [
        (8, 2, 2, "2 of 8 GPUs are used: train.batch_size is 2\n"),
        (8, 8, 8, ""),
        (2, 6, 2, ""),
        (4, 1, 1, "1 of 4 GPUs are used: train.batch_size is 1\n"),
    ],
)
def test_no_more_gpus_are_used_than_the_batch_has_clips(
    gpus: int,
    batch: int,
    wanted: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.delenv("LOSH_PROCESSES")
    monkeypatch.setattr(distributed, "pick_device", lambda: torch.device("cuda", 0))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert processes_wanted(2, divisible_into_clips(batch)) == wanted
    assert capsys.readouterr().out == said


@pytest.mark.parametrize(("cores", "batch", "wanted"), [(16, 4, 2), (1, 4, 1), (16, 1, 1)])
def test_without_a_gpu_the_cores_and_the_batch_limit_the_processes(
    cores: int, batch: int, wanted: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("LOSH_PROCESSES")
    monkeypatch.setattr(distributed, "pick_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(distributed, "core_count", lambda: cores)
    assert processes_wanted(2, divisible_into_clips(batch)) == wanted
    monkeypatch.setenv("LOSH_PROCESSES", "5")
    assert processes_wanted(2, divisible_into_clips(batch)) == 5


SCRIPT = """
import json, os, sys
from pathlib import Path
sys.path.insert(0, {src!r})
from losh.errors import friendly
from losh.runtime.distributed import relaunch
if __name__ == "__main__":
    friendly(relaunch)(__file__, sys.argv[1:])
    from losh.runtime import distributed
    from losh.testing.tiny_training import tiny_params
    from losh.train import training
    leave, training.stop = training.stop, lambda: None  # one process group for all trainings
    out, data, scratch, each = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
    scratch = out / scratch.replace("RANK", os.environ["RANK"])
    for i, changes in enumerate(json.loads(each)):
        def run():
            model = out / f"model{{i}}"
            return training.train(tiny_params(**changes), model, out / "metrics", data, scratch)
        summary = friendly(run)()
        if summary:
            print("trained", json.dumps([changes, summary["loss"]]), flush=True)
    leave()
"""


def two_processes(
    out: Path,
    data: Path,
    each: list[dict[str, Any]],
    scratch: str = "scratch",
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """Train with each of the changes, one after the other, in two processes that talk by gloo."""
    out.mkdir(parents=True, exist_ok=True)
    script = out / "script.py"
    script.write_text(SCRIPT.format(src=str(ROOT / "src")))
    environment |= {"LOSH_WORKERS": "0", "LOSH_PROCESSES": "2", "LOSH_DEVICE": "cpu"}
    return subprocess.run(
        [sys.executable, str(script), str(out), str(data), scratch, json.dumps(each)],
        env={**os.environ, **environment, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )


LOSSES = {
    **dict.fromkeys(("reference", "focal", "dice", "encoder_reference"), "mttr"),
    **dict.fromkeys(("intersection", "consistency"), "train"),
}
"""Each loss, and the section of params.yaml that has its weight."""


def off(*losses: str) -> dict[str, float]:
    """The change of params.yaml that switches losses off."""
    return {f"{LOSSES[name]}__losses__{name}": 0.0 for name in losses}


def alone(loss: str) -> dict[str, float]:
    """The change of params.yaml that switches all losses off but one."""
    return off(*(name for name in LOSSES if name != loss))


OFF = {
    **{f"{name} off": off(name) for name in LOSSES},
    "reference heads off": off("reference", "encoder_reference"),
    "masks off": off("focal", "dice", "intersection"),
    "consistency alone": alone("consistency"),
    "encoder_reference alone": alone("encoder_reference"),
    "auxiliary off": {"train__losses__auxiliary": False},
    "frozen backbone": {"train__backbone_learning_rate": 0.0},
    "trained text encoder": {"train__text_encoder_learning_rate": 1e-4},
}
"""What can be switched off, alone and so that whole parts of the network get no gradient."""


def test_two_processes_train_with_each_loss_and_rate_off(tiny_data: Path, tmp_path: Path):
    each = [{"train__epochs": 1, **changes} for changes in OFF.values()]
    # In parts of one clip: gradients are then awaited for the last part alone.
    done = two_processes(tmp_path, tiny_data, each, LOSH_CLIPS_PER_DEVICE="1")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    losses = [
        json.loads(line.removeprefix("trained "))[1]
        for line in done.stdout.splitlines()
        if line.startswith("trained ")
    ]
    assert len(losses) == len(OFF) and all(loss["total"] >= 0 for loss in losses)
    by_name = dict(zip(OFF, losses, strict=True))
    assert set(by_name["consistency alone"]) == {"consistency", "total"}
    where = list(OFF).index("reference heads off")
    assert "no loss reaches, and nothing changes, base.reference_head\n" in done.stdout
    assert untouched(tmp_path / f"model{where}", each[where]) == REFERENCE_HEAD


REFERENCE_HEAD = {"base.reference_head.weight", "base.reference_head.bias"}


def untouched(model: Path, changes: dict[str, Any]) -> set[str]:
    """The parameters that a training left as they were, but for the frozen text encoder's."""
    params = tiny_params(**changes)
    torch.manual_seed(params.train.seed)
    start = dict(build_model(params.model, params.pipeline).named_parameters())
    end = dict(load_model(model / "last.safetensors")[0].named_parameters())
    same = {name for name in start if torch.equal(start[name], end[name])}
    return {name for name in same if not name.startswith("base.text_encoder.")}


def test_one_process_leaves_the_same_parameters_as_they_are(tiny_data: Path, tmp_path: Path):
    changes = {"train__epochs": 1, **OFF["reference heads off"]}
    model, metrics, scratch = (tmp_path / name for name in ("model", "metrics", "scratch"))
    train(tiny_params(**changes), model, metrics, tiny_data, scratch)
    assert untouched(model, changes) == REFERENCE_HEAD


def test_without_any_loss_one_line_says_so(tiny_data: Path, tmp_path: Path):
    params = tiny_params(**alone("consistency"), train__backbone_learning_rate=0.0)
    model, metrics, scratch = (tmp_path / name for name in ("model", "metrics", "scratch"))
    with pytest.raises(UserError, match="no loss reaches a parameter whose learning rate"):
        train(params, model, metrics, tiny_data, scratch)


FEATURES = "scratch[01]/train/*/text_features.pt"


def test_processes_without_a_shared_folder_keep_the_same_things_each(
    tiny_data: Path, tmp_path: Path
):
    done = two_processes(tmp_path, tiny_data, [{"train__epochs": 1}], scratch="scratchRANK")
    assert done.returncode == 0, done.stderr[-4000:]
    kept = [
        {path.name: path.read_bytes() for path in (tmp_path / name).glob("train/*/*")}
        for name in ("scratch0", "scratch1")
    ]
    assert {"state.pt", "best.safetensors", "last.safetensors", "text_features.pt"} <= set(kept[0])
    for name in kept[0].keys() - {"state.pt", "text_features.pt"}:
        assert kept[0][name] == kept[1][name], name
    # Not its bytes: torch.save pads by the length of the temporary name.
    first, second = (text_cache._load(path) for path in sorted(tmp_path.glob(FEATURES)))
    assert first.keys() == second.keys()
    for sentence, features in first.items():
        assert torch.equal(features.words, second[sentence].words)


class Team:
    """Processes that are threads."""

    def __init__(self, world: int) -> None:
        self.barrier, self.values = threading.Barrier(world), [None] * world
        self.members = [Member(rank, self) for rank in range(world)]


class Member(Processes):
    """One of them."""

    def __init__(self, rank: int, team: Team) -> None:
        super().__init__(rank, len(team.values), torch.device("cpu"))
        object.__setattr__(self, "team", team)

    def gather(self, value: object) -> list:
        self.team.values[self.rank] = value
        self.wait()
        values = list(self.team.values)
        self.wait()
        return values

    def wait(self) -> None:
        self.team.barrier.wait()


SENTENCES = [f"the {'small ' * (i % 5)}circle number {i} moves" for i in range(200)]


def texts_of(pooled: bool) -> TextFeatures:
    return TextFeatures(TextEncoder("embedded", pooled=pooled), torch.device("cpu"))


def encoded(
    work: Path, world: int, encoder: str = "e", pooled: bool = False
) -> list[dict[str, SentenceFeatures]]:
    """The features that each of `world` processes ends with."""
    work.mkdir(parents=True, exist_ok=True)
    every = [texts_of(pooled) for _ in range(world)]
    threads = [
        threading.Thread(target=encode_together, args=(texts, SENTENCES, [encoder], work, member))
        for texts, member in zip(every, Team(world).members, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    return [texts.features for texts in every]


@pytest.mark.parametrize(("world", "pooled"), [(1, False), (2, False), (3, False), (2, True)])
def test_sentences_encoded_together_are_bit_equal_to_those_of_one_process(
    world: int, pooled: bool, tmp_path: Path
):
    alone = texts_of(pooled)
    alone.add(SENTENCES)
    for features in encoded(tmp_path / "train" / "mark", world, pooled=pooled):
        assert features.keys() == alone.features.keys()
        for sentence in SENTENCES:
            ours, expected = features[sentence], alone.features[sentence]
            assert torch.equal(ours.words, expected.words)
            assert (ours.sentence is not None) == pooled
            assert not pooled or torch.equal(ours.sentence, expected.sentence)


def test_features_without_sentence_vectors_are_not_taken_where_these_are_needed(tmp_path: Path):
    """Two base pipelines share scratch/, and an encoder."""
    for pooled in (False, True):
        [features] = encoded(tmp_path / "train" / str(pooled), 1, pooled=pooled)
        assert (features[SENTENCES[0]].sentence is not None) == pooled


def test_sentences_are_encoded_once_and_again_for_another_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    whole, batches = TextFeatures.add, []

    def counted(self: TextFeatures, sentences: list[str]) -> None:
        batches.append(len(sentences))
        whole(self, sentences)

    monkeypatch.setattr(TextFeatures, "add", counted)
    encoded(tmp_path / "train" / "one", 2)
    assert sorted(batches) == [8, 64, 64, 64]  # shared, not each of them all
    encoded(tmp_path / "train" / "two", 1)  # another training
    assert len(batches) == 4
    encoded(tmp_path / "train" / "two", 1, "another encoder")
    assert len(batches) == 8
    for name in ("third", "fourth"):
        encoded(tmp_path / "train" / name, 1, name)
    assert len(list((tmp_path / "text_features").iterdir())) == text_cache.KEPT
    assert (tmp_path / "train" / "one" / "text_features.pt").exists()
