"""The files of the page's visitors: in one folder of ours, and gone when they are done with."""

from __future__ import annotations

import shutil
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class _Visit:
    upload: Path | None = None
    results: Path | None = None
    stale: list[Path] = field(default_factory=list)
    """Uploads that go when the work is over, which may still read them."""
    busy: bool = False
    left: bool = False


class Visits:
    """Who is on the page, and which files are whose.

    An upload stays while its page is open and shows it, so that a second sentence can be tried;
    results stay until the next ones. What belongs to a page is deleted when it is closed.

    Attributes:
        uploads: where the server puts uploads.
        results: where results lie; each in a folder of its own, whose name nobody can guess.
    """

    def __init__(self, root: Path) -> None:
        self.uploads, self.results = root / "uploads", root / "results"
        for folder in (self.uploads, self.results):
            folder.mkdir()
        self._visits: dict[str, _Visit] = {}
        self._lock = threading.RLock()

    def shows(self, visitor: str, clip: Path | None) -> None:
        """Note which clip a page shows now; an upload that none shows any more is deleted."""
        with self._lock:
            visit = self._visits.setdefault(visitor, _Visit())
            if visit.upload is not None:
                visit.stale.append(visit.upload)
            visit.upload = self._as_upload(clip)
            self._delete_stale(visit)

    def begin(self, visitor: str) -> Path:
        """Return a new folder for a page's results; those of before are deleted."""
        with self._lock:
            visit = self._visits.setdefault(visitor, _Visit())
            _delete(visit.results)
            visit.results = Path(tempfile.mkdtemp(dir=self.results))
            visit.busy, visit.left = True, False
            return visit.results

    def end(self, visitor: str, worked: bool) -> None:
        """Note that the work is over; where it failed, or the page was closed, all of it goes."""
        with self._lock:
            visit = self._visits.setdefault(visitor, _Visit())
            visit.busy = False
            if not worked:
                _delete(visit.results)
            self._delete_stale(visit)
            if visit.left:
                self.leave(visitor)

    def leave(self, visitor: str) -> None:
        """Delete what belongs to a page that was closed; where it is at work, when that ends."""
        with self._lock:
            visit = self._visits.get(visitor)
            if visit is None:
                return
            if visit.busy:
                visit.left = True
                return
            del self._visits[visitor]
            _delete(visit.results)
            visit.stale += [] if visit.upload is None else [visit.upload]
            visit.upload = None
            self._delete_stale(visit)

    def _as_upload(self, clip: Path | None) -> Path | None:
        """Return a clip's path where it is an upload; an example is never deleted."""
        if clip is None or not clip.resolve().is_relative_to(self.uploads.resolve()):
            return None
        return clip.resolve()

    def _delete_stale(self, visit: _Visit) -> None:
        if visit.busy:
            return
        for path in {*visit.stale} - {visit.upload}:
            # The server names an upload by its contents: two pages may show one file.
            if all(path not in (one.upload, *one.stale) for one in self._others(visit)):
                _delete(path.parent if path.parent != self.uploads.resolve() else path)
        visit.stale = []

    def _others(self, visit: _Visit) -> list[_Visit]:
        return [one for one in self._visits.values() if one is not visit]


def _delete(path: Path | None) -> None:
    if path is not None and path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    elif path is not None:
        path.unlink(missing_ok=True)
