"""Outputs destroy no input and not each other, and what cannot be written is told at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from own_video.made_clips import picture, write_clip

from losh.cli import main
from losh.errors import UserError
from losh.own_video.clip_input import Frame
from losh.own_video.masked_frame import MaskedFrame
from losh.own_video.predict import Files
from losh.own_video.result_files import mask_folder
from losh.own_video.show_flow import show_flow
from losh.testing.tiny_training import tiny_params

RED = "the red square"
OUT = Path("o.mp4")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the clips in.mp4 and frames/."""
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "in.mp4", [picture(32, 48, t) for t in range(3)])
    (tmp_path / "frames").mkdir()
    for t in range(3):
        cv2.imwrite(f"frames/{t:05d}.png", picture(32, 48, t))
    return tmp_path


def write_masks(path: Path, sentences: int = 1, frames: int = 2) -> None:
    """Write black masks as the command does."""
    masks = np.zeros((sentences, 8, 8), bool)
    frame = Frame(np.zeros((8, 8, 3), np.uint8), 0, 1)
    with mask_folder(path, sentences) as add:
        for t in range(frames):
            add(t, MaskedFrame(frame, masks, np.ones(sentences, np.float32)), 0.0)


def contents(root: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None
        for path in sorted(root.rglob("*"))
    }


def link(name: str, to: str) -> Callable[[], None]:
    return lambda: Path(name).symlink_to(to)


def hard_link() -> None:
    os.link("in.mp4", "other.mp4")


def clip_of_masks() -> None:
    """A clip whose images are links to masks of before."""
    write_masks(Path("before"))
    Path("links").mkdir()
    for path in Path("before").iterdir():
        Path("links", path.name).symlink_to(path.absolute())


@pytest.mark.parametrize(
    ("clip", "options", "prepare", "told"),
    [
        ("frames", ["--masks", "frames"], None, "frames is the clip, which --masks"),
        ("frames", ["--masks", "frames/masks"], None, "lies in the clip's folder"),
        ("frames", ["--masks", "."], None, ". contains the clip frames"),
        ("frames", ["--masks", "link"], link("link", "frames"), "link is the clip"),
        ("link", ["--masks", "frames"], link("link", "frames"), "frames is the clip"),
        ("links", ["--masks", "before"], clip_of_masks, "before holds files of the clip"),
        ("before", ["--masks", "before"], clip_of_masks, "before is the clip"),
        ("before/00000.png", ["--masks", "before"], clip_of_masks, "before contains the clip"),
        ("frames", ["--rle", "frames/a/b.json"], None, "b.json lies in the clip's folder"),
        ("frames", ["--scores", "link/b.json"], link("link", "frames"), "lies in the clip's"),
        ("frames", ["-o", "frames/o.mp4"], None, "o.mp4 lies in the clip's folder, which -o"),
        ("in.mp4", ["-o", "in.mp4"], None, "in.mp4 is the clip, which -o"),
        ("in.mp4", ["-o", "frames/../in.mp4"], None, "in.mp4 is the clip"),
        ("in.mp4", ["-o", "link.mp4"], link("link.mp4", "in.mp4"), "link.mp4 is the clip"),
        ("link.mp4", ["-o", "in.mp4"], link("link.mp4", "in.mp4"), "in.mp4 is the clip"),
        ("in.mp4", ["-o", "other.mp4"], hard_link, "other.mp4 is the clip"),
        (
            "in.mp4",
            ["--masks", "frames"],
            None,
            "frames holds other files than masks of `losh predict` (00000.png)",
        ),
        ("in.mp4", ["--masks", "in.mp4"], None, "in.mp4 is a file"),
        ("in.mp4", ["--masks", "a"], link("a", ".."), "a contains the clip"),
        ("in.mp4", ["-o", "m", "--masks", "m"], None, "-o and --masks are both m"),
        ("in.mp4", ["--masks", "o.mp4"], None, "-o and --masks are both o.mp4"),
        ("in.mp4", ["--rle", "o.json", "--scores", "./a/../o.json"], None, "--rle and --scores"),
        ("in.mp4", ["--rle", "m/o.json", "--masks", "m"], None, "--rle m/o.json lies in --masks m"),
        ("in.mp4", ["-o", "/proc/x/o.mp4"], None, "/proc/x/o.mp4 cannot be written"),
        ("in.mp4", ["--masks", "/proc/x/m"], None, "/proc/x/m cannot be written"),
        ("in.mp4", ["--rle", "frames/00000.png/o.json"], None, "00000.png is no folder"),
        ("in.mp4", ["-o", "a/o.mp4"], link("a", "nowhere"), "a is no folder"),
        ("in.mp4", ["-o", "x" * 252 + ".mp4"], None, "cannot be written (File name too long)"),
    ],
)
def test_it_is_refused_in_one_line_before_any_work(here, capsys, clip, options, prepare, told):
    if prepare:
        prepare()
    before = contents(here)
    with pytest.raises(SystemExit) as end:  # no model is there, which is told after the outputs
        main(["predict", clip, RED, "-o", str(OUT), *options, "--model", "none.safetensors"])
    said = capsys.readouterr().err
    assert end.value.code == 1 and said.count("\n") == 1 and told in said
    assert contents(here) == before


def test_what_harms_nothing_is_taken_and_leaves_nothing(here):
    write_masks(Path("before"), 2)
    Path("last").symlink_to("before")
    before = contents(here)
    for clip in ("in.mp4", "frames", "none.mp4"):
        for masks in ("before", "last", "new", "some/where/new"):
            Files(OUT, Path(masks), Path("some/m.json"), Path("s.json")).check(Path(clip))
    Files(Path("in2.mp4"), Path("frames2")).check(Path("frames"))
    assert contents(here) == before


def test_a_place_that_only_looks_open_is_found_by_writing(here, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_, **__: True)
    for place in ("/proc", "/sys"):
        with pytest.raises(UserError, match="cannot be written"):
            Files(Path(place, "o.mp4")).check(Path("in.mp4"))


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_a_closed_folder_is_told(here):
    Path("closed").mkdir(mode=0o500)
    with pytest.raises(UserError, match=r"closed/o.mp4 cannot be written \(Permission denied\)"):
        Files(Path("closed/o.mp4")).check(Path("in.mp4"))


def test_a_mounted_disk_cannot_be_replaced(here, monkeypatch):
    Path("disk").mkdir()
    monkeypatch.setattr("os.path.ismount", lambda path: Path(path).name == "disk")
    with pytest.raises(UserError, match="disk is a mounted disk"):
        Files(OUT, Path("disk")).check(Path("in.mp4"))


@pytest.mark.parametrize("name", ["00007.png", "1/00007.png", "notes.txt", "1/.hidden", "2/a/x"])
def test_a_folder_with_anything_but_our_masks_is_refused(here, name):
    """A black and white PNG with a name like ours may be an annotation."""
    write_masks(Path("m"), 2)
    Path("m", name).parent.mkdir(exist_ok=True)
    cv2.imwrite("mask.png", np.zeros((8, 8), np.uint8))
    Path("m", name).write_bytes(Path("mask.png").read_bytes())
    with pytest.raises(UserError, match="holds other files than masks") as caught:
        Files(OUT, Path("m")).check(Path("in.mp4"))
    assert name.removesuffix("/x") in str(caught.value)


def test_a_file_that_came_during_the_work_stays(here):
    write_masks(Path("m"))
    with pytest.raises(UserError, match=r"notes\.txt"), mask_folder(Path("m"), 1):
        Path("m/notes.txt").write_text("mine")
    assert Path("m/notes.txt").read_text() == "mine"
    assert not list(here.glob(".part-*"))


def test_masks_are_plain_pngs_and_replace_what_a_link_leads_to(here):
    write_masks(Path("m"), frames=4)
    Path("link").symlink_to("m")
    write_masks(Path("link"), frames=2)
    assert Path("link").is_symlink()
    assert [path.name for path in sorted(Path("m").iterdir())] == ["00000.png", "00001.png"]
    assert cv2.imread("m/00001.png", cv2.IMREAD_UNCHANGED).shape == (8, 8)


def test_the_flow_of_a_clip_spares_the_clip(here):
    before = contents(here)
    with pytest.raises(UserError, match=r"in\.mp4 is the clip"):
        show_flow(Path("in.mp4"), Path("in.mp4"), tiny_params().flow)
    assert contents(here) == before
