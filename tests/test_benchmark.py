"""`make benchmark`: its table, its advice, and one short measurement."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from losh.errors import UserError
from losh.testing.tiny_training import tiny_params

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "benchmark.py"
CPU = torch.device("cpu")
# What make sets for the programs that it runs, and a make among them reads.
INHERITED_BY_MAKE = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")

pytestmark = pytest.mark.usefixtures("scripts")


@pytest.fixture(scope="module")
def benchmark(scripts: None) -> ModuleType:
    return importlib.import_module("benchmark")


@pytest.fixture(scope="module")
def loading(scripts: None) -> ModuleType:
    return importlib.import_module("benchmark_loading")


def row(benchmark: ModuleType, memory: float, train: float, **form: bool) -> dict[str, Any]:
    return {"memory": memory, "train": train, "case": benchmark.Case(**form)}


def test_the_advice_is_the_fastest_form_that_fits(benchmark: ModuleType) -> None:
    rows = [
        row(benchmark, 20.0, 1.0),
        row(benchmark, 9.0, 0.8, bf16=True),
        row(benchmark, 5.0, 1.4, checkpointing=True),
    ]
    said = benchmark.advice(rows).splitlines()
    assert said[0] == "- 8 GB: mttr with LoSh, checkpointing (1.400 s a step)"
    assert said[1] == "- 12 GB: mttr with LoSh, bf16 (0.800 s a step)"
    assert not any("4 GB:" in line for line in said[:1])
    assert benchmark.advice([row(benchmark, 99.0, 1.0)]) == "Nothing fits 80 GB."


def test_ratios_are_medians_of_the_turns(benchmark: ModuleType) -> None:
    """Ours by theirs: the second turn, in which the machine was busy, changes nothing."""
    alone, ours, theirs = (
        {"case": benchmark.Case(**case), "seconds": {"train": train, "predict": predict}}
        for case, train, predict in (
            ({"losh": False}, [1.0, 10.0, 1.0], [2.0, 2.0, 2.0]),
            ({}, [2.0, 20.0, 2.0], [3.0, 3.0, 9.0]),
            ({"other": "a/x.py"}, [4.0, 40.0, 4.0], [2.0, 2.0, 2.0]),
        )
    )
    theirs_named = "mttr, other code (x.py), freed memory kept"
    assert benchmark.ratios([alone, ours, theirs]) == [
        f"| small: mttr / {theirs_named} | 1 | 0.25 | 1.00 |",
        f"| small: mttr with LoSh / {theirs_named} | 1 | 0.50 | 1.50 |",
    ]
    assert benchmark.ratios([alone, ours]) == []


def test_the_cases_that_take_turns(benchmark: ModuleType) -> None:
    def cases(*options: object) -> list[tuple[bool, str | None, bool]]:
        made = benchmark.cases_of("sgmg", "small", 1, *options)
        assert all((case.base, case.size, case.threads) == ("sgmg", "small", 1) for case in made)
        return [(case.losh, case.other, case.kept) for case in made]

    assert cases(None, False) == [(False, None, True), (True, None, True)]
    theirs = [(True, "x.py", True), (True, "x.py", False)]
    assert cases("x.py", False) == [(False, None, True), (True, None, True), *theirs]
    assert cases("x.py", True) == [(True, None, True), *theirs]


def test_each_form_has_its_row(benchmark: ModuleType) -> None:
    names = [benchmark.Case(**form).name for form in benchmark.FORMS]
    assert names[0] == "mttr with LoSh" and len(set(names)) == len(names) == 7
    assert {"mttr with LoSh, bf16, compile", "mttr with LoSh, compile, checkpointing"} <= set(names)


def test_a_form_that_fails_leaves_the_others(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def turns(cases: list[Any], repeats: int) -> list[dict[str, Any]]:
        if cases[0].compile:
            raise UserError(f"{cases[0].name} failed")
        return [row(benchmark, 3.0, 2.0 - cases[0].bf16, bf16=cases[0].bf16)]

    monkeypatch.setattr(benchmark, "turns", turns)
    benchmark.forms("small", 1, 1)
    said = capsys.readouterr().out
    assert "| mttr with LoSh, compile failed |" in said
    assert "- 4 GB: mttr with LoSh, bf16 (1.000 s a step)" in said


@pytest.mark.parametrize(("bf16", "count"), [(2e9, 4), (2e11, 7)])
def test_bf16_is_left_out_where_it_is_slower_than_fp32(
    benchmark: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    bf16: float,
    count: int,
) -> None:
    monkeypatch.setattr(benchmark, "matrix_rate", lambda _, kind: bf16 if kind else 1e11)
    assert len(benchmark.forms_worth_timing(2)) == count
    said = capsys.readouterr().out
    assert ("does 2 GFLOP/s in it, 100 in fp32" in said) == (count == 4)


def test_a_processs_matrix_rate_is_measured(benchmark: ModuleType) -> None:
    assert 1e8 < benchmark.matrix_rate(1, bf16=False) < 1e14


def test_checkpointing_computes_more_and_bf16_as_much(worker: ModuleType) -> None:
    def flops(**form: bool) -> int:
        train, predict, parameters = worker.build(worker.Case(size="tiny", **form), CPU)
        predict()
        assert parameters > 1e6
        return worker.count_flops(train)

    plain = flops()
    assert flops(bf16=True) == plain
    assert flops(bf16=True, checkpointing=True) > plain


def compiled(
    worker: ModuleType, patch: pytest.MonkeyPatch, **form: bool
) -> tuple[Any, list[torch.fx.GraphModule]]:
    """Return a compiled training step and, once it has run, the graphs that it was made of.

    They are run as they are: kernels would take minutes to make.
    """
    graphs: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> Any:
        graphs.append(graph)
        return graph.forward

    patch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    torch._dynamo.reset()
    return worker.build(worker.Case(size="tiny", losh=False, compile=True, **form), CPU)[0], graphs


def test_a_compiled_form_is_counted_as_if_it_were_not(
    worker: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, graphs = compiled(worker, monkeypatch)
    plain, _, _ = worker.build(worker.Case(size="tiny", losh=False), CPU)
    assert worker.count_flops(train) == worker.count_flops(plain)
    assert not graphs


@pytest.mark.slow
@pytest.mark.parametrize("form", ["bf16", "checkpointing"])
def test_a_form_is_compiled_with_another(
    worker: ModuleType, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    train, graphs = compiled(worker, monkeypatch, **{form: True})
    train()
    assert graphs
    made = len(graphs)
    train()
    assert len(graphs) == made


ADAPTERS = {
    "build(shape)": {"mttr"},
    "build(shape, base)": {"mttr", "sgmg"},
    "build(shape, again=None, base='mttr')": {"mttr", "sgmg"},
}


@pytest.mark.parametrize("signature", ADAPTERS)
def test_an_adapter_is_asked_for_the_base_pipelines_it_can_have(
    worker: ModuleType, signature: str, tmp_path: Path
) -> None:
    other = tmp_path / "other.py"
    base = "base" if "base" in signature else "'mttr'"
    other.write_text(
        f"def {signature}:\n"
        f"    return ((lambda: ({base}, shape)), min) if {base} != 'referformer' else None\n"
    )
    cases = [worker.Case(base, other=str(other)) for base in worker.BASES]
    made = {case.base: worker.build_other(case) for case in cases}
    assert {base for base, functions in made.items() if functions} == ADAPTERS[signature]
    for base in ADAPTERS[signature]:
        assert made[base][0]() == (base, (4, 6, 96, 128, 4))


def test_the_loading_rate_is_that_of_the_trainings_loader(
    loading: ModuleType, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOSH_WORKERS", "1")
    params = tiny_params(train__batch_size=2)
    lines = loading.loading_table(params, 1, tiny_data).splitlines()[-2:]
    rates = [re.fullmatch(r"\| tiny, (.+) \| 1 \| ([\d.]+) \|", line) for line in lines]
    assert [found and found[1] for found in rates] == ["without flow", "with flow"]
    assert all(found and float(found[2]) > 0 for found in rates)
    (tmp_path / "frames").symlink_to(tiny_data / "frames")
    (tmp_path / "short_text").symlink_to(tiny_data / "short_text")
    without, with_flow = loading.loading_table(params, 1, tmp_path).splitlines()[-2:]
    assert "not measured" not in without
    assert with_flow.endswith("is missing. Make it with `dvc repro compute_flow@tiny` |")


def test_the_loading_rate_has_flow_where_it_says_so(loading: ModuleType, tiny_data: Path) -> None:
    for with_flow in (False, True):
        found = loading.what_is_loaded(tiny_params(), tiny_data, with_flow)
        assert (found.dataset[0].flow is not None) == with_flow


def test_an_adapter_that_is_not_there_is_refused() -> None:
    command = [sys.executable, str(SCRIPT), "--other", "no_such.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: --other no_such.py: there is no such file\n"


def test_make_hands_the_adapter_on() -> None:
    def command(*variables: str) -> str:
        # These tests may themselves have been started by make, which hands its flags and variables
        # on to every make below it: they would decide what this one prints.
        outside = {k: v for k, v in os.environ.items() if k not in INHERITED_BY_MAKE}
        make = ["make", "--no-print-directory", "--dry-run", "benchmark", *variables]
        done = subprocess.run(
            make, cwd=ROOT, env=outside, capture_output=True, text=True, check=True
        )
        return done.stdout

    assert command().rstrip().endswith("python scripts/benchmark.py")
    assert command("OTHER=a/x.py").rstrip().endswith("benchmark.py --other a/x.py")


@pytest.mark.slow
def test_a_base_with_and_without_losh_and_other_code_take_turns(tmp_path: Path) -> None:
    other = tmp_path / "other.py"
    other.write_text(
        "import time, torch\n"
        "print('what other code prints is no answer')\n"
        "def build(shape):\n"
        "    assert shape == (4, 6, 96, 128, 4)\n"
        "    train = lambda: (torch.ones(64, 64) @ torch.ones(64, 64), time.sleep(0.2))\n"
        "    return train, lambda: time.sleep(0.1)\n"
    )
    command = [sys.executable, str(SCRIPT), "--sizes", "small", "--bases", "mttr", "--threads", "1"]
    done = subprocess.run(
        [*command, "--repeats", "2", "--no-forms", "--other", str(other)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    table, compared = done.stdout.split("| our times by those of other code |")
    rows = {
        cells[0]: [float(x) for x in cells[2:6]]
        for line in table.splitlines()
        if line.startswith("| small")
        for cells in [[cell.strip() for cell in line.strip("|").split("|")]]
    }
    alone, with_losh = rows["small: mttr"], rows["small: mttr with LoSh"]
    assert all(value > 0 for value in (*alone, *with_losh))
    assert with_losh[3] > alone[3]  # the cross blocks' weights
    named = [name for name in rows if "other code" in name]
    assert ["freed memory kept" in name for name in named] == [True, False]
    assert all(0.2 <= rows[name][0] < 0.4 and 0.1 <= rows[name][1] < 0.2 for name in named)
    assert re.search(r"\d+% of \d+ GFLOP/s", done.stdout)
    assert "| loading |" in done.stdout
    ratios = re.findall(r"^\| small: (mttr.*?) / .*\| ([\d.]+) \| [\d.]+ \|$", compared, re.M)
    assert [name for name, _ in ratios] == ["mttr"] * 2 + ["mttr with LoSh"] * 2
    assert all(float(ratio) > 0 for _, ratio in ratios)
