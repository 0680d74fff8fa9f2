"""The repository's own words: documents name what exists, prose keeps to 100 columns."""

from __future__ import annotations

import fnmatch
import functools
import importlib.util
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
COLUMNS = 100
DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / folder / "README.md" for folder in ("data", "metrics", "tests")),
    ]
)
SETTINGS = [
    ROOT / name
    for name in (
        ".github/workflows/ci.yml",
        ".pre-commit-config.yaml",
        "CITATION.cff",
        "Makefile",
        "dvc.yaml",
        "pyproject.toml",
    )
]

FOLDERS = r"(?:src|stages|scripts|tests|docs|recipes|\.ci|\.github)"
NAMED = re.compile(
    rf"(?<![\w./<-]){FOLDERS}/[\w./-]*\w/?|(?<![\w./<-])[\w-]+\.(?:md|toml|lock|cff)\b"
)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
MODULE = re.compile(r"(?<![\w./])losh(?:\.[A-Za-z_]+)+")
# Columns apart from each other: a table, of Markdown or of what a command prints.
TABLE = re.compile(r"^\|| {3,}\S+(?: \S+)* {3,}\S")
SUFFIXES = {"csv", "json", "md", "py", "safetensors", "txt", "yaml", "zip"}
"""Of file names that begin like a section, such as train.json."""
# Written by the stages, not part of the repository.
WRITTEN = {"dvc.lock"}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def missing_files(text: str, folder: Path) -> list[str]:
    """Files that a document names, or links to, and that are not there."""
    named = {name for name in NAMED.findall(text) if name not in WRITTEN and "NAME" not in name}
    faults = [name for name in named if not any((base / name).exists() for base in (ROOT, folder))]
    return sorted(faults + [link for link in LINK.findall(text) if not (folder / link).exists()])


def missing_modules(text: str) -> list[str]:
    """Dotted names that are neither a module of the package nor a word that one defines."""
    faults = []
    for name in sorted(set(MODULE.findall(text))):
        parts = name.split(".")
        known = len(parts)
        while not (spec := _spec(".".join(parts[:known]))):
            known -= 1
        if known < len(parts) - 2:
            faults.append(name)
        elif known < len(parts):
            source = text_of(Path(spec.origin))
            if not re.search(rf"\b{parts[known]}\b", source):
                faults.append(name)
    return faults


def missing_parameters(text: str) -> list[str]:
    """Dotted parameters that params.yaml lacks; `model.cross_attention*` stands for several, and
    what is called, `model.segment(frames)`, is Python.
    """
    parameters = yaml.safe_load(text_of(ROOT / "params.yaml"))
    sections = "|".join(name for name in parameters if name != "datasets")
    faults = []
    for name in re.findall(rf"(?<![\w./])(?:{sections})(?:\.[a-z_]+)+\b(?![\w/(])\*?", text):
        *parents, last = name.split(".")
        part = functools.reduce(lambda node, key: (node or {}).get(key), parents, parameters)
        known = fnmatch.filter(part or {}, last)
        if not known and last not in SUFFIXES:
            faults.append(name)
    return faults


def _spec(name: str):
    try:
        return importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return None


def long_lines(text: str) -> list[str]:
    """Lines over 100 columns that are neither of a table nor long because of one link."""
    return [
        f"line {number}: {line[:60]}..."
        for number, line in enumerate(text.splitlines(), 1)
        if len(re.sub(r"<?https?://\S+", "", line)) > COLUMNS and not TABLE.search(line)
    ]


# A changelog may name what has gone since.
@pytest.mark.parametrize(
    "path", [path for path in DOCUMENTS if path.name != "CHANGELOG.md"], ids=name_of
)
def test_documents_name_what_exists(path):
    text = text_of(path)
    assert missing_files(text, path.parent) == []
    assert missing_modules(text) == []
    assert missing_parameters(text) == []


@pytest.mark.parametrize("path", [*DOCUMENTS, *SETTINGS], ids=name_of)
def test_prose_keeps_to_100_columns(path):
    assert long_lines(text_of(path)) == []


def test_the_checks_find_what_they_are_for():
    assert missing_files("see `src/losh/params.py`, docs/design.md", ROOT) == []
    assert missing_files("see `model/mttr.py` and `src/losh/mttr.py`", ROOT) == ["src/losh/mttr.py"]
    assert missing_files("[page](docs/no.md)", ROOT) == ["docs/no.md", "docs/no.md"]
    assert missing_modules("losh.errors.UserError, losh.runtime.files, losh.frames") == []
    assert missing_modules("losh.files.atomic_write, losh.errors.Mend") == [
        "losh.errors.Mend",
        "losh.files.atomic_write",
    ]
    assert missing_parameters("`train.epochs`, model.cross_attention*, `train.zip`") == []
    assert missing_parameters("`train.epocs=8` and flow.losses.focal") == [
        "train.epocs",
        "flow.losses.focal",
    ]
    assert long_lines("x" * 100) == [] and len(long_lines("word " * 21)) == 1
    assert (
        long_lines("| " + "cell | " * 30) == [] and long_lines("a https://e.org/" + "x" * 99) == []
    )


def test_the_table_of_tests_is_whole():
    specification = importlib.util.spec_from_file_location(
        "list_tests", ROOT / "scripts" / "list_tests.py"
    )
    list_tests = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(list_tests)
    text = text_of(list_tests.PAGE)
    assert text == list_tests.page(text), "run `python scripts/list_tests.py`"


def test_hooks_use_the_locked_ruff():
    locked = re.search(r"^ruff==(\S+)", text_of(ROOT / "requirements.lock"), re.MULTILINE).group(1)
    assert f"rev: v{locked}\n" in text_of(ROOT / ".pre-commit-config.yaml")


def test_make_help_lists_every_target():
    makefile = text_of(ROOT / "Makefile")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE).group(1).split()
    described = re.findall(r"^([a-z-]+):.*## \S", makefile, re.MULTILINE)
    assert sorted(described) == sorted(phony)
