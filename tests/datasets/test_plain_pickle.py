"""Published pickles are read without running what they may hold."""

import copyreg
import os
import pickle
import subprocess
from collections import OrderedDict
from pathlib import Path

import pytest

from losh.datasets.plain_pickle import read_plain_pickle
from losh.errors import UserError

PLAIN = [{"ids": [1, 2**70, -1.5], "text": "caf\xe9", "more": ((), None, True, b"raw")}]


class Attack:
    """Runs a command when it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


class Persistent(pickle.Pickler):
    def persistent_id(self, value):
        return "pid" if value == "outside" else None


@pytest.fixture
def path(tmp_path):
    return tmp_path / "refs(unc).p"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_come_back_whatever_the_protocol(path, protocol):
    plain = PLAIN if protocol > 2 else [{"ids": [1, 2**70, -1.5], "text": "caf\xe9", "none": None}]
    path.write_bytes(pickle.dumps(plain, protocol))
    assert read_plain_pickle(path) == plain


def test_strings_of_python_2_come_back(path):
    path.write_bytes(b"(lp0\n(dp1\nS'sent'\np2\nS'the caf\\xe9'\np3\nsS'ann_id'\np4\nI7\nsa.")
    assert read_plain_pickle(path) == [{"sent": "the caf\xe9", "ann_id": 7}]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("hidden", [False, True], ids=["alone", "in a reference"])
@pytest.mark.parametrize("way", ["system", "popen", "eval", "open", "getattr"])
def test_an_attack_is_refused_and_nothing_runs(path, tmp_path, way, hidden, protocol):
    marker = tmp_path / "ran"
    attack = {
        "system": Attack(os.system, f"touch {marker}"),
        "popen": Attack(subprocess.Popen, ["touch", str(marker)]),
        "eval": Attack(eval, f"open({str(marker)!r}, 'w').close()"),
        "open": Attack(open, str(marker), "w"),
        "getattr": Attack(getattr, Attack(__import__, "os"), "system"),
    }[way]
    value = [{"split": "train", "sentences": [attack]}] if hidden else attack
    data = pickle.dumps(value, protocol)
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"refs\(unc\)\.p is not only data: it asks for") as error:
        read_plain_pickle(path)
    assert "\n" not in str(error.value) and not marker.exists()
    if way == "open":  # the test can fail: an ordinary unpickler runs it
        pickle.loads(data)
        assert marker.exists()


@pytest.mark.parametrize("value", [OrderedDict(a=1), Path("x"), complex(1, 2), ValueError("x")])
def test_even_harmless_classes_are_refused(path, value):
    path.write_bytes(pickle.dumps([value]))
    with pytest.raises(UserError, match="is not only data"):
        read_plain_pickle(path)


def test_ways_around_names_are_refused_too(path):
    def fault():
        with pytest.raises(UserError, match="is not only data") as error:
            read_plain_pickle(path)
        return str(error.value)

    path.write_bytes(b"(S'echo'\nios\nsystem\n.")  # INST, which names and calls at once
    assert "os.system" in fault()
    with path.open("wb") as file:
        Persistent(file).dump(["outside"])
    assert "persistent" in fault()
    copyreg.add_extension("os", "system", 240)
    try:
        path.write_bytes(b"\x80\x02\x82\xf0.")  # EXT1: a name by its number
        assert "os.system" in fault()
    finally:
        copyreg.remove_extension("os", "system", 240)


@pytest.mark.parametrize(
    "data",
    [b"\x00", b"no pickle", b"(lp0\n", pickle.dumps(PLAIN)[:-9], b"N0.", b"\x80\x09N.", b"e."],
)
def test_damage_is_one_line(path, data):
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"refs\(unc\)\.p does not read as a pickle") as error:
        read_plain_pickle(path)
    assert "\n" not in str(error.value)


def test_an_empty_or_missing_file_is_named(path):
    with pytest.raises(UserError, match=r"refs\(unc\)\.p cannot be read"):
        read_plain_pickle(path)
    path.write_bytes(b"")
    with pytest.raises(UserError, match=r"refs\(unc\)\.p is empty"):
        read_plain_pickle(path)
