"""The short texts on a phone, in a real browser: whole sentences one above the other, each with its
label; on a wide screen and on paper they are a table. Skipped where there is no Chromium.
"""

from __future__ import annotations

from typing import Any

import pytest
from report.made_by_hand import add_short_text, make_root, page_of

PHONE, DESKTOP = (390, 844), (1280, 900)
LONG, COUNT = "td[data-label=long]", "td[data-label=expressions]"


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("narrow")
    params = make_root(root, {"folder": {"samples": 0, "skipped": 0}})
    add_short_text(root, "folder")
    with (root / "data/short_text/folder.csv").open("a") as file:
        words = "the large dog on the left of " * 5
        file.write(f"test,v,{words},the large dog,a_step_with_a_name_that_is_long+position\n")
    return page_of(root, params)


def opened(browser: Any, text: str, size: tuple[int, int], medium: str = "screen") -> Any:
    page = browser.new_page(viewport={"width": size[0], "height": size[1]})
    page.emulate_media(media=medium)
    page.set_content(text)
    return page


def shown_as(page: Any, selector: str) -> str:
    return page.locator(selector).first.evaluate("e => getComputedStyle(e).display")


def label(page: Any, selector: str) -> str:
    script = "e => getComputedStyle(e, '::before').content"
    return page.locator(selector).first.evaluate(script).strip('"').strip()


def test_on_a_phone_each_sentence_has_the_width(browser, text):
    page = opened(browser, text, PHONE)
    for cell in page.locator(".examples td:not(.number)").all():
        assert cell.bounding_box()["width"] > 340
    for name in ("long", "short", "expressions"):
        assert label(page, f"td[data-label={name}]") == name
    assert shown_as(page, ".examples thead") == "none"
    # Nothing hides beyond the edge, however long a step's name is.
    assert page.evaluate("document.querySelector('.examples').parentElement.scrollWidth") <= 358
    step, count, long = (
        page.locator(one).first.bounding_box() for one in (".examples th[scope]", COUNT, LONG)
    )
    assert step["x"] == long["x"] < count["x"] and max(step["y"], count["y"]) < long["y"]
    page.close()


@pytest.mark.parametrize(
    ("size", "medium"), [(DESKTOP, "screen"), (DESKTOP, "print"), (PHONE, "print")]
)
def test_elsewhere_they_are_a_table(size, medium, browser, text):
    page = opened(browser, text, size, medium)
    assert shown_as(page, LONG) == "table-cell" and label(page, LONG) == "none"
    assert shown_as(page, ".examples thead") == "table-header-group"
    page.close()
