"""Archives from the network: good ones are unpacked whole, bad ones leave nothing."""

import io
import tarfile
import zipfile

import pytest

from losh.download import archives
from losh.download.archives import unpack, unpack_all
from losh.errors import UserError


def make_tar(path, entries, mode="w"):
    with tarfile.open(path, mode) as file:
        for name, data in entries:
            if isinstance(data, tarfile.TarInfo):
                data.name = name
                file.addfile(data)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                file.addfile(info, io.BytesIO(data))
    return path


def make_zip(path, entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in entries:
            file.writestr(name, data)
    return path


def typed(kind, target=""):
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, target
    return info


def files_in(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


GOOD = [("a/b.txt", b"one"), ("a/#odd (1) & + !.txt", b"two"), ("c.txt", b"")]


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("x.zip", ""),
        ("x.tar", "w"),
        ("x.tar.gz", "w:gz"),
        ("x.tar.bz", "w:bz2"),
        ("x.tar.xz", "w:xz"),
    ],
)
def test_every_form_is_unpacked(tmp_path, name, mode):
    make = (lambda path, entries: make_tar(path, entries, mode)) if mode else make_zip
    unpack(make(tmp_path / name, GOOD), tmp_path / "out")
    assert files_in(tmp_path / "out") == dict(GOOD)


def test_the_leavings_of_macos_stay_behind(tmp_path):
    entries = [
        *GOOD,
        ("__MACOSX/a/._b.txt", b"x"),
        ("a/.DS_Store", b"x"),
        ("a/._b.txt", b"x"),
        ("a/.AppleDouble/b.txt", b"x"),
    ]
    unpack(make_zip(tmp_path / "x.zip", entries), tmp_path / "out")
    assert files_in(tmp_path / "out") == dict(GOOD)


@pytest.mark.parametrize(
    "name", ["../evil.txt", "a/../../evil.txt", "/tmp/evil.txt", "C:/evil.txt", "..\\evil.txt"]
)
@pytest.mark.parametrize("form", ["zip", "tar"])
def test_an_entry_outside_the_folder_is_refused(tmp_path, name, form):
    make = make_zip if form == "zip" else make_tar
    archive = make(tmp_path / f"x.{form}", [("good.txt", b"x"), (name, b"evil")])
    with pytest.raises(UserError, match=r"outside its folder|cannot be unpacked"):
        unpack_all([archive], [], tmp_path / "deep/out")
    assert not list(tmp_path.rglob("evil.txt")) and files_in(tmp_path / "deep/out") == {}


@pytest.mark.parametrize(
    "entry",
    [
        typed(tarfile.SYMTYPE, "/etc/passwd"),
        typed(tarfile.LNKTYPE, "good.txt"),
        typed(tarfile.CHRTYPE),
        typed(tarfile.FIFOTYPE),
    ],
)
def test_links_and_devices_in_a_tar_are_refused(tmp_path, entry):
    archive = make_tar(tmp_path / "x.tar", [("good.txt", b"x"), ("link", entry)])
    with pytest.raises(UserError, match="holds a link or device"):
        unpack_all([archive], [], tmp_path / "out")
    assert files_in(tmp_path / "out") == {}


def test_a_link_in_a_zip_is_refused(tmp_path):
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    archive = make_zip(tmp_path / "x.zip", [("good.txt", b"x"), (info, "/etc/passwd")])
    with pytest.raises(UserError, match="holds a link or device"):
        unpack_all([archive], [], tmp_path / "out")
    assert files_in(tmp_path / "out") == {}


def test_a_bomb_is_stopped_before_it_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "LARGEST", 1_000_000)
    archive = make_zip(tmp_path / "x.zip", [(f"{i}.bin", bytes(400_000)) for i in range(10)])
    with pytest.raises(UserError, match="unpacks to too much"):
        unpack(archive, tmp_path / "out")
    assert sum(len(data) for data in files_in(tmp_path / "out").values()) <= 1_000_000


def test_too_many_files_and_too_little_room_are_refused(tmp_path, monkeypatch):
    archive = make_zip(tmp_path / "x.zip", [(f"{i}", b"x" * 100) for i in range(10)])
    monkeypatch.setattr(archives, "MOST_FILES", 5)
    with pytest.raises(UserError, match="unpacks to too much"):
        unpack(archive, tmp_path / "a")
    monkeypatch.setattr(archives, "MOST_FILES", 50)
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 300})())
    with pytest.raises(UserError, match="of the disk"):
        unpack(archive, tmp_path / "b")


@pytest.mark.parametrize(
    ("name", "mode"), [("x.zip", ""), ("x.tar.gz", "w:gz"), ("x.tar.bz2", "w:bz2"), ("x.tar", "w")]
)
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.8])
def test_a_cut_archive_names_itself_and_leaves_nothing(tmp_path, name, mode, keep):
    entries = [(f"{i}.bin", bytes(range(256)) * 40) for i in range(20)]
    archive = (
        make_tar(tmp_path / name, entries, mode) if mode else make_zip(tmp_path / name, entries)
    )
    archive.write_bytes(archive.read_bytes()[: int(keep * archive.stat().st_size)])
    with pytest.raises(UserError, match=f"{name} cannot be unpacked") as error:
        unpack_all([archive], [], tmp_path / "out")
    assert "\n" not in str(error.value), "one line"
    assert files_in(tmp_path / "out") == {} and sorted(
        path.name for path in tmp_path.iterdir()
    ) == ["out", name]


def test_a_tar_cut_between_two_entries_is_no_smaller_archive(tmp_path):
    archive = make_tar(tmp_path / "x.tar", [(f"{i}.bin", bytes(512)) for i in range(4)])
    archive.write_bytes(archive.read_bytes()[: 2 * 1024])  # two of four: a header and a block each
    with pytest.raises(UserError, match="without tar's mark of the end"):
        unpack_all([archive], [], tmp_path / "out")
    assert files_in(tmp_path / "out") == {}


def test_a_damaged_zip_entry_is_found_by_its_checksum(tmp_path):
    archive = make_zip(tmp_path / "x.zip", [])
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
        file.writestr("a", b"the contents")
    archive.write_bytes(archive.read_bytes().replace(b"the contents", b"the c0ntents"))
    with pytest.raises(UserError, match="cannot be unpacked"):
        unpack(archive, tmp_path / "out")


def test_several_archives_fill_one_folder_and_nothing_is_unpacked_twice(tmp_path, monkeypatch):
    one = make_zip(tmp_path / "one.zip", [("d/1", b"1")])
    two = make_tar(tmp_path / "two.tar", [("d/2", b"2")])
    unpack_all([one, two], [], tmp_path / "out")
    assert {"d/1", "d/2"} <= set(files_in(tmp_path / "out"))
    monkeypatch.setattr(archives, "unpack", lambda *_: pytest.fail("unpacked twice"))
    unpack_all([one, two], [], tmp_path / "out")


def test_loose_folders_are_linked_and_never_written_into(tmp_path):
    mine = tmp_path / "mine"
    (mine / "d").mkdir(parents=True)
    (mine / "d/own").write_text("own")
    unpack_all([], [mine / "d"], tmp_path / "out")
    assert (tmp_path / "out/d").is_symlink()
    later = make_zip(tmp_path / "later.zip", [("d/new", b"new")])
    unpack_all([later], [mine / "d"], tmp_path / "out")
    assert [path.name for path in (mine / "d").iterdir()] == ["own"]
    assert (tmp_path / "out/d/new").read_bytes() == b"new" and (
        tmp_path / "out/d/own"
    ).read_text() == "own"
