"""The stage itself: refuse what is wrong, and write the digests of what the parameters name."""

from __future__ import annotations

from pathlib import Path

from losh.check.digests import Digests
from losh.check.named_files import named_files, require
from losh.params import Params
from losh.runtime.environment import check_numbers
from losh.runtime.files import write_json

STAGES = ("download", "parse_text", "compute_flow", "train", "evaluate")
"""Each has a file of its own, so that another file behind one name runs its readers alone.
`download` reads no such file: its constant one makes DVC run `check` first.
"""


def check_inputs(
    params: Params, out: Path = Path("data/inputs"), scratch: Path = Path("scratch/check")
) -> None:
    """Check every file that the parameters name; write `out`/<stage>.json for each stage.

    A stage's file holds `{"files": {parameter: SHA-256 of the file or folder}}`; it is the
    dependency by which DVC sees other contents behind the same name.

    Raises:
        UserError: a file is missing, or an environment variable holds no number.
    """
    check_numbers()
    named = list(named_files(params))
    for one in named:
        require(one)
    digests = Digests(scratch / "digests.json")
    found = {one.key: digests.of(one.path) for one in named}
    digests.save()
    for stage in STAGES:
        files = {one.key: found[one.key] for one in named if stage in one.stages}
        write_json(out / f"{stage}.json", {"files": files})
