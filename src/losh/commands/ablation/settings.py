"""The parameters of a commit, as far as the ablation's rows share them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from losh import pipelines
from losh.commands.ablation.results import COMMIT, OWN
from losh.commands.experiments import cached_output
from losh.report.changed import flat
from losh.runtime.resume import fingerprint


@cache
def settings_at(commit: str, base: str) -> str:
    """Return a digest of what `commit`'s params.yaml says, but for what a row sets itself.

    The sections of other base pipelines do not count. Of a commit that is not here it is the
    commit: its runs stand beside each other alone.
    """
    params = cached_output(Path("params.yaml"), commit)
    return commit[:COMMIT] if params is None else digest(yaml.safe_load(params), base)


def digest(params: dict[str, Any], base: str) -> str:
    """Return the same of parameters that were read."""
    others = set(pipelines.names()) - {base}
    shared = {name: section for name, section in params.items() if name not in others}
    told = {key: value for key, value in flat(shared).items() if key not in OWN}
    return fingerprint(told)
