"""A user's own folder: every fault is one line with its file and row, and what is whole is read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from losh.cli import main
from losh.datasets import open_reader
from losh.datasets.folder.check_folder import check_folder
from losh.datasets.folder.video_files import read_frames
from losh.download import download
from losh.errors import UserError
from losh.frames.packing import pack_video
from losh.media.natural_order import natural
from losh.params import FolderParams, FramesParams
from losh.testing.dataset_fixtures import write_video
from losh.testing.own_folder_fixture import ROWS, clip_of, make_own_folder, write_rows


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_own_folder(tmp_path_factory.mktemp("own") / "own")


@pytest.fixture
def own(whole: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    shutil.copytree(whole, tmp_path / "own")
    return tmp_path / "own"


def faults_of(root: Path) -> list[str]:
    return [fault.text() for fault in check_folder(root).faults]


def with_row(line: str) -> Callable[[Path], None]:
    """Breaks a folder by one more row, its sixth line."""
    return lambda root: write_rows(root, *ROWS, line)


def with_header(line: str) -> Callable[[Path], None]:
    return lambda root: write_rows(root, line, *ROWS[1:])


def with_file(name: str, data: bytes) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)

    return write


def without(name: str) -> Callable[[Path], None]:
    def remove(root: Path) -> None:
        path = root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return remove


def with_mask(name: str, mode: str, size: tuple[int, int]) -> Callable[[Path], None]:
    return lambda root: Image.new(mode, size).save(root / "masks" / name)


def with_runs(change: Callable[[dict], None]) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        frames = json.loads((root / "masks/ride.json").read_text())
        change(frames)
        (root / "masks/ride.json").write_text(json.dumps(frames))

    return write


def encoded(encoding: str) -> Callable[[Path], None]:
    text = "\n".join((*ROWS, "walk,the café,1,train,")) + "\n"
    return lambda root: (root / "expressions.csv").write_bytes(text.encode(encoding))


def cut_in_half(name: str) -> Callable[[Path], None]:
    def cut(root: Path) -> None:
        data = (root / name).read_bytes()
        (root / name).write_bytes(data[: len(data) // 2])

    return cut


TABLE = [
    (without("expressions.csv"), "expressions.csv: cannot be read (No such file or directory)"),
    (encoded("latin-1"), "expressions.csv:6: is not UTF-8 (byte 0xe9 in column 13)"),
    (encoded("utf-16"), "expressions.csv: is UTF-16; save it as CSV UTF-8"),
    (with_file("expressions.csv", b""), "expressions.csv:1: has no column video; the columns are"),
    (with_header(ROWS[0].replace("split", "set")), "expressions.csv:1: has no column split"),
    (
        with_header(ROWS[0].replace("object", "objct")),
        "expressions.csv:1: has an unknown column 'objct'; object?",
    ),
    (with_header(f"{ROWS[0]},split"), "expressions.csv:1: has two columns split"),
    (
        with_header(ROWS[0].replace(",", ";")),
        "expressions.csv:1: has its columns separated by semicolons",
    ),
    (lambda root: write_rows(root, ROWS[0]), "expressions.csv: has no row after its header"),
    (with_row("walk,the disc, round,1,train,"), "expressions.csv:6: has 6 columns, not 5"),
    (with_row('walk,"the disc,1,train,'), "expressions.csv:6: has a quotation mark"),
    (with_row(",the disc,1,train,"), "expressions.csv:6: names no video"),
    (with_row("walk,12 ?!,1,train,"), "expressions.csv:6: has an expression without a letter"),
    (with_row("walk,a disc,1,train,-"), "expressions.csv:6: has a short expression without a"),
    (with_row("walk,a disc,1,vaild,"), "expressions.csv:6: has an unknown split 'vaild'; valid?"),
    (with_row("walk,a disc,1,,"), "expressions.csv:6: has an unknown split ''; it is one of"),
    (
        with_row("walk,the green disc,2,train,"),
        "expressions.csv:6: says the same as line 3",
    ),
    (
        with_row("walk.mp4,the disc,2,test,"),
        "expressions.csv:6: puts the video 'walk' in test, but line 2 in train",
    ),
    (
        with_row("wlak,the disc,1,train,"),
        "expressions.csv:6: names the video 'wlak', which videos/ lacks; walk?",
    ),
    (
        with_row("walk,the disc,7,train,"),
        "expressions.csv:6: means object '7', which no mask of 'walk' shows (objects: 1, 2)",
    ),
    (
        with_row("walk,the disc,,train,"),
        "expressions.csv:6: names no object, and the masks of 'walk' show 1, 2",
    ),
]
FILES = [
    (without("videos"), "expressions.csv:2: names the video 'walk', which videos/ lacks"),
    (without("masks/walk"), "expressions.csv:2: has a video without masks"),
    (cut_in_half("videos/walk.mp4"), "videos/walk.mp4: "),
    (with_file("videos/walk.mp4", b"no video"), "videos/walk.mp4: does not decode (Invalid data"),
    (with_file("videos/ride/10.jpg", b"no picture"), "videos/ride/10.jpg: does not decode as an"),
    (with_file("videos/ride/10.jpg", b""), "videos/ride/10.jpg: is empty"),
    (with_file("videos/ride/10.png", b"x"), "videos/ride: holds two frames called 10"),
    (
        lambda root: Image.new("RGB", (8, 6)).save(root / "videos/ride/2.png"),
        "videos/ride/2.png: is 8 x 6, but the first frame is 64 x 48",
    ),
    (
        lambda root: [path.unlink() for path in (root / "videos/ride").iterdir()],
        "videos/ride: holds no .jpg or .png frame",
    ),
    (
        with_file("videos/walk.avi", b"x"),
        "expressions.csv:2: may mean videos/walk.avi and videos/walk.mp4; rename one",
    ),
    (
        with_mask("walk/00001.png", "P", (48, 64)),
        "masks/walk/00001.png: is 48 x 64, but the video is 64 x 48",
    ),
    (
        with_mask("walk/00004.png", "P", (64, 48)),
        "masks/walk/00004.png: is beyond the video's end: its frames are 0 to 3, counted from 0",
    ),
    (
        with_mask("walk/first.png", "P", (64, 48)),
        "masks/walk/first.png: is not named by the number of a frame",
    ),
    (with_mask("walk/1.png", "P", (64, 48)), "masks/walk/1.png: is a second mask of frame 1"),
    (with_mask("walk/00001.png", "RGB", (64, 48)), "masks/walk/00001.png: has the mode RGB"),
    (with_file("masks/walk/00001.png", b"x"), "masks/walk/00001.png: does not decode (cannot"),
    (with_file("masks/walk/00001.jpg", b"x"), "masks/walk/00001.jpg: is no PNG"),
    (with_file("masks/walk.json", b"{}"), "masks/walk: and walk.json are both there; keep one"),
    (with_file("masks/ride.json", b"{"), "masks/ride.json: is not JSON in UTF-8"),
    (with_file("masks/ride.json", b"[]"), 'masks/ride.json: is not {"<frame>": {"<object>"'),
    (
        with_runs(lambda frames: frames.update({"12": {}})),
        "masks/ride.json: frame '12' has the name of no frame in videos/ride",
    ),
    (
        with_runs(lambda frames: frames["2"].update({"255": frames["2"]["1"]})),
        "masks/ride.json: frame '2', object '255' cannot be called so",
    ),
    (
        with_runs(lambda frames: frames["2"]["1"].update(size=[64, 48])),
        "masks/ride.json: frame '2', object '1' is 48 x 64, but the video is 64 x 48",
    ),
    (
        with_runs(lambda frames: frames["2"]["1"].update(counts=frames["2"]["1"]["counts"][:-3])),
        "masks/ride.json: frame '2', object '1' has run lengths of ",
    ),
    (
        with_runs(lambda frames: frames["2"].update({"1": "what"})),
        "masks/ride.json: frame '2', object '1' is not {\"size\": [H, W]",
    ),
]


@pytest.mark.parametrize(("break_it", "expected"), TABLE + FILES)
def test_a_fault_is_one_line_with_its_place(own, break_it, expected):
    break_it(own)
    found = faults_of(own)
    assert found and found[0].startswith(expected)
    assert all("\n" not in line and str(own) not in line for line in found)


def test_all_faults_are_told_at_once_and_many_of_one_kind_are_cut(own, capsys):
    with_row("walk,?,1,train,")(own)
    for t in range(4):
        with_mask(f"walk/0000{t}.png", "RGB", (64, 48))(own)
        with_mask(f"walk/1000{t}.png", "RGB", (64, 48))(own)
    with pytest.raises(SystemExit) as stopped:
        main(["check-data", str(own)])
    lines = capsys.readouterr().out.splitlines()
    assert stopped.value.code == 1
    assert lines[0].startswith(f"{own}/expressions.csv:6: ") and len(lines) == 8
    assert f"{own}/masks/walk: has 3 more faults" in lines
    assert lines[-1].endswith("9 faults")


def test_a_whole_folder_ends_with_its_counts_and_exit_code_0(own, capsys):
    main(["check-data", str(own)])
    assert capsys.readouterr().out == (
        "3 videos, 4 expressions, 4 objects; train: 1 video, 2 expressions, 2 objects; "
        "test: 2 videos, 2 expressions, 2 objects; 0 faults\n"
    )


def test_what_is_no_folder_is_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["check-data", str(tmp_path / "nowhere")])
    error = capsys.readouterr().err
    assert stopped.value.code == 1 and error.count("\n") == 1 and "nowhere does not exist" in error


def test_what_does_no_harm_is_a_note(own):
    encoded("utf-8-sig")(own)
    write_video(own / "videos/spare.mp4", clip_of("walk").frames)
    with_file("masks/other.json", b"{}")(own)
    checked = check_folder(own)
    assert not checked.faults
    assert [note.text() for note in checked.notes] == [
        "expressions.csv:1: begins with a byte-order mark, as Excel writes it; it is passed over",
        "videos/spare.mp4: is named by no row",
        "masks/other.json: belongs to no video",
    ]


def test_one_frame_without_a_mask_is_noted_where_all_others_have_one(own):
    (own / "masks/jump/3.png").unlink()
    (note,) = check_folder(own).notes
    assert note.text().startswith("masks: covers 3 of 4 frames of 'jump'; J and F need all frames")


def test_a_header_that_is_not_utf8_is_the_one_fault(own):
    with_file("expressions.csv", b"vid\xe9o,expression,split\nwalk,a disc,train\n")(own)
    (fault,) = faults_of(own)
    assert fault.startswith("expressions.csv:1: is not UTF-8 (byte 0xe9 in column 4)")


def test_numbers_in_names_count_as_numbers():
    assert sorted(["10.jpg", "2.jpg", "A1.jpg", "a10.jpg", "a2.jpg"], key=natural) == [
        "2.jpg",
        "10.jpg",
        "A1.jpg",
        "a2.jpg",
        "a10.jpg",
    ]


def turned(path: Path) -> None:
    """Note in an mp4 file, as a telephone does, that it is to be turned right by 90 degrees."""
    data = path.read_bytes()
    unit = (1 << 16).to_bytes(4, "big")
    zero, minus = bytes(4), (-(1 << 16)).to_bytes(4, "big", signed=True)
    last = (1 << 30).to_bytes(4, "big")
    plain = unit + zero * 3 + unit + zero * 3 + last
    start = data.index(plain, data.index(b"tkhd"))
    right = zero + unit + zero + minus + zero * 4 + last
    path.write_bytes(data[:start] + right + data[start + len(plain) :])


def test_a_turned_video_is_upright(own):
    turned(own / "videos/walk.mp4")
    frame = next(read_frames(own / "videos/walk.mp4", []))[0]
    expected = np.rot90(clip_of("walk").frames[0], -1)
    assert frame.shape == (64, 48, 3)
    assert np.abs(frame.astype(int) - expected).mean() < 8
    assert faults_of(own)[0].startswith(
        "masks/walk/00000.png: is 64 x 48, but the video is 48 x 64"
    )


def taken(root: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOSH_OWN", str(root))
    download("own", FolderParams(kind="folder"), out)
    return out


@pytest.mark.parametrize(("every", "protocol"), [(1, "youtube_vos"), (2, "a2d")])
def test_the_reader_gives_what_was_drawn(tmp_path, monkeypatch, every, protocol):
    root = make_own_folder(tmp_path / "own", every)
    reader = open_reader(taken(root, tmp_path / "raw", monkeypatch))
    videos = {video.video: video for video in reader.videos()}
    assert reader.protocol == protocol
    assert {video.video: video.split for video in reader.videos()} == {
        "jump": "test",
        "ride": "test",
        "walk": "train",
    }
    assert videos["ride"].frame_names == ("1", "2", "10", "11")
    for name, video in videos.items():
        clip = clip_of(name)
        assert len(list(reader.frames(video))) == 4
        assert video.annotated == tuple(range(0, 4, every))
        for t in video.annotated:
            masks = reader.masks(video, t)
            objects = {"1": 2} if name == "jump" else {"1": 1, "2": 2}
            assert masks.keys() == objects.keys()
            for one, value in objects.items():
                assert (masks[one] == (clip.objects[t] == value)).all()
    texts = [(one.video, one.instance, one.text, one.short_text) for one in reader.expressions()]
    assert texts == [
        ("walk", "1", "the red square moving right", "the red square"),
        ("walk", "2", "the green disc", ""),
        ("ride", "1", "the red square, which moves", ""),
        ("jump", "1", "a green disc that moves left", ""),
    ]


PACKED = FramesParams(window=3, short_side=None, jpeg_quality=95, on_error="stop")


@pytest.mark.parametrize(
    ("video", "file"),
    [("walk", "walk.mp4"), ("ride", "ride/2.png"), ("ride", "ride/1.jpg")],
)
@pytest.mark.parametrize("data", [None, b"", b"x"])
def test_a_file_that_broke_since_has_advice_for_its_owner(
    own, tmp_path, monkeypatch, video, file, data
):
    reader = open_reader(taken(own, tmp_path / "raw", monkeypatch))
    if data is None:
        (own / "videos" / file).unlink()
    else:
        (own / "videos" / file).write_bytes(data)
    (one,) = (one for one in reader.videos() if one.video == video)
    with pytest.raises(UserError, match=file) as caught:  # JPEGs are decoded by who reads
        pack_video(reader, one, PACKED, tmp_path / "packed.zip")
    assert "losh check-data" in str(caught.value) and "published" not in str(caught.value)


def test_absent_objects_and_void_pixels(own, tmp_path, monkeypatch):
    """Of whole videos an absent object is an empty mask; 255 beside other values is void."""
    values = np.zeros((48, 64), np.uint8)
    values[:4], values[10:20] = 255, 2
    Image.fromarray(values).save(own / "masks/walk/00002.png")
    reader = open_reader(taken(own, tmp_path / "raw", monkeypatch))
    video = next(video for video in reader.videos() if video.video == "walk")
    masks = reader.masks(video, 2)
    assert {name: int(mask.sum()) for name, mask in masks.items()} == {
        "1": 0,
        "2": 640,
        "255": 256,
    }


def test_the_stage_and_the_command_agree(own, tmp_path, monkeypatch, capsys):
    with_row("walk,?,1,train,")(own)
    command = [fault.text(str(own)) for fault in check_folder(own).faults]
    with pytest.raises(UserError) as caught:
        taken(own, tmp_path / "raw", monkeypatch)
    message = str(caught.value)
    assert capsys.readouterr().out.splitlines() == command
    assert "\n" not in message and "has 1 fault(s), the first: expressions.csv:6: " in message
    assert "losh check-data" in message and not (tmp_path / "raw/dataset.json").exists()


def test_the_stage_writes_no_path_of_the_machine(own, tmp_path, monkeypatch):
    out = taken(own, tmp_path / "raw", monkeypatch)
    written = {path.name: path.read_text() for path in out.iterdir()}
    assert written.keys() == {
        "dataset.json",
        "expressions.csv",
        "folder.json",
        "manifest.csv",
        "report.txt",
    }
    assert str(tmp_path) not in "".join(written.values())
    assert written["report.txt"].endswith("0 faults\n")


def test_no_folder_says_where_it_belongs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        download("own", FolderParams(kind="folder"), tmp_path / "raw")
    for word in ("data/sources/own", "datasets.own.source", "LOSH_OWN", "docs/own_data.md"):
        assert word in str(caught.value)
