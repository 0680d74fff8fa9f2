"""Measure how close our model is to the released code, and print docs/fidelity.md.

    python scripts/fidelity_report.py > docs/fidelity.md              # about two minutes on two CPU
    cores python scripts/fidelity_report.py --compile > docs/fidelity.md    # torch.compile too:
    some minutes more

Every number comes from the functions that the tests in tests/model assert on, and from the parity
fixture (LOSH_PARITY_DIR, else ../shared/parity).
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "backbones"))

from test_fast_forms import (
    bf16_against_fp32,
    cached_against_live,
    compiled_against_eager,
    fused_against_math,
    live_model,
    onednn_against_plain,
    read_against_all,
    small_inputs,
)

from losh.model.structures import Clips, LoShOutput, TextIds
from losh.testing.parity_arrays import NO_GRADIENT, compared, gradient_norms, largest_difference
from losh.testing.parity_fixture import Case, arrays, case_inputs, parity_model

CASES = ["A", "B", "Cfix"]
ABSENT = "–"
TITLES = {
    "video": "Backbone (levels of stride 4, 8, 16)",
    "text": "Text encoder and projection",
    "encoder": "Transformer encoder",
    "decoder": "Transformer decoder, kernels, spatial decoder",
    "heads": "Outputs of both streams",
    "matching": "Matching costs",
    "post": "Post-processing",
}


def table(head: list[str], rows: list[list[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""


def number(x: float) -> str:
    return "0" if x == 0 else f"{x:.2g}"


def array_rows(group: str) -> list[list[str]]:
    """Return one row per array: its largest value, and difference and tolerance in each case."""
    found: dict[str, dict[str, tuple[float, float, float]]] = {}
    for case in CASES:
        for name, expected, ours, atol in compared(case, group):
            if not name.startswith("match_"):
                size = float(np.abs(expected.astype(np.float64)).max(initial=0))
                found.setdefault(name, {})[case] = (size, largest_difference(expected, ours), atol)
    rows = []
    for name, cases in found.items():
        cells = [
            f"{number(cases[c][1])} (≤ {cases[c][2]:g})" if c in cases else ABSENT for c in CASES
        ]
        rows.append([f"`{name}`", number(max(size for size, _, _ in cases.values())), *cells])
    return rows


def loss_rows() -> list[list[str]]:
    rows = []
    for case in CASES:
        names = arrays()[f"{case}.loss_names"]
        values = {name: (expected, ours) for name, expected, ours, _ in compared(case, "losses")}
        expected, ours = values["loss_values"]
        rows += [
            [case, f"`{n}`", f"{e:.6f}", f"{o:.6f}", number(abs(e - o))]
            for n, e, o in zip(names, expected, ours, strict=True)
        ]
        expected, ours = values["loss_total"]
        rows.append(
            [
                case,
                "`loss_total`",
                f"{float(expected):.6f}",
                f"{float(ours):.6f}",
                number(largest_difference(expected, ours)),
            ]
        )
    return rows


def gradient_rows() -> list[list[str]]:
    rows = []
    for case in ("A", "B"):
        data, ours = arrays(), gradient_norms(case)
        expected = dict(zip(data[f"{case}.grad_names"], data[f"{case}.grad_l2"], strict=True))
        kept = [n for n in expected if n != NO_GRADIENT and expected[n] > 1e-3]
        worst = max(abs(ours[n] / expected[n] - 1) for n in kept)
        total, whole = (
            float(data[f"{case}.grad_total_l2"]),
            float(np.linalg.norm(list(ours.values()))),
        )
        rows.append(
            [
                case,
                f"{len(kept)} norms above 1e-3, each",
                "",
                "",
                f"{number(worst)} relative (≤ 2e-3)",
            ]
        )
        rows.append(
            [
                case,
                "norm of the whole gradient",
                f"{total:.6f}",
                f"{whole:.6f}",
                f"{number(abs(whole / total - 1))} relative",
            ]
        )
    return rows


def match_rows() -> list[list[str]]:
    rows = []
    for case in ("B", "Cfix"):
        pairs = [
            (expected, ours)
            for name, expected, ours, _ in compared(case, "matching")
            if name.startswith("match_")
        ]
        equal = sum(np.array_equal(expected, ours) for expected, ours in pairs)
        rows.append(
            [
                case,
                f"{len(pairs)} index lists (3 layers, 2 clips, queries and instances)",
                str(len(pairs)),
                f"{equal} equal",
                number(len(pairs) - equal),
            ]
        )
    return rows


def alone_against_padded() -> tuple[float, float]:
    """Return two differences of the scores of case B's padded clip.

    Alone at the padded size, and alone without padding.
    """
    model, inputs = parity_model("B"), case_inputs("B")
    b = int(inputs.clips.pad[:, 0, 0].any(-1).long().argmax())
    width = int((~inputs.clips.pad[b, 0, 0]).sum())

    def alone(size: int) -> LoShOutput:
        clips = Clips(
            inputs.clips.frames[b : b + 1, ..., :size],
            inputs.clips.pad[b : b + 1, ..., :size],
            inputs.clips.annotated[b : b + 1],
        )
        return model(
            clips,
            *(
                TextIds(text.ids[b : b + 1], text.mask[b : b + 1])
                for text in (inputs.long, inputs.short)
            ),
        )

    with torch.no_grad():
        together = model(inputs.clips, inputs.long, inputs.short).long[-1].scores[b]
        found = [
            float((alone(size).long[-1].scores[0] - together).abs().max())
            for size in (inputs.clips.frames.shape[-1], width)
        ]
    return found[0], found[1]


def fast_rows(with_compile: bool) -> list[list[str]]:
    inputs: Case = case_inputs("B")
    given = (parity_model("B"), inputs.clips, inputs.long, inputs.short)
    rows = [
        [
            "fused attention (`F.scaled_dot_product_attention`)",
            "plain attention",
            number(fused_against_math(*given)),
        ],
        [
            "text features made once, a sentence at a time",
            "the text encoder on the padded batch",
            number(cached_against_live(*given)),
        ],
        [
            "the backbone's blocks on frames that are read or looked at",
            "all frames",
            number(read_against_all(*given)),
        ],
        [
            "linear layers without gradients by oneDNN",
            "PyTorch's own (MKL)",
            number(onednn_against_plain(*given)),
        ],
        ["bf16 autocast", "float32", number(bf16_against_fp32(*given))],
    ]
    if with_compile:
        # Compiling the full model takes many minutes on two cores.
        rows.append(
            [
                "`torch.compile`, the tests' small model",
                "eager",
                number(compiled_against_eager(live_model(), *small_inputs())),
            ]
        )
    return rows


def machine() -> str:
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "",
    )
    processor = f"{os.cpu_count()} cores of {model or platform.processor()}"
    return f"{processor}, torch {torch.__version__}, {torch.get_num_threads()} threads, float32"


def prose(text: str) -> Iterator[str]:
    """Yield a paragraph in lines of at most 100 columns."""
    yield from textwrap.wrap(" ".join(text.split()), 100, break_on_hyphens=False)


def report(with_compile: bool) -> Iterator[str]:
    """Yield the lines of docs/fidelity.md."""
    yield "# Fidelity"
    yield ""
    yield from prose("""
        How close this model is to the released LoSh on MTTR, measured on a fixture of arrays that
        the released code computed (case A: weights of standard deviation 0.02; B: weights scaled by
        fan-in, the sensitive one; Cfix: B's weights, odd sizes, two annotated frames per clip, the
        released code's mix-up of frames put right). No published checkpoint was at hand, so this
        says nothing of published scores.
    """)
    yield ""
    command = f"python scripts/fidelity_report.py{' --compile' if with_compile else ''}"
    yield from prose(f"""
        Printed by `{command}` on {datetime.date.today()}: {machine()}. `pytest tests -k parity`
        asserts the same numbers. Tolerances (in brackets) are the fixture's, or, where it suggests
        none, those of the nearest array that it does.
    """)
    yield ""
    yield "[recipes.md](recipes.md) says where our recipes differ from the published trainings."
    yield ""
    yield "## Arrays: largest absolute difference"
    yield ""
    for group, title in TITLES.items():
        yield f"### {title}"
        yield ""
        yield from table(
            [
                "array (source: the fixture)",
                "largest value",
                *(f"{case}: difference" for case in CASES),
            ],
            array_rows(group),
        )
    yield from prose("""
        Under recipe A all queries are nearly alike, so that its matchings are decided by noise:
        they are not compared. `*_stats` are [mean, standard deviation, largest value]. `memory` is
        compared where it is not padding.
    """)
    yield ""
    yield "## Losses, gradients, matchings"
    yield ""
    head = ["case", "quantity", "expected (fixture)", "ours", "difference"]
    yield from table(head, loss_rows() + gradient_rows() + match_rows())
    yield from prose("""
        Two constants that no output shows are read instead: the LayerNorm after the text projection
        has eps 1e-12, RoBERTa's have 1e-5.
    """)
    yield ""
    yield "## Faster forms"
    yield ""
    yield from prose("""
        Largest difference of the long stream's mask logits relative to the largest logit, weights
        and inputs of case B.
    """)
    yield ""
    yield from table(["form", "against", "difference"], fast_rows(with_compile))
    yield from prose("""
        On a CPU dropout draws other numbers than PyTorch's from the same seed, as many zeros of
        them (`tests/layers/test_dropout.py`).
    """)
    yield ""
    yield "## Padding"
    yield ""
    same, cropped = alone_against_padded()
    yield from table(
        ["the padded clip of case B, scores of the long stream", "difference"],
        [
            ["alone, padded as in the batch, against in the batch", number(same)],
            ["alone without padding, against in the batch", number(cropped)],
        ],
    )
    yield from prose("""
        The second number is released behaviour: the backbone and the spatial decoder's convolutions
        know no padding mask, and under case B's random weights that shows. The transformer masks
        padding exactly (`tests/model/test_padding.py`).
    """)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--compile", action="store_true", help="measure torch.compile too")
    arguments = parser.parse_args()
    torch.set_num_threads(min(2, os.cpu_count() or 1))
    print("\n".join(report(arguments.compile)))


if __name__ == "__main__":
    main()
