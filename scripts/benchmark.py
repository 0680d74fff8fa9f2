"""Measure training steps, predictions and loading on this machine.

    make benchmark        (all cases; or python scripts/benchmark.py --sizes small --repeats 3)
    make benchmark OTHER=path/to/adapter.py

Prints tables for docs/benchmarks.md, as Markdown: windows per second that a training's loader gives
(of the frames and the flow in data/, where they are there); time, memory and share of the machine's
matrix rate of training steps and predictions; which of bf16, torch.compile and checkpointing to use
for a given memory. Every case is a process of its own, so that its peak memory is its own; the
cases of a base pipeline, with and without LoSh, take turns, so that a busy machine slows them
alike. Weights and inputs are random. On a machine with a CUDA device the cases run there (we had
none: not run by us).

`--other FILE` (of make, `OTHER=FILE`) times other code in the same turns, such as a checkout of the
released LoSh, and prints our times divided by its times. FILE is an adapter, a Python file with

    build(shape, base)

It returns two functions, one that does a training step and one that makes a prediction, at the
sizes of `shape` (windows, frames, height, width, expressions of a window) with the base pipeline
`base` (mttr, referformer or sgmg), or None for what the other code does not have. A `build(shape)`
without `base` is asked for mttr alone. It runs in processes of its own and needs the other code's
requirements in this environment. It is timed twice: with the allocator as it is, and with freed
memory kept as our code keeps it. `scripts/benchmark_commit.py` is such a file, and
`scripts/benchmark_plain.py`, which runs our own models as published code would.

Four processes of published size may hold 23 GB together; `--losh-only` leaves out the one without
LoSh.

A prediction is what `evaluate` asks of a model, by its rule in params.yaml: with `long` the short
stream is run only as far as the long one reads it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from benchmark_loading import loading_table
from benchmark_worker import BASES, MATRIX, SHAPES, Case

from losh.errors import UserError, friendly
from losh.params import load_params

WORKER = Path(__file__).with_name("benchmark_worker.py")
MEMORIES = (4, 8, 12, 16, 24, 40, 48, 80)  # GB that the advice is given for
FORMS: tuple[dict[str, bool], ...] = (
    {},
    {"bf16": True},
    {"checkpointing": True},
    {"bf16": True, "checkpointing": True},
    {"compile": True},
    {"compile": True, "bf16": True},
    {"compile": True, "checkpointing": True},
)


class Worker:
    """A case's process.

    `size` is None where other code has no such case.

    Raises:
        UserError: the process failed.
    """

    def __init__(self, case: Case) -> None:
        self.case, self.seconds = case, dict[str, list[float]]()
        command = [sys.executable, str(WORKER), json.dumps(asdict(case))]
        environment = {**os.environ, "OMP_NUM_THREADS": str(case.threads)}
        self.process = subprocess.Popen(command, stdin=-1, stdout=-1, text=True, env=environment)
        self.size = self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise UserError(f"{self.case.size}: {self.case.name} failed", "Its own error is above")
        return json.loads(line)

    def measure(self, what: str) -> None:
        """Do it once more."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        self.seconds.setdefault(what, []).append(self._answer())

    def close(self) -> dict[str, Any]:
        """End the process; medians of what it did, and the seconds of each counted turn."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        # The first turn is not counted.
        seconds = {what: times[1:] for what, times in self.seconds.items()}
        row = {what: statistics.median(times) for what, times in seconds.items()}
        row |= self.size | self._answer() | {"case": self.case, "seconds": seconds}
        self.process.wait()
        rate = 2 * MATRIX**3 / row["matrix"]
        return row | {"rate": rate, "share": row["flops"] / row["train"] / rate}


def turns(cases: list[Case], repeats: int) -> list[dict[str, Any]]:
    """Measure some cases by turns, and print a line of the table for each.

    What other code does not have is left out.
    """
    from tqdm import tqdm

    workers: list[Worker] = []
    # Shown while the first step of each runs too: compiling one takes minutes.
    bar = tqdm(
        total=repeats + 1, desc=f"{cases[0].size}: {cases[0].base}", unit="turn", leave=False
    )
    try:
        for case in cases:
            workers.append(Worker(case))
        workers = [worker for worker in workers if worker.size is not None]
        for _ in range(repeats + 1):
            for worker in workers:
                for what in ("matrix", "train", "predict"):
                    worker.measure(what)
            bar.update()
        rows = [worker.close() for worker in workers]
    finally:
        bar.close()
        for worker in workers:
            worker.process.kill()
    for row in rows:
        print(line_of(row), flush=True)
    return rows


HEADER = """\
| case | threads | training step, s | prediction, s | peak memory, GB | parameters, M \
| share of the matrix rate |
|---|---|---|---|---|---|---|"""


def line_of(row: dict[str, Any]) -> str:
    """Of the Markdown table."""
    case, millions = row["case"], row.get("parameters", 0) / 1e6
    return (
        f"| {case.size}: {case.name} | {case.threads} | {row['train']:.3f} "
        f"| {row.get('predict', float('nan')):.3f} | {row['memory']:.2f} | {millions:.1f} "
        f"| {row['share']:.0%} of {row['rate'] / 1e9:.0f} GFLOP/s |"
    )


RATIOS_HEADER = """\
| our times by those of other code | threads | training step | prediction |
|---|---|---|---|"""


def ratios(rows: list[dict[str, Any]]) -> list[str]:
    """Return lines of the table of ratios: each case of ours by each of other code.

    `rows` took turns together: a ratio is the median of those of the turns, which a machine that is
    busy for a while hardly changes.
    """
    lines = []
    for ours in (row for row in rows if not row["case"].other):
        for theirs in (row for row in rows if row["case"].other):
            case = ours["case"]
            step, prediction = (
                statistics.median(
                    a / b
                    for a, b in zip(ours["seconds"][what], theirs["seconds"][what], strict=True)
                )
                for what in ("train", "predict")
            )
            compared = f"{case.size}: {case.name} / {theirs['case'].name}"
            lines.append(f"| {compared} | {case.threads} | {step:.2f} | {prediction:.2f} |")
    return lines


def advice(rows: list[dict[str, Any]]) -> str:
    """For each memory the fastest form that fits."""
    lines = []
    for memory in MEMORIES:
        fit = [row for row in rows if row["memory"] <= memory]
        if fit:
            best = min(fit, key=lambda row: row["train"])
            lines.append(f"- {memory} GB: {best['case'].name} ({best['train']:.3f} s a step)")
    return "\n".join(lines) or f"Nothing fits {MEMORIES[-1]} GB."


def matrix_rate(threads: int, bf16: bool) -> float:
    """Measure how many operations a second a plain product of matrices does, in fp32 or bf16."""
    worker = Worker(Case(size="tiny", threads=threads, bf16=bf16))
    try:
        for _ in range(4):
            worker.measure("matrix")
    finally:
        worker.process.kill()
    return 2 * MATRIX**3 / statistics.median(worker.seconds["matrix"][1:])


def forms_worth_timing(threads: int) -> tuple[dict[str, bool], ...]:
    """Leave bf16 out, and say so, where the machine computes it slower than fp32.

    Processors without bf16 of their own take a hundred times as long, and a table would take hours.
    """
    fp32, bf16 = (matrix_rate(threads, kind) for kind in (False, True))
    if bf16 >= fp32:
        return FORMS
    print(
        f"\nbf16 is left out: here a plain product of matrices does {bf16 / 1e9:.3g} GFLOP/s in "
        f"it, {fp32 / 1e9:.3g} in fp32.",
        flush=True,
    )
    return tuple(form for form in FORMS if not form.get("bf16"))


def forms(size: str, threads: int, repeats: int, some: Sequence[dict[str, bool]] = FORMS) -> None:
    """Print the table of forms of MTTR with LoSh, and which one to use for a given memory.

    A form that fails, such as torch.compile without a C++ compiler, has a line that says so.
    """
    print(f"\n{HEADER}", flush=True)
    found = []
    for form in some:
        try:
            found += turns([Case(size=size, threads=threads, **form)], repeats)
        except UserError as error:
            print(f"| {error} |" + " |" * 6, flush=True)
    print(f"\nFastest that fits, MTTR with LoSh, {size}:\n\n{advice(found)}", flush=True)


def cases_of(base: str, size: str, threads: int, other: str | None, losh_only: bool) -> list[Case]:
    """Return the cases that take turns: ours, and those of other code."""
    cases = [Case(base, losh, size, threads) for losh in ((True,) if losh_only else (False, True))]
    if other:
        cases += [
            Case(base, size=size, threads=threads, other=other, kept=kept) for kept in (True, False)
        ]
    return cases


@friendly
def main() -> None:
    """Measure all cases and print the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", choices=SHAPES, default=["small", "published"])
    parser.add_argument("--bases", nargs="+", choices=BASES, default=list(BASES))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--losh-only", action="store_true", help="leave the base pipelines without LoSh out"
    )
    parser.add_argument("--no-forms", action="store_true", help="leave bf16 and the like out")
    parser.add_argument("--other", metavar="FILE", help="an adapter to other code: see above")
    arguments = parser.parse_args()
    if arguments.other and not Path(arguments.other).is_file():
        raise UserError(f"--other {arguments.other}: there is no such file")
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {date.today()}.")
    print(f"`python scripts/benchmark.py {' '.join(sys.argv[1:])}`\n", flush=True)
    print(loading_table(load_params(), arguments.repeats), flush=True)
    print(f"\n{HEADER}", flush=True)
    compared = []
    for threads in arguments.threads:
        for size in arguments.sizes:
            for base in arguments.bases:
                cases = cases_of(base, size, threads, arguments.other, arguments.losh_only)
                compared += ratios(turns(cases, arguments.repeats))
    if arguments.other:
        print("\n".join(["", RATIOS_HEADER, *compared]), flush=True)
    if not arguments.no_forms:
        threads = max(arguments.threads)
        some = forms_worth_timing(threads)
        for size in arguments.sizes:
            forms(size, threads, arguments.repeats, some)


if __name__ == "__main__":
    main()
