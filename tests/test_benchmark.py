"""`make benchmark`: its table, its advice, and one short measurement."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "benchmark.py"


@pytest.fixture(scope="module")
def benchmark() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def row(benchmark: dict[str, Any], memory: float, train: float, **form: bool) -> dict[str, Any]:
    return {"memory": memory, "train": train, "case": benchmark["Case"](**form)}


def test_the_advice_is_the_fastest_form_that_fits(benchmark: dict[str, Any]) -> None:
    rows = [
        row(benchmark, 20.0, 1.0),
        row(benchmark, 9.0, 0.8, bf16=True),
        row(benchmark, 5.0, 1.4, checkpointing=True),
    ]
    said = benchmark["advice"](rows).splitlines()
    assert said[0] == "- 8 GB: mttr with LoSh, checkpointing (1.400 s a step)"
    assert said[1] == "- 12 GB: mttr with LoSh, bf16 (0.800 s a step)"
    assert not any("4 GB:" in line for line in said[:1])
    assert benchmark["advice"]([row(benchmark, 99.0, 1.0)]) == "Nothing fits 80 GB."


@pytest.mark.slow
def test_a_base_with_and_without_losh_and_other_code_take_turns(tmp_path: Path) -> None:
    other = tmp_path / "other.py"
    other.write_text(
        "import time, torch\n"
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
    rows = {
        cells[0]: [float(x) for x in cells[2:6]]
        for line in done.stdout.splitlines()
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
