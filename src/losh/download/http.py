"""Direct downloads: resumed after a cut, checked, retried, never half a file under its name."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

import requests
import urllib3
from tqdm import tqdm

from losh.errors import UserError

CHUNK = 1 << 16
PATIENCE = 60.0
"""Seconds without a byte after which a connection counts as cut."""


class Cut(Exception):
    """A transfer that ended early and may be taken up again."""


@dataclass(frozen=True)
class Wanted:
    """What is known of a file before it is fetched."""

    url: str
    size: int | None = None
    """Bytes."""
    sha256: str = ""
    md5: str = ""


def fetch(
    wanted: Wanted, target: Path, attempts: int = 5, pause: float = 1.0, patience: float = PATIENCE
) -> Path:
    """Fetch a file to `target`.

    What has already come lies beside it as `<name>.part` and is continued, also by a later run.

    A continuation asks for the rest only if the server still has the same file (If-Range); where it
    has not, or knows no ranges, the file begins anew. `attempts` bounds the failures in a row
    without a new byte; `pause` seconds double with each.

    Raises:
        UserError: the server refuses, keeps failing, answers with a web page, or sends something of
            another size or digest.
    """
    if target.exists() and _fault(target, wanted) is None:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part, note = (
        target.with_name(target.name + ".part"),
        target.with_name(target.name + ".part.json"),
    )
    failures, farthest, why = 0, 0, ""
    with requests.Session() as session:
        while failures < attempts:
            if failures:
                time.sleep(min(pause * 2 ** (failures - 1), 60))
            begun_anew = not part.exists()
            try:
                _transfer(session, wanted, part, note, patience)
            except (
                Cut,
                requests.ConnectionError,
                requests.Timeout,
                urllib3.exceptions.HTTPError,
            ) as error:
                why = str(error) if isinstance(error, Cut) else type(error).__name__
                reached = part.stat().st_size if part.exists() else 0
                failures = 1 if reached > farthest else failures + 1
                farthest = max(farthest, reached)
                continue
            fault = _fault(part, wanted)
            if fault is None:
                os.replace(part, target)
                note.unlink(missing_ok=True)
                return target
            part.unlink()
            note.unlink(missing_ok=True)
            if begun_anew:
                raise UserError(
                    f"{wanted.url} gave a file with {fault}",
                    "The published file may have changed; fetch it by hand and compare",
                )
            # A mixture of two versions: once more, from the start.
            failures, why = failures + 1, fault
    raise UserError(
        f"{wanted.url} could not be fetched ({why}, {attempts} attempts without a new byte)",
        "Run the stage again later: it goes on",
    )


def _transfer(
    session: requests.Session, wanted: Wanted, part: Path, note: Path, patience: float
) -> None:
    """One request; returns when the file is whole by the server's own count."""
    have, validator = (part.stat().st_size, _validator(note)) if part.exists() else (0, "")
    if have and not validator:
        have = 0
    headers = {"Accept-Encoding": "identity"} | (
        {"Range": f"bytes={have}-", "If-Range": validator} if have else {}
    )
    with session.get(
        wanted.url, headers=headers, stream=True, timeout=(min(patience, 20), patience)
    ) as answer:
        if answer.status_code == 416:
            if answer.headers.get("Content-Range") == f"bytes */{have}":
                return  # a run that was killed between the last byte and the renaming
            part.unlink()
            raise Cut("the server has no such range")
        if answer.status_code in (408, 425, 429) or answer.status_code >= 500:
            raise Cut(f"HTTP {answer.status_code}")
        if answer.status_code not in (200, 206):
            raise UserError(
                f"{wanted.url} answers HTTP {answer.status_code}",
                "The link may have moved; fetch the file by hand",
            )
        if "text/html" in answer.headers.get("Content-Type", "") and not wanted.url.endswith(
            (".html", ".htm")
        ):
            raise UserError(
                f"{wanted.url} answers with a web page, not a file",
                "It may ask for a login; fetch the file by hand",
            )
        start, total = _extent(answer)
        if start not in (0, have):
            part.unlink()
            raise Cut("the server sent another range than asked for")
        if start == 0:
            part.unlink(missing_ok=True)
        note.write_text(json.dumps({"validator": _strong(answer)}))
        _receive(answer, part, start, total)


def _receive(answer: requests.Response, part: Path, start: int, total: int | None) -> None:
    """Append the body at `start`; a Cut if it ends before `total`."""
    bar = tqdm(
        total=total, initial=start, unit="B", unit_scale=True, desc=part.name.removesuffix(".part")
    )
    with part.open("r+b" if start else "wb") as file, bar:
        file.seek(start)
        # Not iter_content(): it throws the last, incomplete block of a cut transfer away.
        while block := answer.raw.read(CHUNK, decode_content=False):
            file.write(block)
            bar.update(len(block))
    size = part.stat().st_size
    if total is not None and size != total:
        if size > total:
            part.unlink()
        raise Cut(f"{size} of {total} bytes came")


def _extent(answer: requests.Response) -> tuple[int, int | None]:
    """(first byte of the body, size of the whole file or None)."""
    if answer.status_code == 206:
        match = re.match(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
        if match is None:
            return -1, None
        return int(match[1]), None if match[2] == "*" else int(match[2])
    length = answer.headers.get("Content-Length")
    return 0, int(length) if length and length.isdigit() else None


def _strong(answer: requests.Response) -> str:
    """Return what If-Range takes: a strong ETag, else the date of change.

    It is empty where the server gives neither.
    """
    etag = answer.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else answer.headers.get("Last-Modified", "")


def _validator(note: Path) -> str:
    try:
        return str(json.loads(note.read_text())["validator"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _fault(path: Path, wanted: Wanted) -> str | None:
    """Return what is wrong with a whole file; None if nothing that we can check."""
    size = path.stat().st_size
    if wanted.size is not None and size != wanted.size:
        return f"{size} bytes, not {wanted.size}"
    for algorithm, digest in (("sha256", wanted.sha256), ("md5", wanted.md5)):
        if digest:
            with path.open("rb") as file:
                if hashlib.file_digest(file, algorithm).hexdigest() != digest.lower():
                    return f"another {algorithm} than published"
    return None
