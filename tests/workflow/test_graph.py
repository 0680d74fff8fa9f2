"""Changing params.yaml reruns only what it affects: DVC itself, with stand-ins for the stages."""

import csv
import json
import re
import shutil
import sys
import time
from pathlib import Path

import pytest
import yaml
from project import Project

ROOT = Path(__file__).parents[2]
DATASET_STAGES = ["download", "extract_frames", "compute_flow", "parse_text", "evaluate"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("graph"))
    ran = project.repro()
    assert (
        ran[0] == "download@moving_shapes"
        and ran[-2:] == ["evaluate@moving_shapes", "report"]
        and len(ran) == 8
    )
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "run")
    return project


def test_nothing_runs_without_a_change(project):
    assert project.repro() == []


MS = "moving_shapes"


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("evaluate.rule", "mean", [f"evaluate@{MS}"]),
        ("train.seed", 7, ["train", f"evaluate@{MS}"]),
        ("model.cross_attention", False, ["train", f"evaluate@{MS}"]),
        ("flow.iterations", 5, [f"compute_flow@{MS}", "train_data", "train", f"evaluate@{MS}"]),
        (
            "short_text.mode",
            "subject",
            [f"parse_text@{MS}", "train_data", "train", f"evaluate@{MS}"],
        ),
        (
            "frames.window",
            5,
            [f"extract_frames@{MS}", f"compute_flow@{MS}", "train_data", "train", f"evaluate@{MS}"],
        ),
        (
            f"datasets.{MS}.seed",
            9,
            [*(f"{s}@{MS}" for s in DATASET_STAGES[:4]), "train_data", "train", f"evaluate@{MS}"],
        ),
    ],
)
def test_a_change_runs_what_it_affects_and_nothing_else(project, key, value, expected):
    """The report comes last, after all of them."""
    project.set(key, value)
    assert sorted(project.repro()) == sorted([*expected, "report"])


def test_another_dataset_runs_its_own_stages_and_does_not_train_again(project):
    project.set("datasets.other", {"kind": "jhmdb_sentences"})
    # train_data looks at which datasets there are (a second); train itself does not run.
    assert sorted(project.repro()) == sorted(
        [*(f"{s}@other" for s in DATASET_STAGES), "train_data", "report"]
    )
    project.set("datasets.other.seed", 3)
    ran = project.repro()
    assert "train" not in ran and not any(MS in stage for stage in ran)


def test_training_on_it_too_trains_again(project):
    project.set("train.datasets", [MS, "other"])
    assert sorted(project.repro()) == sorted(
        ["train_data", "train", f"evaluate@{MS}", "evaluate@other", "report"]
    )


def test_earlier_values_come_from_the_cache(project):
    project.run("git", "checkout", "-q", "params.yaml")
    # The folders of the dataset that is no longer named still lie in data/frames and data/evaluate,
    # so train_data and report look again; no work is done.
    assert set(project.repro()) <= {"train_data", "report"}


def test_experiments_metrics_params_and_plots(project):
    project.run("git", "checkout", "-q", ".")
    project.dvc(
        "exp",
        "run",
        "-q",
        "--name",
        "no-cross",
        "-S",
        "model.cross_attention=false",
        "-S",
        "train.learning_rate=1e-5",
    )
    differences = json.loads(project.dvc("params", "diff", "--json"))["params.yaml"]
    assert {key: (d["old"], d["new"]) for key, d in differences.items()} == {
        "model.cross_attention": (True, False),
        "train.learning_rate": (8e-4, 1e-5),
    }
    assert "metrics/eval/moving_shapes.json" in project.dvc("metrics", "diff", "--json")
    assert "no-cross" in project.dvc("exp", "show", "--csv")


@pytest.mark.parametrize(
    ("key", "stages"),
    [
        ("short_text.overrides", [f"parse_text@{MS}", "train_data", "train", f"evaluate@{MS}"]),
        ("flow.checkpoint", [f"compute_flow@{MS}", "train_data", "train", f"evaluate@{MS}"]),
        ("model.backbone.checkpoint", ["train", f"evaluate@{MS}"]),
        ("model.text_encoder", ["train", f"evaluate@{MS}"]),
        ("evaluate.checkpoint", [f"evaluate@{MS}"]),
    ],
)
def test_other_contents_behind_a_name_run_its_readers_again(project, key, stages):
    project.run("git", "checkout", "-q", "params.yaml")
    named = project.root / "tmp" / key / ("encoder" if "text_encoder" in key else "given.bin")
    file = named / "vocab.json" if "text_encoder" in key else named
    file.parent.mkdir(parents=True)
    file.write_text("one")
    if file != named:
        (named / "config.json").write_text("{}")
    project.set(key, str(named.relative_to(project.root)))
    project.repro()
    assert project.repro() == []
    file.write_text("two")
    assert sorted(project.repro()) == sorted([*stages, "report"])
    file.write_text("one")
    assert project.repro() == []  # from the cache


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("mttr.dropout=abc", "mttr.dropout: input should be a valid number"),
        ("train.consistency.levels=[3]", "levels 0 to 2"),
        ("evaluate.checkpoint=nowhere.safetensors", "there is no file nowhere.safetensors"),
        ("flow.checkpoint=./nowhere.ckpt", "flow.checkpoint: there is no file nowhere.ckpt"),
    ],
)
def test_a_typo_costs_nothing(project, change, said):
    project.run("git", "checkout", "-q", "params.yaml")
    project.repro()
    before = state_of_outputs(project)
    output = project.dvc("exp", "run", "-S", change, fails=True)
    [line] = [line for line in output.splitlines() if line.startswith("error: ")]
    assert said in line and line.endswith("`dvc checkout` brings back outputs of before")
    assert "data/model/index.json" in before and "metrics/train.json" in before
    assert state_of_outputs(project) == before
    project.run("git", "checkout", "-q", "params.yaml")
    assert project.repro() == []


def test_no_dataset_is_a_fault(project):
    text = (project.root / "params.yaml").read_text()
    project.set("datasets", {})
    output = project.dvc("repro", fails=True)
    assert "datasets is empty" in output and "Traceback" not in output
    (project.root / "params.yaml").write_text(text)


def state_of_outputs(project: Project) -> dict[str, bytes]:
    """Every file that the stages wrote."""
    return {
        str(path.relative_to(project.root)): path.read_bytes()
        for folder in ("data", "metrics")
        for path in sorted((project.root / folder).rglob("*"))
        if path.is_file()
    }


def test_plots_name_each_value_once_and_need_no_network(project):
    project.run("git", "checkout", "-q", ".")
    project.repro()
    shown = json.loads(project.dvc("plots", "show", "--json"))["data"]
    assert set(shown) == {
        "loss.total",
        "validation.mean_iou",
        "metrics/train/curves.png",
        f"metrics/plots/{MS}/precision.csv",
        f"metrics/plots/{MS}/iou_histogram.csv",
    }
    project.dvc("plots", "show", "-o", "plots_page")
    page = (project.root / "plots_page" / "index.html").read_text()
    assert "Training loss" in page and "vegaEmbed=" in page
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=.https?:", page)


def test_plots_are_compared_with_the_commit(project):
    project.run("git", "checkout", "-q", ".")
    project.repro()
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "run", "--allow-empty")
    project.set("train.seed", 21)
    project.repro()
    output = json.loads(project.dvc("plots", "diff", "HEAD", "workspace", "--json"))
    assert not output.get("errors")
    [loss] = output["data"]["loss.total"]
    assert sorted(loss["revisions"]) == ["HEAD", "workspace"]
    points = loss["content"]["data"]["values"]
    assert {(row["rev"], row["step"]) for row in points} == {
        (revision, step) for revision in ("HEAD", "workspace") for step in ("1", "2")
    }
    assert len({row["total"] for row in points}) == 2
    project.run("git", "checkout", "-q", ".")


def test_lock_and_scores_are_tracked_and_nothing_else(project):
    """What `git add -A` takes after a run: dvc.lock and the scores, no data."""
    project.run("git", "checkout", "-q", ".")
    project.repro()
    (project.root / "metrics" / "ablation.csv").write_text("base,row\n")
    project.run("git", "add", "-A")
    tracked = project.run("git", "ls-files").split()
    assert {"dvc.lock", "metrics/train.json", f"metrics/eval/{MS}.json"} <= set(tracked)
    assert [name for name in tracked if name.startswith(("metrics/", "data/"))] == [
        "metrics/ablation.csv",
        f"metrics/eval/{MS}.json",
        "metrics/train.json",
    ]
    project.run("git", "commit", "-qm", "run", "--allow-empty")
    project.dvc("repro", "-f", "-q")
    assert project.run("git", "status", "--short") == ""


def run_queue(project: Project) -> None:
    """Run what is queued, and wait for its end."""
    project.dvc("queue", "start")
    deadline = time.monotonic() + 240
    # The worker leaves by itself some seconds after the last one; `queue stop` would stop the next
    # worker too.
    while any(
        word in (status := project.dvc("queue", "status"))
        for word in ("Queued", "Running", "1 active", "1 idle")
    ):
        assert time.monotonic() < deadline, status
        time.sleep(2)


@pytest.mark.parametrize("where", ["--temp", "--queue"])
def test_an_experiment_in_another_folder_runs_its_own_code(project, where):
    """With an editable install, `import losh` would find the workspace's code: the stages' scripts
    must not.
    """
    project.run("git", "checkout", "-q", ".")
    script = (ROOT / "stages" / "train_data.py").read_text().split("from losh")[0]
    out = project.root / f"found{where}.txt"
    probe = (
        script + "import "
        'losh\nPath("data").mkdir(exist_ok=True)\nPath("data/train_data.json").write_text(losh.__file__)\n'
    )
    (project.root / "stages" / "train_data.py").write_text(probe + f"# {where}\n")
    project.run("git", "commit", "-qam", "probe")
    (project.root / "stages" / "train_data.py").write_text(
        probe + f"Path({str(out)!r}).write_text(losh.__file__)\n"
    )
    project.dvc("exp", "run", "-q", where, "train_data")
    if where == "--queue":
        # What the workspace holds when the queue runs must not matter.
        project.run("git", "checkout", "-q", ".")
        run_queue(project)
    found = Path(out.read_text())
    assert ".dvc/tmp/exps" in str(found) and not found.is_relative_to(ROOT)


def test_the_ablation_is_queued_run_and_shown(project):
    """After an experiment that left its values in params.yaml, and with one dataset more."""
    project.run("git", "checkout", "-q", ".")
    shutil.copy(ROOT / "tests" / "workflow" / "stub.py", project.root / "stages" / "train_data.py")
    project.run("git", "commit", "-qam", "stand-ins again")
    project.set("model.cross_attention", False)
    project.set("train.losses.consistency", 0.0)
    losh = [sys.executable, "-m", "losh.cli", "ablation"]
    options = ["--rows", "base", "+consistency", "all", "-S", "train.epochs=2"]
    project.run(*losh, "queue", "--seeds", "3", *options)
    project.run(*losh, "queue", "--seeds", "13", "--rows", "all", "-S", "train.epochs=2")
    assert project.dvc("queue", "status").count("Queued") == 4
    run_queue(project)
    project.set("datasets.other", {"kind": "jhmdb_sentences"})
    shown = project.run(*losh, "show")
    with (project.root / "metrics" / "ablation.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["row"], row["seed"], row["dataset"], row["state"]) for row in rows] == [
        ("base", "3", MS, "success"),
        ("+consistency", "3", MS, "success"),
        ("all", "3", MS, "success"),
        ("all", "13", "", "failed"),
    ]
    for row in rows:
        assert "train.epochs=2" in row["changes"] and row["base"] == "mttr"
        assert bool(row["mean_iou"]) == (row["state"] == "success")
    assert len({row["mean_iou"] for row in rows}) == 4 and "failed" in shown
    assert (project.root / "docs" / "ablation.png").stat().st_size > 1000
    for name, expected in {
        "base": (False, False, 0.0, 0.0),
        "only-consistency": (True, False, 0.0, 0.5),
        "all": (True, True, 0.8, 0.5),
    }.items():
        reference = project.run(
            "git", "for-each-ref", "--format=%(refname)", f"refs/exps/*/*/ablation-mttr-{name}-3"
        ).strip()
        params = yaml.safe_load(project.run("git", "show", f"{reference}:params.yaml"))
        model, losses = params["model"], params["train"]["losses"]
        assert params["train"]["seed"] == 3 and params["train"]["epochs"] == 2
        found = (model["short_stream"], model["cross_attention"])
        assert (*found, losses["intersection"], losses["consistency"]) == expected
