"""What the demo's page shows of one try: playable videos, each stream's masks, numbers, a zip."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

import losh
from losh.demo.limits import Limits
from losh.demo.tryout import Shown, short_text_of, spoken, try_out
from losh.errors import UserError

SENTENCE = "the large red square that moves left"


@pytest.fixture(scope="module")
def model(untrained: Path) -> losh.Model:
    return losh.load(untrained, device="cpu", settings=losh.Settings("mean", 0.49))


@pytest.fixture(scope="module")
def shown(model: losh.Model, clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Shown:
    folder, done = tmp_path_factory.mktemp("results"), []
    said = spoken(model, SENTENCE, "the square")
    shown = try_out(model, clip, said, folder, Limits(), lambda t, of: done.append((t, of)))
    assert done == [(t, 6) for t in range(1, 7)]
    assert sorted(path.name for path in folder.iterdir()) == [
        "masks.zip",
        "overlay.mp4",
        "streams.mp4",
    ]
    return shown


def test_the_videos_play_in_a_browser(shown: Shown):
    for path, width in ((shown.overlay, 80), (shown.streams, 3 * 480 + 2 * 4)):
        with av.open(str(path)) as video:
            stream = video.streams.video[0]
            assert (stream.codec.name, stream.pix_fmt) == ("h264", "yuv420p")
            assert stream.width == width and sum(1 for _ in video.decode(stream)) == 6


def test_the_streams_are_those_of_the_joint_mask(model: losh.Model, clip: Path):
    """The long stream alone is what the rule `long` gives, where both choose one query; and the
    joint probability is the mean, so a pixel in both is in it, and one in neither is not.
    """
    found = list(model.stream(clip, SENTENCE, short="the square", streams=True))
    assert all(one.streams is not None and one.streams.shape == (1, 2, 64, 80) for one in found)
    long, short = np.stack([one.streams[0] for one in found], 1)
    joint = np.stack([one.masks[0] for one in found])
    assert not (long & short & ~joint).any() and not (joint & ~long & ~short).any()
    assert (long != short).any() and (long != joint).any() and (short != joint).any()
    assert all(one.streams is None for one in model.stream(clip, SENTENCE, short="the square"))


def test_the_rule_long_has_one_stream_which_is_the_mask(untrained: Path, clip: Path):
    model = losh.load(untrained, device="cpu", settings=losh.Settings(rule="long"))
    for one in model.stream(clip, SENTENCE, short="the square", streams=True):
        assert one.streams is not None and np.array_equal(one.streams[:, 0], one.masks)


def test_the_zip_holds_the_masks_and_names_no_folder_of_this_machine(
    shown: Shown, model: losh.Model, clip: Path
):
    wanted = model.segment(clip, SENTENCE, short="the square")
    with zipfile.ZipFile(shown.archive) as archive:
        names = [f"masks/{t:05d}.png" for t in range(6)]
        assert {*names, "masks.json", "scores.json"} <= {*archive.namelist()}
        for mask, name in zip(wanted, names, strict=True):
            png = np.asarray(Image.open(io.BytesIO(archive.read(name))))
            assert np.array_equal(png > 0, mask)
        scores = json.loads(archive.read("scores.json"))
        assert scores["clip"] == "six.mp4"
        assert scores["said"] == [{"sentence": SENTENCE, "short": "the square"}]
    assert [row.score for row in shown.rows] == pytest.approx(
        [frame["scores"][0] for frame in scores["frames"]], abs=1e-4
    )
    assert [row.covered["joint"] for row in shown.rows] == pytest.approx(
        [100 * mask.mean() for mask in wanted]
    )
    assert {*shown.rows[0].covered} == {"long", "short", "joint"}
    assert [row.time for row in shown.rows] == pytest.approx([t / 25 for t in range(6)])


def test_the_short_text_is_made_unless_a_person_wrote_it(model: losh.Model):
    made = short_text_of(model, SENTENCE)
    assert made == "the large red square"
    assert spoken(model, SENTENCE, None).short == spoken(model, SENTENCE, " ").short == made
    assert spoken(model, SENTENCE, " a square ").short == "a square"
    assert short_text_of(model, " ") == ""


@pytest.mark.parametrize(
    ("sentence", "short", "told"),
    [
        ("", None, "the sentence is empty"),
        ("12 ?!", None, "no word in the sentence"),
        ("the red car. the blue car", None, "several sentences"),
        (SENTENCE, "...", "no word in the short text '...'"),
    ],
)
def test_a_slip_is_one_line_that_names_no_option(model: losh.Model, sentence, short, told):
    with pytest.raises(UserError, match=told) as error:
        spoken(model, sentence, short)
    assert "\n" not in str(error.value) and "--" not in str(error.value)


def test_a_word_that_the_weights_never_read_is_noted(model, clip, tmp_path):
    shown = try_out(
        model, clip, spoken(model, "the zebra", "zebra"), tmp_path, Limits(), lambda t, of: None
    )
    assert 'never seen "zebra"' in shown.notes[1]
