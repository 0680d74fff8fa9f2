"""The pages of docs/: every link and anchor leads somewhere, the index and the side bar of the site
have every page, and the picture of the stages is that of dvc.yaml.
"""

from __future__ import annotations

import html
import importlib.util
import re
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
INDEX = ROOT / "docs" / "index.md"
PAGES = sorted((ROOT / "docs").rglob("*.md"))
LINK = re.compile(r"!?\[[^\]]*\]\(((?!https?:|mailto:)[^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
LINES = re.compile(r"L(\d+)")


def module(path: Path) -> ModuleType:
    """Load a Python file that is in no package."""
    specification = importlib.util.spec_from_file_location(path.stem, path)
    loaded = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(loaded)
    return loaded


def anchors(text: str) -> set[str]:
    """Names of a page's headings, as hosts of repositories (and MyST) make them."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in HEADING.findall(FENCED.sub("", text)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        name = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        found.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return found


def dead_links(text: str, folder: Path, itself: str = "") -> list[str]:
    """Links to files that are not there, to headings that no page has, to lines beyond a file."""
    dead = []
    for link in LINK.findall(FENCED.sub("", text)):
        path, _, anchor = link.partition("#")
        target = folder / (path or itself)
        if not target.exists():
            dead.append(link)
        elif anchor and target.suffix == ".md":
            if anchor not in anchors(target.read_text(encoding="utf-8")):
                dead.append(link)
        elif anchor:
            line = LINES.fullmatch(anchor)
            count = len(target.read_text(encoding="utf-8").splitlines())
            if not line or not 1 <= int(line[1]) <= count:
                dead.append(link)
    return dead


@pytest.mark.parametrize(
    "path", [*sorted(ROOT.glob("*.md")), *PAGES], ids=lambda path: str(path.relative_to(ROOT))
)
def test_every_link_and_anchor_leads_somewhere(path):
    assert dead_links(path.read_text(encoding="utf-8"), path.parent, path.name) == []


def test_dead_links_are_found(tmp_path):
    (tmp_path / "a.md").write_text("# One `word`, two\n# Twice\n# Twice\n```\n# no heading\n```\n")
    (tmp_path / "b.py").write_text("1\n2\n")
    good = "[x](a.md) [x](a.md#one-word-two) [x](a.md#twice-1) ![x](b.py#L2) [x](#here)\n# Here\n"
    (tmp_path / "c.md").write_text(good)
    assert dead_links(good, tmp_path, "c.md") == []
    bad = ["no.md", "a.md#three", "a.md#no-heading", "b.py#L3", "b.py#word", "#there"]
    assert dead_links("".join(f"[x]({link}) " for link in bad), tmp_path, "c.md") == bad


def test_the_index_and_the_side_bar_have_every_page_once():
    source = [INDEX.read_text(encoding="utf-8")]
    module(ROOT / "docs" / "conf.py").add_side_bar(None, "docs/index", source)
    listed = [
        line
        for block in re.findall(r"```\{toctree\}\n(.*?)```", source[0], re.DOTALL)
        for line in block.splitlines()
        if line and not line.startswith(":")
    ]
    pages = [path.relative_to(INDEX.parent).with_suffix("").as_posix() for path in PAGES]
    outside = ["../README", "../CONTRIBUTING", "../CHANGELOG", "../tests/README"]
    assert sorted(listed) == sorted({*pages, *outside} - {"index"})


def test_the_picture_of_the_stages_is_that_of_dvc_yaml():
    drawing = module(ROOT / "scripts" / "draw_stages.py")
    svg = drawing.PICTURE.read_text(encoding="utf-8")
    titles = {html.unescape(title) for title in re.findall(r"<title>(.+?)</title>", svg)}
    expected = {*drawing.stages(), *(f"{one}->{other}" for one, other in drawing.edges())}
    assert {title for title in titles if title != "%3"} == expected, (
        "run `python scripts/draw_stages.py`"
    )
