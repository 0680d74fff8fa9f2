"""docs/tour.md, a training step in ten stops: every anchor names the line that it says it does, and
the walk opens at most fifteen files.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOUR = (ROOT / "docs" / "tour.md").read_text(encoding="utf-8")
ANCHOR = re.compile(
    r"^\* \[`([^`:]+):(\d+)`\]\(\.\./([^)#]+)#L(\d+)\):\n  `([^`]+)`$", re.MULTILINE
)


def test_every_anchor_is_where_it_says():
    anchors = ANCHOR.findall(TOUR)
    assert len(anchors) == TOUR.count("\n* ")
    wrong = []
    for path, line, linked, linked_line, code in anchors:
        assert (path, line) == (linked, linked_line)
        lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
        if code not in lines[int(line) - 1]:
            places = [number for number, text in enumerate(lines, 1) if code in text]
            wrong.append(f"{path}:{line} is not `{code}`; it is on {places}")
    assert not wrong, "\n".join(wrong)


def test_it_has_ten_stops_and_opens_at_most_fifteen_files():
    assert re.findall(r"^## (\d+)\. ", TOUR, re.MULTILINE) == [str(i) for i in range(1, 11)]
    assert len({path for path, *_ in ANCHOR.findall(TOUR)}) <= 15
