"""Write the table of tests/README.md: each file of tests/ and the first paragraph of its docstring.

Run it after a test file was added, moved or given another purpose: `python scripts/list_tests.py`.
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "tests" / "README.md"
HEAD = "| file | shows |\n|---|---|\n"


def purpose(path: Path) -> str:
    """Return the first paragraph of a file's docstring on one line, without its full stop."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split()).rstrip(".").replace("|", "\\|")


def page(text: str) -> str:
    """Return the page with its table, which comes last, made anew."""
    folder = PAGE.parent
    rows = [
        f"| `{path.relative_to(folder)}` | {purpose(path)} |\n"
        for path in sorted(folder.rglob("*.py"))
    ]
    return text[: text.index(HEAD)] + HEAD + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
