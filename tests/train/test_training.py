"""Training on tiny data: exact after any stop, alike on one process or two, loud about NaN."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from losh.clips.samples import Sample
from losh.errors import UserError
from losh.runtime import distributed
from losh.testing.tiny_training import ROOT, tiny_params
from losh.train.optimizer import make_optimizer, rate_factor
from losh.train.split import split_validation
from losh.train.training import train

SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {src!r})
from losh.errors import friendly
from losh.runtime.distributed import relaunch
if __name__ == "__main__":
    friendly(relaunch)(__file__, sys.argv[1:])
    import json
    from losh.testing.tiny_training import tiny_params
    from losh.train.training import train
    out, data = Path(sys.argv[1]), Path(sys.argv[2])
    params = tiny_params(**json.loads(sys.argv[3]))
    friendly(train)(params, out / "model", out / "metrics", data, out / "scratch")
"""


def weights(out: Path, name: str = "last") -> dict[str, torch.Tensor]:
    return load_file(out / "model" / f"{name}.safetensors")


def assert_same(
    one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], tolerance: float = 0.0
) -> None:
    assert one.keys() == other.keys()
    worst = max(float((one[name].float() - other[name].float()).abs().max()) for name in one)
    assert worst <= tolerance, f"largest difference {worst}"


def run(out: Path, data: Path, **changes: object) -> dict:
    return train(tiny_params(**changes), out / "model", out / "metrics", data, out / "scratch")


def start_process(
    out: Path, data: Path, environment: dict[str, str] | None = None, **changes: object
) -> subprocess.Popen:
    out.mkdir(parents=True, exist_ok=True)
    script = out / "train_script.py"
    script.write_text(SCRIPT.format(src=str(ROOT / "src")))
    return subprocess.Popen(
        [sys.executable, str(script), str(out), str(data), json.dumps(changes)],
        env={**os.environ, "LOSH_WORKERS": "0", "OMP_NUM_THREADS": "1", **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # a process group of its own, for os.killpg
    )


def finished(process: subprocess.Popen) -> None:
    """Wait for a training that must end well. Those that are compared bit by bit run alike: in
    processes of their own, on one thread.
    """
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output


@pytest.fixture(scope="module")
def whole(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that nothing interrupted; dropout on, so that random numbers matter."""
    out = tmp_path_factory.mktemp("whole")
    finished(start_process(out, tiny_data, mttr__dropout=0.1))
    return out


def test_it_writes_weights_curves_and_a_summary(whole: Path):
    summary = json.loads((whole / "metrics" / "train.json").read_text())
    assert summary["epochs"] == 3 and summary["skipped_steps"] == 0
    assert {"total", "reference", "focal", "dice", "intersection", "consistency"} <= set(
        summary["loss"]
    )
    assert {"mean_iou", "overall_iou", "precision_at_50"} <= set(summary["validation"])
    curves = {
        str(path.relative_to(whole / "metrics" / "train"))
        for path in (whole / "metrics" / "train").rglob("*.tsv")
    }
    assert {
        "plots/metrics/loss/dice.tsv",
        "plots/metrics/rate/main.tsv",
        "plots/metrics/validation/mean_iou.tsv",
    } <= curves
    assert (
        len((whole / "metrics/train/plots/metrics/loss/dice.tsv").read_text().splitlines()) == 1 + 3
    )
    assert (whole / "metrics" / "train" / "curves.png").stat().st_size > 10_000
    assert weights(whole, "model").keys() == weights(whole).keys()


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(
    whole: Path, tiny_data: Path, tmp_path: Path
):
    finished(start_process(tmp_path / "again", tiny_data, mttr__dropout=0.1))
    assert (tmp_path / "again/model/last.safetensors").read_bytes() == (
        whole / "model/last.safetensors"
    ).read_bytes()
    finished(start_process(tmp_path / "other", tiny_data, mttr__dropout=0.1, train__seed=1))
    assert (tmp_path / "other/model/last.safetensors").read_bytes() != (
        whole / "model/last.safetensors"
    ).read_bytes()


@pytest.mark.parametrize(
    ("number", "send"),
    [
        (signal.SIGTERM, os.kill),
        # As Slurm and systemd do: to the processes that load clips too.
        (signal.SIGTERM, os.killpg),
        (signal.SIGKILL, os.kill),
    ],
)
def test_a_killed_training_goes_on_to_exactly_the_same_weights(
    number: signal.Signals,
    send: Callable[[int, int], None],
    whole: Path,
    tiny_data: Path,
    tmp_path: Path,
):
    # Saved at every step, so that there is something to go on from wherever the kill falls.
    given = {"LOSH_SAVE_EVERY": "0", "LOSH_WORKERS": "2"}
    process = start_process(tmp_path, tiny_data, given, mttr__dropout=0.1)
    deadline = time.monotonic() + 180
    while (
        not list(tmp_path.glob("scratch/train/*/state.pt"))
        and process.poll() is None
        and time.monotonic() < deadline
    ):
        time.sleep(0.02)
    send(process.pid, number)
    output, _ = process.communicate(timeout=180)
    assert process.returncode == (143 if number == signal.SIGTERM else -9), output
    assert not (tmp_path / "model").exists(), "a stopped training must leave no output"
    state = torch.load(next(tmp_path.glob("scratch/train/*/state.pt")), weights_only=True)[
        "progress"
    ]
    assert state["epoch"] < 3
    finished(start_process(tmp_path, tiny_data, mttr__dropout=0.1))
    assert_same(weights(tmp_path), weights(whole))
    assert (tmp_path / "metrics/train.json").read_text() == (
        whole / "metrics/train.json"
    ).read_text()


def test_two_processes_learn_what_one_does(tiny_data: Path, tmp_path: Path):
    alone, together = tmp_path / "one", tmp_path / "two"
    finished(start_process(alone, tiny_data, {"LOSH_PROCESSES": "1"}, train__epochs=2))
    finished(
        start_process(
            together, tiny_data, {"LOSH_PROCESSES": "2", "LOSH_DEVICE": "cpu"}, train__epochs=2
        )
    )
    # Sums in another order round otherwise; AdamW turns tiny gradients' rounding into steps of the
    # size of the rate.
    assert_same(weights(alone), weights(together), tolerance=2e-3)
    one, two = (json.loads((out / "metrics/train.json").read_text()) for out in (alone, together))
    assert one["loss"]["total"] == pytest.approx(two["loss"]["total"], rel=1e-3)
    assert one["validation"] == pytest.approx(two["validation"], abs=0.02)


TWO = {"LOSH_PROCESSES": "2", "LOSH_DEVICE": "cpu"}


@pytest.fixture(scope="module")
def whole_of_two(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training by two processes that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole_of_two")
    finished(start_process(out, tiny_data, TWO))
    return out


def children(parent: int) -> set[int]:
    """Processes of this machine whose parent is `parent`."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            if int(path.read_text().rpartition(")")[2].split()[1]) == parent:
                found.add(int(path.parent.name))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="workers end with their parent on Linux alone")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_two_processes_end_with_their_parent_and_go_on_exactly(
    number: signal.Signals, whole_of_two: Path, tiny_data: Path, tmp_path: Path
):
    two = {**TWO, "LOSH_SAVE_EVERY": "0"}
    process = start_process(tmp_path / "killed", tiny_data, two)
    deadline = time.monotonic() + 180
    while (
        not list(tmp_path.glob("killed/scratch/train/*/state.pt"))
        and process.poll() is None
        and time.monotonic() < deadline
    ):
        time.sleep(0.02)
    workers = children(process.pid)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == (143 if number == signal.SIGTERM else -9), output
    assert len(workers) >= 2
    while (
        any(Path(f"/proc/{worker}").exists() for worker in workers) and time.monotonic() < deadline
    ):
        time.sleep(0.05)
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers), "a worker goes on alone"
    assert not (tmp_path / "killed" / "model").exists()
    finished(start_process(tmp_path / "killed", tiny_data, two))
    assert_same(weights(tmp_path / "killed"), weights(whole_of_two))


def test_a_worker_that_does_not_listen_is_ended(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(distributed, "GRACE", 0.5)
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "print(1, flush=True); time.sleep(120)"
    )
    workers = [subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE)]
    workers[0].stdout.readline()  # it is deaf from here on
    workers.append(subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"]))
    began = time.monotonic()
    assert distributed._wait_for(workers) == 3
    assert workers[0].returncode == -9 and time.monotonic() - began < 30


def test_an_error_of_several_processes_is_said_once(tiny_data: Path, tmp_path: Path):
    process = start_process(
        tmp_path, tiny_data, {"LOSH_PROCESSES": "2", "LOSH_DEVICE": "cpu"}, train__batch_size=1
    )
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert (
        output.count("train.batch_size is 1, but there are 2 processes") == 1
        and "Traceback" not in output
    )


def test_the_processes_of_torchrun_are_used(tiny_data: Path, tmp_path: Path):
    run(tmp_path / "one", tiny_data, train__epochs=1)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(src=str(ROOT / "src")))
    command = [
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        str(script),
        str(tmp_path / "two"),
        str(tiny_data),
    ]
    environment = {**os.environ, "LOSH_WORKERS": "0", "LOSH_DEVICE": "cpu", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *command, json.dumps({"train__epochs": 1})],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "2 process(es) on cpu" in done.stdout, done.stdout + done.stderr
    assert_same(weights(tmp_path / "one"), weights(tmp_path / "two"), tolerance=2e-3)


def test_micro_batches_give_the_same_training(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    whole = run(tmp_path / "whole", tiny_data, train__epochs=1)
    monkeypatch.setenv("LOSH_CLIPS_PER_DEVICE", "1")
    parts = run(tmp_path / "parts", tiny_data, train__epochs=1)
    assert parts["loss"] == pytest.approx(whole["loss"], rel=1e-3)


def test_sharing_a_window_between_expressions_is_the_same_loss(tiny_data: Path, tmp_path: Path):
    """One step over all windows: encoded once for two expressions, or twice, the loss of the first
    step is the same.
    """
    common = {
        "train__epochs": 1,
        "train__batch_size": 100,
        "train__validation_fraction": 0.0,
        "train__flip": 0.0,
        "train__losses__consistency": 0.0,
    }
    apart = run(tmp_path / "apart", tiny_data, **common)
    shared = run(tmp_path / "shared", tiny_data, **common, train__expressions_per_window=4)
    assert shared["loss"] == pytest.approx(apart["loss"], rel=1e-3)


def test_a_loss_that_is_not_finite_stops_the_training_and_names_the_clips(
    tiny_data: Path, tmp_path: Path
):
    with pytest.raises(UserError) as error:
        run(tmp_path, tiny_data, train__learning_rate=1e18, train__warmup_steps=0, train__epochs=2)
    assert (
        "not finite" in str(error.value)
        and "v_" in str(error.value)
        and "train.on_error" in str(error.value)
    )
    assert not (tmp_path / "model").exists()


def test_skipped_steps_are_counted_where_the_parameter_says_so(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from losh.model.criterion import Criterion

    whole = Criterion.__call__
    calls = []

    def poisoned(self: Criterion, *arguments: object) -> dict:
        losses = whole(self, *arguments)
        calls.append(1)
        return {**losses, "total": losses["total"] * (float("nan") if len(calls) == 2 else 1)}

    monkeypatch.setattr(Criterion, "__call__", poisoned)
    summary = run(tmp_path, tiny_data, train__on_error="skip", train__epochs=1)
    assert summary["skipped_steps"] == 1
    assert all(
        torch.isfinite(value).all()
        for value in weights(tmp_path).values()
        if value.is_floating_point()
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"model__short_stream": False, "model__cross_attention": False},
        {"model__cross_attention": False},
        {"model__cross_attention_place": "after"},
        {"train__losses__intersection": 0.0, "train__losses__auxiliary": False},
        {"train__losses__consistency": 0.0},
        {
            "train__losses__intersection_form": "soft",
            "train__consistency__distance": "l1",
            "train__consistency__levels": [0, 1],
        },
        {"train__text_encoder_learning_rate": 1e-4},
        {"train__backbone_learning_rate": 0.0},
        {"train__backbone_frozen_stages": 1},
        {"train__precision": "bf16"},
        {"model__backbone__name": "resnet50", "train__batch_size": 2},
    ],
    ids=lambda changes: " ".join(
        f"{key.split('__', 1)[1]}={value}" for key, value in changes.items()
    ),
)
def test_every_switch_of_the_method_trains(changes: dict, tiny_data: Path, tmp_path: Path):
    summary = run(tmp_path, tiny_data, train__epochs=1, **changes)
    assert summary["epochs"] == 1 and summary["loss"]["total"] > 0
    assert ("consistency" in summary["loss"]) == (changes.get("train__losses__consistency") != 0.0)
    expects_intersection = (
        changes.get("model__short_stream", True)
        and changes.get("train__losses__intersection") != 0.0
    )
    assert ("intersection" in summary["loss"]) == expects_intersection


def test_groups_have_their_own_rates_and_a_rate_of_zero_freezes(tiny_data: Path):
    from losh.model.build import build_model

    params = tiny_params(train__backbone_learning_rate=1e-5)
    model = build_model(params.model, params.pipeline)
    groups = {group["name"]: group for group in make_optimizer(model, params.train).param_groups}
    assert groups.keys() == {"main", "backbone"} and groups["backbone"]["lr"] == 1e-5
    backbone = {id(parameter) for parameter in model.base.backbone.parameters()}
    assert {id(parameter) for parameter in groups["backbone"]["params"]} == backbone
    assert not any(parameter.requires_grad for parameter in model.base.text_encoder.parameters())


def test_the_rate_depends_on_step_and_epoch_alone():
    train_params = tiny_params(
        train__epochs=5, train__warmup_steps=10, train__milestones=[2, 4], train__gamma=0.1
    ).train
    assert rate_factor(0, 0, 500, train_params) == pytest.approx(0.1)
    assert rate_factor(9, 0, 500, train_params) == 1.0
    assert rate_factor(100, 1, 500, train_params) == 1.0
    assert rate_factor(100, 2, 500, train_params) == pytest.approx(0.1)
    assert rate_factor(100, 4, 500, train_params) == pytest.approx(0.01)


def test_the_cosine_falls_to_zero_at_the_end():
    train_params = tiny_params(train__warmup_steps=10, train__schedule="cosine").train
    assert rate_factor(0, 0, 400, train_params) == pytest.approx(0.1)
    assert rate_factor(100, 1, 400, train_params) == pytest.approx(0.5 + 0.5**1.5)
    assert rate_factor(200, 1, 400, train_params) == pytest.approx(0.5)
    assert 0 < rate_factor(399, 3, 400, train_params) < 1e-4


def test_validation_is_split_by_video_and_adding_a_dataset_moves_no_video():
    def samples(dataset: str) -> list[Sample]:
        return [
            Sample(f"{v}{i}", dataset, f"v{v}", str(i), "", "0", "a", "a", (0,), (0,))
            for v in range(40)
            for i in range(3)
        ]

    training, validation = split_validation(samples("a"), 0.25, seed=0)
    held_out = {sample.video for sample in validation}
    assert 3 < len(held_out) < 20 and held_out.isdisjoint(sample.video for sample in training)
    _, both = split_validation(samples("a") + samples("b"), 0.25, seed=0)
    assert {sample.video for sample in both if sample.dataset == "a"} == held_out
    assert split_validation(samples("a"), 0.0, seed=0)[1] == []
    single = [Sample("x", f"d{i}", "v", "0", "", "0", "a", "a", (0,), (0,)) for i in range(30)]
    kept, _ = split_validation(samples("a") + single, 0.5, seed=0)
    assert {sample.dataset for sample in single} <= {sample.dataset for sample in kept}, (
        "a dataset of one video vanished from training"
    )
