"""Draw the stages of dvc.yaml, and what flows between them, as docs/pictures/stages.svg.

    python scripts/draw_stages.py

Needs Graphviz (`apt install graphviz`). Run it when dvc.yaml's stages, outputs or dependencies have
changed; tests/test_docs.py says when the picture is no longer true.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "pictures" / "stages.svg"
HEAD = """digraph {
  bgcolor=white; nodesep=0.35; ranksep=0.4;
  node [shape=box, style="rounded,filled", color="#33557a", fillcolor="#eaf1f8",
        fontname="DejaVu Sans,Verdana,sans-serif", fontsize=13, margin="0.16,0.08"];
  edge [color="#33557a", arrowsize=0.7];
"""
CHECKED = 'style=dotted, color="#999999"'
"""How the edges from `check` look: digests of files, no data."""


def stages() -> dict[str, dict[str, Any]]:
    """Return each stage of dvc.yaml; of one that is there for each dataset, its pattern."""
    found = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    return {name: stage.get("do", stage) for name, stage in found.items()}


def outputs(stage: dict[str, Any]) -> list[str]:
    """Return the paths that a stage writes."""
    listed = [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]
    return [one if isinstance(one, str) else next(iter(one)) for one in listed]


def edges() -> set[tuple[str, str]]:
    """Return (writer, reader) of all stages of which one reads what the other writes."""
    found = stages()
    return {
        (writer, reader)
        for writer in found
        for reader, stage in found.items()
        for written in outputs(found[writer])
        for read in stage["deps"]
        if writer != reader and (_within(written, read) or _within(read, written))
    }


def _within(path: str, folder: str) -> bool:
    return f"{path}/".startswith(f"{folder}/")


def graph() -> str:
    """Return the picture in Graphviz's language."""
    whole = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    lines = []
    for name, stage in stages().items():
        each = "foreach" in whole[name]
        shown = name + ("@D" if each else "")
        written = outputs(stage)[0].replace("${key}", "D") if name != "check" else "data/inputs"
        label = f'<<b>{shown}</b><br/><font point-size="11" color="#444444">{written}</font>>'
        lines.append(f"  {name} [label={label}{', peripheries=2' if each else ''}];")
    for writer, reader in sorted(edges()):
        lines.append(f"  {writer} -> {reader} [{CHECKED if writer == 'check' else ''}];")
    return HEAD + "\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    done = subprocess.run(
        ["dot", "-Tsvg"], input=graph(), capture_output=True, text=True, check=True
    )
    PICTURE.write_text(done.stdout, encoding="utf-8")
    print(f"wrote {PICTURE.relative_to(ROOT)}")
