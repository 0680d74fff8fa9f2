"""requirements.lock: exact versions with hashes, no addresses, every dependency of ours."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENTRY = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", re.M)


def test_every_line_is_a_version_with_hashes():
    text = (ROOT / "requirements.lock").read_text()
    entries = list(ENTRY.finditer(text))
    assert "".join(entry[0] + "\n" for entry in entries) == text and len(entries) > 100
    names = [entry[1].lower() for entry in entries]
    assert len(set(names)) == len(names) and names == sorted(names)


def test_what_we_depend_on_is_locked():
    def plain(name: str) -> str:
        return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", name)[0]).lower()

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["test"]
    locked = {plain(entry[1]) for entry in ENTRY.finditer((ROOT / "requirements.lock").read_text())}
    assert {plain(name) for name in wanted} <= locked


def test_the_install_checks_them():
    assert "--require-hashes -r requirements.lock" in (ROOT / "Makefile").read_text()
