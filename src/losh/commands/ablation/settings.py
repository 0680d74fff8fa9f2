"""The parameters of a commit, as far as the ablation's rows share them."""

from __future__ import annotations

import hashlib
import subprocess
from functools import cache
from typing import Any

import yaml

from losh import pipelines
from losh.commands.ablation.results import OWN
from losh.commands.ablation.tables import COMMIT
from losh.report.changed import flat


@cache
def settings_at(commit: str, base: str) -> str:
    """Return a digest of what `commit`'s params.yaml says, but for what a row sets itself.

    The sections of other base pipelines do not count. Of a commit that is not here it is the
    commit: its runs stand beside each other alone.
    """
    shown = subprocess.run(
        ["git", "show", f"{commit}:./params.yaml"], capture_output=True, text=True
    )
    if shown.returncode:
        return commit[:COMMIT]
    return digest(yaml.safe_load(shown.stdout), base)


def digest(params: dict[str, Any], base: str) -> str:
    """Return the same of parameters that were read."""
    others = set(pipelines.names()) - {base}
    shared = {name: section for name, section in params.items() if name not in others}
    told = sorted((key, value) for key, value in flat(shared).items() if key not in OWN)
    return hashlib.sha256(repr(told).encode()).hexdigest()
