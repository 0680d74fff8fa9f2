"""How Sphinx builds the site out of the Markdown pages (`make docs`).

The source folder is the repository's root, so that a link means the same in the site as in the
files. Nothing is fetched, neither when the site is built nor when it is looked at.
"""

import re
from pathlib import Path

project = "LoSh"
root_doc = "docs/index"
extensions = ["myst_parser"]
include_patterns = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "docs/*.md",
    "docs/*/*.md",
    "tests/README.md",
]
# Folders that Sphinx need not walk through.
exclude_patterns = [
    ".*",
    "build",
    "data",
    "metrics",
    "scratch",
    "site",
    "src",
    "tests/[!R]*",
    "tmp",
]

myst_heading_anchors = 4  # as the hosts of repositories make them
nitpicky = True  # a link without a target is a fault

html_theme = "furo"
html_title = "LoSh"
html_copy_source = False
html_show_copyright = False
html_theme_options = {"footer_icons": []}

SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
PAGE = re.compile(r"\]\(([\w./]+)\.md[)#]")  # a link, with or without an anchor


def setup(app):
    """Add to the build: pages of the index are the side bar, and site/index.html leads there."""
    app.connect("source-read", add_side_bar)
    app.connect("build-finished", add_front_door)


def add_side_bar(app, page, source):
    """Add a hidden list of the pages of each section to the index, where they are once already."""
    if page != root_doc:
        return
    seen = {root_doc}
    _, *parts = SECTION.split(source[0])
    for title, text in zip(parts[::2], parts[1::2], strict=True):
        pages = [one for one in dict.fromkeys(PAGE.findall(text)) if one not in seen]
        seen.update(pages)
        listed = "\n".join([":hidden:", f":caption: {title}", "", *pages])
        source[0] += f"\n```{{toctree}}\n{listed}\n```\n"


def add_front_door(app, error):
    """Let the site's folder open at its index."""
    if error is None and app.builder.format == "html":
        front = '<!doctype html><meta http-equiv="refresh" content="0; url=docs/index.html">'
        Path(app.outdir, "index.html").write_text(front + "\n", encoding="utf-8")
