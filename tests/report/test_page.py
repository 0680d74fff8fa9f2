"""The report: one self-contained page whose numbers are the metrics', whatever is missing."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import pytest
from report.made_by_hand import (
    JF,
    NASTY,
    NO_SAMPLE,
    SCORES,
    Page,
    add_cases,
    add_plots,
    add_short_text,
    add_training,
    make_root,
    page_of,
)

from losh.commands.summary import print_summary
from losh.errors import UserError
from losh.params import load_params
from losh.report.scores import numbers
from losh.runtime.files import write_json
from losh.runtime.measured import Measured

LOADS = {"src", "href", "xlink:href", "srcset", "poster", "data", "action", "background"}
"""Attributes that name what a browser fetches."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with all kinds of dataset and nothing missing, and its page."""
    root = tmp_path_factory.mktemp("whole")
    params = make_root(root, SCORES)
    for name in SCORES:
        add_plots(root, name)
    add_cases(root, "moving_shapes")
    add_short_text(root, "moving_shapes")
    add_training(root)
    record = Measured("train", 640.04, 1371, 2048, 2, "GPU <1>, 16 cores")
    write_json(root / "scratch/stages/train.json", vars(record))
    return root, page_of(root, params)


def test_it_needs_no_other_file_and_no_network(whole):
    text = whole[1]
    page = Page(text)
    assert "http" not in text and "//" not in re.sub(r"base64,[^\"]*", "", text)
    for tag, name, value in page.attributes:
        if name in LOADS:
            assert value.startswith(("data:", "#")), (tag, name, value[:80])
    assert "@import" not in text and set(re.findall(r"url\((.)", text)) <= {"#"}
    assert "script" not in page.tags and page.tags.count("img") == 8


@pytest.mark.parametrize("name", list(SCORES))
def test_every_score_of_every_dataset_is_on_it(name, tmp_path):
    page = Page(page_of(tmp_path, make_root(tmp_path, {name: SCORES[name]})))
    expected = {key: f"{value:.4f}" for key, value in numbers(SCORES[name]).items()}
    assert len(expected) >= 3
    kinds = SCORES[name].get("kinds", {})
    expected |= {f"kinds.{kind}.mean_iou": f"{v['mean_iou']:.4f}" for kind, v in kinds.items()}
    assert page.cells == expected
    words = " ".join(page.text)
    splits = [value for value in SCORES[name].values() if isinstance(value, dict)]
    for value in [SCORES[name], *splits, *kinds.values()]:
        if bounds := value.get("mean_iou_interval"):
            assert f"({bounds['low']:.4f}, {bounds['high']:.4f})" in words
    for trivial in [
        *SCORES[name].get("trivial", {}).values(),
        *(k["trivial"] for k in kinds.values()),
    ]:
        assert all(f"{value:.4f}" in page.text for value in trivial.values())
    assert f"{SCORES[name]['samples']} samples" in words


def test_pictures_are_the_very_files(whole):
    root, text = whole
    found = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', text)
    folder = root / "data/evaluate/moving_shapes/cases"
    cases = json.loads((folder / "cases.json").read_text())
    assert [base64.b64decode(one) for one in found] == [
        (folder / tile["file"]).read_bytes() for case in cases for tile in case["tiles"]
    ]
    assert "IoU 0.123" in text and "place or relation" in text


def test_what_people_wrote_is_text_and_no_markup(whole):
    page = Page(whole[1])
    assert "b" not in page.tags and page.tags.count("table") == whole[1].count("</table>")
    assert page.text.count(NASTY) == 3  # two cases, one short text
    assert "v<1>, frame 4, place or relation" in "".join(page.text)
    assert "GPU <1>, 16 cores" in page.text


def test_short_texts_are_counted_by_step(whole):
    words = Page(whole[1]).text
    steps = words[words.index("Short texts, by the step that made them") :]
    assert steps[5:7] == ["whole", "2 (66.7 %)"] and "1 (33.3 %)" in steps


def test_training_and_stages(whole):
    page = Page(whole[1])
    assert page.cells["train.best_epoch"] == "2" and page.cells["train.loss.total"] == "29.0347"
    labels = {value for tag, name, value in page.attributes if name == "aria-label"}
    # The loss of the first decoder layer alone is left out, as in curves.png.
    assert {"loss.total", "loss.dice", "validation"} <= labels and "loss.dice_0" not in labels
    assert {"640.0 s", "1371 MB", "2048 MB"} <= set(page.text)


def test_the_same_inputs_give_the_same_bytes(whole):
    root, text = whole
    assert page_of(root, load_params(root / "params.yaml")) == text


def test_identifiers_are_unique_and_each_is_found(whole):
    attributes = Page(whole[1]).attributes
    ids = [value for _, name, value in attributes if name == "id"]
    links = {value[1:] for _, name, value in attributes if name == "href" and value[0] == "#"}
    assert links <= set(ids)
    assert len([one for one in ids if one.startswith(("dataset", "training", "stages"))]) == 9


def test_a_dataset_without_a_sample(tmp_path):
    params = make_root(tmp_path, {"refer_youtube_vos": NO_SAMPLE})
    (tmp_path / "metrics/plots/refer_youtube_vos").mkdir(parents=True)
    for name, head in (("precision", "threshold,precision"), ("iou_histogram", "iou,count")):
        (tmp_path / f"metrics/plots/refer_youtube_vos/{name}.csv").write_text(head + "\n")
    page = Page(page_of(tmp_path, params))
    words = " ".join(page.text)
    assert "0 samples, 3 skipped" in words and "No sample could be scored" in words
    assert "table" not in page.tags and "svg" not in page.tags
    assert "nothing was trained here" in words and "No stage has run" in words


def test_a_given_checkpoint_is_named(tmp_path):
    params = make_root(tmp_path, {"a2d_sentences": JF | NO_SAMPLE}, evaluate__checkpoint="<x>.pt")
    add_training(tmp_path)
    page = Page(page_of(tmp_path, params))
    assert page.text.count("<x>.pt") == 2  # at the top, and beside curves that are not its own
    assert "b" not in page.tags


def test_a_dataset_that_was_not_evaluated_is_named(tmp_path):
    params = make_root(
        tmp_path, {name: SCORES[name] for name in ("a2d_sentences", "refer_davis17")}
    )
    (tmp_path / "metrics/eval/refer_davis17.json").unlink()
    page = Page(page_of(tmp_path, params))
    assert "dvc repro evaluate@refer_davis17" in page.text
    (tmp_path / "metrics/eval/a2d_sentences.json").unlink()
    with pytest.raises(UserError, match=r"no dataset has been evaluated\. Run `dvc repro`"):
        page_of(tmp_path, params)


def test_the_summary_ends_with_where_it_is(whole, tmp_path, capsys):
    print_summary(whole[0] / "metrics")
    assert capsys.readouterr().out.strip().endswith("metrics/report/index.html")
    print_summary(tmp_path)
    assert "index.html" not in capsys.readouterr().out
