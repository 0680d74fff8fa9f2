"""One case of `scripts/benchmark.py`, in the process that measures it.

python scripts/benchmark_worker.py CASE    (fields of Case as JSON; see `work`)
"""

from __future__ import annotations

import inspect
import json
import runpy
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from losh.model.losh import LoSh

MATRIX = 1024  # rows and columns of the matrices whose product is timed
BASES = ("mttr", "referformer", "sgmg")
SHAPES = {"tiny": (1, 4, 72, 96, 2), "small": (4, 6, 96, 128, 4), "published": (1, 10, 160, 288, 1)}


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    base: str = "mttr"
    losh: bool = True
    size: str = "small"
    """small (params.yaml as it is) | published (window 10, 160 x 288, Video-Swin-T, RoBERTa-base's
    sizes) | tiny (small's model on a little input: whether everything runs)."""
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
        return SHAPES[self.size]

    @property
    def name(self) -> str:
        """Of the row."""
        if self.other:
            how = "freed memory kept" if self.kept else "the allocator as it is"
            return f"{self.base}, other code ({Path(self.other).name}), {how}"
        extras = [k for k in ("bf16", "compile", "checkpointing") if getattr(self, k)]
        return ", ".join([self.base + (" with LoSh" if self.losh else ""), *extras])


def build(
    case: Case,
    device: Any,
    form: Callable[[LoSh], Any] = lambda model: model,
    text_once: bool = True,
) -> tuple[Callable[[], Any], Callable[[], Any], int]:
    """Return a training step, a prediction, and the number of parameters.

    The step returns its loss, the prediction the model's output.

    Args:
        form: makes of the model what is run in its place, with its weights and its arguments.
        text_once: whether a sentence's features are given, which our training and our evaluation
            have a frozen text encoder make once, before; or it runs in each step and prediction.
    """
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
    if case.size != "published":
        model.base.backbone.freeze_stages(params.train.backbone_frozen_stages)
    optimizer = make_optimizer(model.to(device), params.train)
    windows, frames, height, width, each = case.shape
    middle = frames // 2
    clips = Clips(
        torch.randn(windows, frames, 3, height, width),
        torch.zeros(windows, frames, height, width, dtype=torch.bool),
        torch.full((windows, 1), middle),
        torch.arange(windows * each) // each,
        ((middle,),) * windows,
    ).to(device)
    count, words = windows * each, 12
    if encoder is None:  # a frozen encoder's features are computed once a sentence
        features = torch.randn(count, words, model.text_encoder.width)
        sentence = torch.randn(count, model.text_encoder.width)
        text: Any = TextFeats(features, torch.zeros(count, words, dtype=torch.bool), sentence)
    else:
        text = TextIds(torch.randint(3, 40, (count, words)), torch.ones(count, words).long())
    text = text.to(device)
    read = model.base.tokens_to_features(text) if encoder is not None and text_once else text
    targets = [t.to(device) for t in random_targets((3,) * count, 1, (height, width))]
    losses = params.train.losses.model_copy(update={} if case.losh else {"consistency": 0.0})
    criterion = Criterion(model.base, losses, params.train.consistency)
    flow = random_flow(clips.to("cpu")).to(device) if case.losh else None
    trained_on = clips
    if flow is not None:  # the consistency loss reads the neighbours, too
        compared = {middle, *flow.neighbour[0][flow.valid[0]].tolist()}
        trained_on = replace(clips, read=(tuple(sorted(compared)),) * windows)
    run = form(model)
    run = torch.compile(run) if case.compile else run
    step = TrainingStep(run, criterion)
    counts = criterion.count(targets, flow)
    trained = [p for group in optimizer.param_groups for p in group["params"]]

    def train() -> Any:
        model.train()
        with torch.autocast(device.type, torch.bfloat16, enabled=case.bf16):
            loss = step(trained_on, read, read, targets, flow, counts)["total"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, params.train.clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    joint = case.losh and params.evaluate.rule != "long"

    def predict() -> Any:
        model.eval()
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=case.bf16):
            return run(clips, read, read, joint=joint, last_only=True)

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


def build_other(case: Case) -> tuple[Callable[[], Any], Callable[[], Any]] | None:
    """Return a training step and a prediction of other code; None where it has no such case."""
    assert case.other is not None
    make = runpy.run_path(case.other)["build"]
    if "base" in inspect.signature(make).parameters:
        return make(case.shape, base=case.base)
    return make(case.shape) if case.base == "mttr" else None


def count_flops(train: Callable[[], Any]) -> int:
    """Return the floating point operations of a training step.

    Of a compiled one as it is without torch.compile, whose kernels the counter does not see.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.compiler.set_stance("force_eager"), FlopCounterMode(display=False) as counter:
        train()
    return counter.get_total_flops()


def work(case: Case) -> None:
    """Be a worker: answer each line of standard input with the seconds of what it names.

    The first answer is what is known before, or null where there is no such case; the last one,
    when the input ends, is what is counted once.
    """
    import torch

    from losh.runtime.machine import keep_freed_memory, pick_device

    # What else is printed, by other code too, would be taken for an answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    if case.kept:
        keep_freed_memory()
    torch.set_num_threads(case.threads)
    device = pick_device()
    functions: dict[str, Callable[[], Any]] = {}
    size: dict[str, Any] = {}
    if case.other:
        made = build_other(case)
        if made is None:
            print("null", file=answers, flush=True)
            return
        functions["train"], functions["predict"] = made
    else:
        functions["train"], functions["predict"], size["parameters"] = build(case, device)
    functions["train"]()
    left, right = (torch.randn(MATRIX, MATRIX, device=device) for _ in range(2))
    kind = torch.bfloat16 if case.bf16 else torch.float32
    left, right = left.to(kind), right.to(kind)
    functions["matrix"] = lambda: left @ right
    print(json.dumps(size), file=answers, flush=True)
    for line in sys.stdin:
        began = time.perf_counter()
        functions[line.strip()]()
        if device.type == "cuda":
            torch.cuda.synchronize()
        print(json.dumps(time.perf_counter() - began), file=answers, flush=True)
    memory = peak(device)  # before the count, which may need more than the case
    counted = {"memory": memory, "flops": count_flops(functions["train"])}
    print(json.dumps(counted), file=answers, flush=True)


def peak(device: Any) -> float:
    """GB: of the device, or of the process."""
    import resource

    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


if __name__ == "__main__":
    work(Case(**json.loads(sys.argv[1])))
