"""Stage report: the page metrics/report/index.html, one file that opens anywhere."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from losh.errors import UserError
from losh.params import Params
from losh.report.dataset_section import Places, dataset_section
from losh.report.earlier import Chosen
from losh.report.training_section import training_section
from losh.runtime.files import atomic_write
from losh.runtime.measured import FOLDER, Measured, read_measured

STAGES = (
    "check",
    "download",
    "extract_frames",
    "compute_flow",
    "parse_text",
    "train_data",
    "train",
    "evaluate",
)
"""In the order in which they run; the page is made before its own stage has ended."""
LISTS = (
    "`git log --oneline -- metrics/eval` lists the commits that changed scores, "
    "`losh compare --all` the experiments with theirs"
)
"""What to do where a name to compare with leads nowhere."""
TEMPLATES = Path(__file__).parent
HERE = Places()


def write_report(
    params: Params, out: Path, places: Places = HERE, chosen: Chosen | None = None
) -> None:
    """Write the page of all datasets of params.yaml.

    Args:
        params: of this run.
        out: the page.
        places: of the artefacts.
        chosen: what the run is compared with; None: each dataset's newest earlier scores.

    Raises:
        UserError: none of them has been evaluated, or `chosen` has scores of none of those.
    """
    # As the file has them, like those of the earlier commit: the schema would add its defaults.
    raw = yaml.safe_load((places.root / "params.yaml").read_text(encoding="utf-8"))
    done = [name for name in params.datasets if (places.root / places.scores_of(name)).is_file()]
    if not done:
        raise UserError("no dataset has been evaluated", "Run `dvc repro`")
    sections = [dataset_section(name, places, raw, chosen) for name in done]
    if chosen and not any(one.earlier for one in sections):
        files = ", ".join(places.scores_of(name).as_posix() for name in done)
        raise UserError(f"{chosen.name} has no scores to compare with: no {files}", LISTS)
    page = render(
        title=", ".join(done),
        datasets=sections,
        chosen=chosen,
        waiting=[name for name in params.datasets if name not in done],
        training=training_section(places.root / places.metrics),
        measured=in_order(read_measured(places.root / FOLDER).values()),
        base=params.model.base,
        rule=params.evaluate.rule,
        checkpoint=params.evaluate.checkpoint,
    )
    with atomic_write(out) as part:
        part.write_text(page, encoding="utf-8")


def render(**content: Any) -> str:
    """Fill the template; everything but our own SVG and style is escaped."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = Markup((TEMPLATES / "page.css").read_text(encoding="utf-8"))
    return environment.get_template("page.html.j2").render(style=style, **content)


def in_order(records: Iterable[Measured]) -> list[Measured]:
    """As the stages run; what is no stage before this page's is left out."""
    known = [one for one in records if one.stage.split("@")[0] in STAGES]
    return sorted(known, key=lambda one: (STAGES.index(one.stage.split("@")[0]), one.stage))
