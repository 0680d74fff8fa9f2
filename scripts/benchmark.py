"""Time, memory and share of the machine's matrix rate of training steps and predictions.

    make benchmark        (all cases; or python scripts/benchmark.py --sizes small --repeats 3)

Prints this machine's table for docs/benchmarks.md, as Markdown. Every case is a process of its own,
so that its peak memory is its own; the cases of a base pipeline, with and without LoSh, take turns,
so that a busy machine slows them alike. Weights and inputs are random. On a machine with a CUDA
device the cases run there (we had none: not run by us).

`--other FILE` times other code in the same turns, such as a checkout of the released LoSh: a Python
file whose `build(shape)` returns two functions, one that does a training step and one that makes a
prediction, at the sizes of `shape` (windows, frames, height, width, expressions of a window). It
needs that code's own requirements in this environment. It is timed twice: with the allocator as it
is, and with freed memory kept as our code keeps it. `scripts/benchmark_commit.py` is such a file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import runpy
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

MATRIX = 1024
MEMORIES = (4, 8, 12, 16, 24, 40, 48, 80)  # GB that the advice is given for


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    base: str = "mttr"
    losh: bool = True
    size: str = "small"
    """small (params.yaml as it is) | published (window 10, 160 x 288, Video-Swin-T, RoBERTa-base's
    sizes)."""
    threads: int = 1
    bf16: bool = False
    compile: bool = False
    checkpointing: bool = False
    other: str | None = None
    kept: bool = True
    """Whether freed memory is kept (losh.runtime.machine)."""

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """Windows, frames, height, width, expressions of a window."""
        return (4, 6, 96, 128, 4) if self.size == "small" else (1, 10, 160, 288, 1)

    @property
    def name(self) -> str:
        """Of the row."""
        if self.other:
            how = "freed memory kept" if self.kept else "the allocator as it is"
            return f"other code ({Path(self.other).name}), {how}"
        extras = [k for k in ("bf16", "compile", "checkpointing") if getattr(self, k)]
        return ", ".join([self.base + (" with LoSh" if self.losh else ""), *extras])


def build(case: Case, device: Any) -> tuple[Callable[[], None], Callable[[], None], int]:
    """Return a training step, a prediction, and the number of parameters."""
    import torch

    from losh.model.build import build_model
    from losh.model.checkpoint import text_encoder_from
    from losh.model.criterion import Criterion
    from losh.model.structures import Clips, TextFeats, TextIds
    from losh.model.training_step import TrainingStep
    from losh.params import load_params
    from losh.pipelines import parameters_class, pipeline_class
    from losh.testing.small_models import random_flow, random_targets, roberta_config
    from losh.train.optimizer import make_optimizer

    torch.manual_seed(0)
    params, own, encoder = load_params(), sections()[case.base], None
    backbone: dict[str, Any] = {"checkpoint": None}
    if case.size == "published":
        backbone |= {"name": "video_swin_t", "drop_path": 0.1, "motion_channels": 0}
        own = own | published(case.base, own)
        pooled = pipeline_class(case.base).uses_sentence
        encoder = text_encoder_from(roberta_config(50265, 768, 12, 12, 3072, 514), pooled)
    changes = {"base": case.base, "backbone": params.model.backbone.model_copy(update=backbone)}
    if not case.losh:
        changes |= {"short_stream": False, "cross_attention": False}
    model_params = params.model.model_copy(update=changes)
    model = build_model(model_params, parameters_class(case.base).model_validate(own), encoder)
    model.base.backbone.checkpoint_blocks = case.checkpointing
    if case.size == "small":
        model.base.backbone.freeze_stages(params.train.backbone_frozen_stages)
    optimizer = make_optimizer(model.to(device), params.train)
    windows, frames, height, width, each = case.shape
    clips = Clips(
        torch.randn(windows, frames, 3, height, width),
        torch.zeros(windows, frames, height, width, dtype=torch.bool),
        torch.full((windows, 1), frames // 2),
        torch.arange(windows * each) // each,
    ).to(device)
    count, words = windows * each, 12
    if encoder is None:  # a frozen encoder's features are computed once a sentence
        features = torch.randn(count, words, model.text_encoder.width)
        sentence = torch.randn(count, model.text_encoder.width)
        text: Any = TextFeats(features, torch.zeros(count, words, dtype=torch.bool), sentence)
    else:
        text = TextIds(torch.randint(3, 40, (count, words)), torch.ones(count, words).long())
    text = text.to(device)
    targets = [t.to(device) for t in random_targets((3,) * count, 1, (height, width))]
    losses = params.train.losses.model_copy(update={} if case.losh else {"consistency": 0.0})
    criterion = Criterion(model.base, losses, params.train.consistency)
    flow = random_flow(clips.to("cpu")).to(device) if case.losh else None
    run = torch.compile(model) if case.compile else model
    step = TrainingStep(run, criterion)
    counts = criterion.count(targets, flow)
    trained = [p for group in optimizer.param_groups for p in group["params"]]

    def train() -> None:
        model.train()
        with torch.autocast(device.type, torch.bfloat16, enabled=case.bf16):
            loss = step(clips, text, text, targets, flow, counts)["total"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, params.train.clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def predict() -> None:
        model.eval()
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=case.bf16):
            run(clips, text, text, joint=case.losh, last_only=True)

    return train, predict, sum(p.numel() for p in model.parameters())


def sections() -> dict[str, Any]:
    """params.yaml as it stands, with the sections of all base pipelines."""
    import yaml

    from losh.params import StrictLoader

    return yaml.load(Path("params.yaml").read_text(encoding="utf-8"), StrictLoader)


def published(base: str, own: dict[str, Any]) -> dict[str, Any]:
    """Return the changes of a base pipeline's section to the published sizes."""
    changes: dict[str, Any] = {"d_model": 256, "num_heads": 8, "ffn_dim": 2048, "dropout": 0.1}
    layers = 3 if base == "mttr" else 4
    changes |= {"encoder_layers": layers, "decoder_layers": layers}
    losses = own["losses"] | {"encoder_reference": 0.0}
    if base != "mttr":
        return changes | {"feature_levels": 4, "num_queries": 5, "losses": losses}
    losses |= {"reference": 2.0, "dice": 5.0, "mask_stride": 1}
    return changes | {"num_queries": 50, "losses": losses}


def work(case: Case) -> None:
    """Be a worker: answer each line of standard input with the seconds of what it names."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from losh.runtime.machine import keep_freed_memory, pick_device

    if case.kept:
        keep_freed_memory()
    torch.set_num_threads(case.threads)
    device = pick_device()
    functions: dict[str, Callable[[], Any]] = {}
    size: dict[str, Any] = {}
    if case.other:
        functions["train"], functions["predict"] = runpy.run_path(case.other)["build"](case.shape)
    else:
        functions["train"], functions["predict"], size["parameters"] = build(case, device)
    functions["train"]()
    with FlopCounterMode(display=False) as counter:
        functions["train"]()
    size["flops"] = counter.get_total_flops()
    left, right = (torch.randn(MATRIX, MATRIX, device=device) for _ in range(2))
    kind = torch.bfloat16 if case.bf16 else torch.float32
    left, right = left.to(kind), right.to(kind)
    functions["matrix"] = lambda: left @ right
    print(json.dumps(size), flush=True)
    for line in sys.stdin:
        began = time.perf_counter()
        functions[line.strip()]()
        if device.type == "cuda":
            torch.cuda.synchronize()
        print(json.dumps(time.perf_counter() - began), flush=True)
    print(json.dumps(peak(device)), flush=True)


def peak(device: Any) -> float:
    """GB: of the device, or of the process."""
    import resource

    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


class Worker:
    """A case's process."""

    def __init__(self, case: Case) -> None:
        self.case, self.seconds = case, dict[str, list[float]]()
        command = [sys.executable, __file__, "--worker", json.dumps(asdict(case))]
        environment = {**os.environ, "OMP_NUM_THREADS": str(case.threads)}
        self.process = subprocess.Popen(command, stdin=-1, stdout=-1, text=True, env=environment)
        self.size = self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def measure(self, what: str) -> None:
        """Do it once more."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        self.seconds.setdefault(what, []).append(self._answer())

    def close(self) -> dict[str, Any]:
        """End the process; medians of what it did."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        row = {what: statistics.median(times[1:]) for what, times in self.seconds.items()}
        row |= self.size | {"memory": self._answer(), "case": self.case}
        self.process.wait()
        rate = 2 * MATRIX**3 / row["matrix"]
        return row | {"rate": rate, "share": row["flops"] / row["train"] / rate}


def turns(cases: list[Case], repeats: int) -> list[dict[str, Any]]:
    """Measure some cases by turns, and print a line of the table for each."""
    from tqdm import tqdm

    workers = [Worker(case) for case in cases]
    what_runs = f"{cases[0].size}: {cases[0].base}"
    # The first turn is not counted.
    for _ in tqdm(range(repeats + 1), desc=what_runs, unit="turn", leave=False):
        for worker in workers:
            for what in ("matrix", "train", "predict"):
                worker.measure(what)
    rows = [worker.close() for worker in workers]
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


def advice(rows: list[dict[str, Any]]) -> str:
    """For each memory the fastest form that fits."""
    lines = []
    for memory in MEMORIES:
        fit = [row for row in rows if row["memory"] <= memory]
        if fit:
            best = min(fit, key=lambda row: row["train"])
            lines.append(f"- {memory} GB: {best['case'].name} ({best['train']:.3f} s a step)")
    return "\n".join(lines) or f"Nothing fits {MEMORIES[-1]} GB."


def main() -> None:
    """Measure all cases and print the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", nargs="+", default=["small", "published"])
    parser.add_argument("--bases", nargs="+", default=["mttr", "referformer", "sgmg"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-forms", action="store_true", help="leave bf16 and the like out")
    parser.add_argument("--other", help="a Python file with `build(shape)`: see above")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(Case(**json.loads(arguments.worker)))
        return
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {date.today()}.")
    print(f"`python scripts/benchmark.py {' '.join(sys.argv[1:])}`\n", flush=True)
    print(HEADER, flush=True)
    for threads in arguments.threads:
        for size in arguments.sizes:
            for base in arguments.bases:
                cases = [Case(base, losh, size, threads) for losh in (False, True)]
                if arguments.other and base == "mttr":
                    cases += [
                        Case(size=size, threads=threads, other=arguments.other, kept=kept)
                        for kept in (True, False)
                    ]
                turns(cases, arguments.repeats)
    if arguments.no_forms:
        return
    forms = [{}, {"bf16": True}, {"checkpointing": True}, {"bf16": True, "checkpointing": True}]
    forms += [{"compile": True}]
    for size in arguments.sizes:
        last = max(arguments.threads)
        print(f"\n{HEADER}", flush=True)
        found = [
            turns([Case(size=size, threads=last, **form)], arguments.repeats)[0] for form in forms
        ]
        print(f"\nFastest that fits, MTTR with LoSh, {size}:\n\n{advice(found)}", flush=True)


if __name__ == "__main__":
    main()
