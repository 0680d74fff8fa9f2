"""Our own code of 2026-11-23, for `scripts/benchmark.py --other scripts/benchmark_commit.py`.

It is the code that was once timed against the released LoSh, so that today's code can be held
against the released one by way of it (docs/benchmarks.md). It needs a checkout of it:

    git clone . /tmp/losh_then && git -C /tmp/losh_then checkout a06a199
    LOSH_THEN=/tmp/losh_then python scripts/benchmark.py --sizes published --other ...
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

THEN = Path(os.environ.get("LOSH_THEN", ""))


def build(
    shape: tuple[int, int, int, int, int],
) -> tuple[Callable[[], None], Callable[[], None]] | None:
    """Return a training step and a prediction of MTTR with LoSh at published sizes.

    None for other sizes: the model would not be of them.
    """
    if shape != (1, 10, 160, 288, 1):
        return None
    if not (THEN / "tests/model/small.py").is_file():
        sys.exit("LOSH_THEN names no checkout of commit a06a199: set it to the folder of one")
    for name in [name for name in sys.modules if name.partition(".")[0] == "losh"]:
        del sys.modules[name]
    sys.path[:0] = [str(THEN / "src"), str(THEN / "tests/model")]
    import torch
    from losh.model.interface import Clips, TextIds
    from losh.train.optimisation import make_optimizer
    from small import random_flow, random_targets, roberta_config
    from transformers import AutoConfig

    from losh.model import text
    from losh.model.build import build_model
    from losh.model.criterion import Counts, Criterion
    from losh.params import load_params

    torch.manual_seed(0)
    params: Any = load_params(THEN / "params.yaml")
    backbone = {"name": "video_swin_t", "checkpoint": None, "drop_path": 0.1}
    sizes = {"d_model": 256, "num_heads": 8, "ffn_dim": 2048, "dropout": 0.1, "num_queries": 50}
    sizes |= {"encoder_layers": 3, "decoder_layers": 3}
    changes: dict[str, Any] = {"backbone": params.model.backbone.model_copy(update=backbone)}
    config = roberta_config(50265, 768, 12, 12, 3072, 514)
    encoder = text.TextEncoder.from_config(AutoConfig.for_model(**config))
    model = build_model(params.model.model_copy(update=sizes | changes), encoder)
    optimizer = make_optimizer(model, params.train)
    windows, frames, height, width, each = shape
    clips = Clips(
        torch.randn(windows, frames, 3, height, width),
        torch.zeros(windows, frames, height, width, dtype=torch.bool),
        torch.full((windows, 1), frames // 2),
        torch.arange(windows * each) // each,
    )
    count, words = windows * each, 12
    ids = TextIds(torch.randint(3, 40, (count, words)), torch.ones(count, words).long())
    targets = random_targets((3,) * count, 1, (height, width))
    published = {"reference": 2.0, "dice": 5.0, "encoder_reference": 0.0, "mask_stride": 1}
    losses = params.train.losses.model_copy(update=published)
    criterion = Criterion(losses, params.train.consistency)
    flow = random_flow(clips)
    counts = Counts.of(targets, flow)
    trained = [p for group in optimizer.param_groups for p in group["params"]]

    def train() -> None:
        model.train()
        criterion(model(clips, ids, ids), targets, flow, counts)["total"].backward()
        torch.nn.utils.clip_grad_norm_(trained, params.train.clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def predict() -> None:
        model.eval()
        with torch.no_grad():
            model(clips, ids, ids)

    return train, predict
