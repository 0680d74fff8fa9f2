"""Direct downloads against a server that cuts, lies, forgets ranges and changes its mind."""

import hashlib
import http.server
import random
import threading

import pytest

from losh.download.http import Wanted, fetch
from losh.errors import UserError

DATA = random.Random(0).randbytes(1_000_000)


class Server:
    """A file at one address, and what shall go wrong with it."""

    def __init__(self):
        self.data, self.etag, self.ranges = DATA, '"one"', True
        self.cut_after: list[int] = []
        """Bytes after which the n-th answer's connection is cut; no entry: not at all."""
        self.statuses: list[int] = []
        self.content_type, self.claimed = "application/zip", None
        self.requests: list[str | None] = []
        """Range header of each request."""
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                server.answer(self)

        self.listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.listener.handle_error = lambda *_: None  # a client that hangs up is part of the play
        self.url = f"http://127.0.0.1:{self.listener.server_port}/file.zip"
        threading.Thread(
            target=self.listener.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()

    def answer(self, request):
        asked = request.headers.get("Range")
        self.requests.append(asked)
        if self.statuses and (status := self.statuses.pop(0)) != 200:
            request.send_response(status)
            request.end_headers()
            return
        start = 0
        if asked and self.ranges and request.headers.get("If-Range") == self.etag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(self.data):
                request.send_response(416)
                request.send_header("Content-Range", f"bytes */{len(self.data)}")
                request.end_headers()
                return
        request.send_response(206 if start else 200)
        if start:
            request.send_header(
                "Content-Range", f"bytes {start}-{len(self.data) - 1}/{len(self.data)}"
            )
        request.send_header("Content-Length", str(self.claimed or len(self.data) - start))
        request.send_header("Content-Type", self.content_type)
        if self.etag:
            request.send_header("ETag", self.etag)
        request.end_headers()
        end = self.cut_after.pop(0) + start if self.cut_after else len(self.data)
        request.wfile.write(self.data[start:end])
        request.close_connection = True


@pytest.fixture
def server():
    server = Server()
    yield server
    server.listener.shutdown()
    server.listener.server_close()


def get(server, tmp_path, attempts=4, **known):
    return fetch(
        Wanted(server.url, **known),
        tmp_path / "deep/file.zip",
        attempts=attempts,
        pause=0.001,
        patience=5,
    )


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_comes_whole_and_alone(server, tmp_path):
    target = get(
        server,
        tmp_path,
        size=len(DATA),
        sha256=hashlib.sha256(DATA).hexdigest(),
        md5=hashlib.md5(DATA).hexdigest().upper(),
    )
    assert (
        target.read_bytes() == DATA
        and names(target.parent) == ["file.zip"]
        and server.requests == [None]
    )


def test_a_cut_transfer_goes_on_where_it_stopped(server, tmp_path):
    server.cut_after = [300_000, 300_000]
    assert get(server, tmp_path).read_bytes() == DATA
    assert server.requests == [None, "bytes=300000-", "bytes=600000-"]


def test_a_later_run_goes_on_too(server, tmp_path):
    server.cut_after = [300_000] + [0] * 9
    with pytest.raises(UserError, match="could not be fetched"):
        get(server, tmp_path)
    assert names(tmp_path / "deep") == ["file.zip.part", "file.zip.part.json"]
    server.cut_after, server.requests = [], []
    assert get(server, tmp_path).read_bytes() == DATA and server.requests == ["bytes=300000-"]


def test_a_server_without_ranges_starts_again(server, tmp_path):
    server.cut_after, server.ranges = [300_000], False
    assert get(server, tmp_path).read_bytes() == DATA


def test_without_a_validator_nothing_is_continued(server, tmp_path):
    server.cut_after, server.etag = [300_000], ""
    assert get(server, tmp_path).read_bytes() == DATA and server.requests == [None, None]


def test_a_file_that_changed_in_between_is_no_mixture(server, tmp_path):
    server.cut_after = [300_000] + [0] * 9
    with pytest.raises(UserError):
        get(server, tmp_path)
    server.data, server.etag, server.cut_after = DATA[::-1], '"two"', []
    assert get(server, tmp_path).read_bytes() == DATA[::-1]


def test_a_server_that_mixes_versions_all_the_same_is_caught_by_the_digest(server, tmp_path):
    server.cut_after = [300_000] + [0] * 9
    with pytest.raises(UserError):
        get(server, tmp_path)
    server.data, server.cut_after = DATA[::-1], []  # the same ETag
    assert (
        get(server, tmp_path, sha256=hashlib.sha256(DATA[::-1]).hexdigest()).read_bytes()
        == DATA[::-1]
    )


@pytest.mark.parametrize("claimed", [len(DATA) + 1000, len(DATA) - 1000])
def test_a_lie_about_the_size_never_becomes_a_file(server, tmp_path, claimed):
    server.claimed, server.ranges = claimed, False
    with pytest.raises(UserError, match=r"could not be fetched|bytes, not 1000000"):
        get(server, tmp_path, size=len(DATA))
    assert "file.zip" not in names(tmp_path / "deep")


@pytest.mark.parametrize("known", [{"size": 5}, {"sha256": "0" * 64}, {"md5": "0" * 32}])
def test_another_size_or_digest_is_refused(server, tmp_path, known):
    with pytest.raises(
        UserError,
        match=r"gave a file with (1000000 bytes, not 5|another (sha256|md5) than published)",
    ):
        get(server, tmp_path, **known)
    assert names(tmp_path / "deep") == []


def test_a_busy_server_is_asked_again(server, tmp_path):
    server.statuses = [503, 429, 200]
    assert get(server, tmp_path).read_bytes() == DATA and len(server.requests) == 3


def test_patience_ends(server, tmp_path):
    server.statuses = [503] * 9
    with pytest.raises(UserError, match=r"could not be fetched \(HTTP 503, 3 attempts"):
        get(server, tmp_path, attempts=3)
    assert len(server.requests) == 3


def test_a_dead_link_is_said_at_once(server, tmp_path):
    server.statuses = [404]
    with pytest.raises(UserError, match="answers HTTP 404"):
        get(server, tmp_path)
    assert len(server.requests) == 1


def test_a_login_page_is_no_archive(server, tmp_path):
    server.content_type = "text/html; charset=utf-8"
    with pytest.raises(UserError, match="a web page, not a file"):
        get(server, tmp_path)
    assert names(tmp_path / "deep") == []


def test_nobody_there(tmp_path):
    with pytest.raises(UserError, match=r"could not be fetched \(ConnectionError"):
        fetch(Wanted("http://127.0.0.1:9/file.zip"), tmp_path / "file.zip", attempts=2, pause=0.001)


def test_a_whole_part_of_a_killed_run_is_only_renamed(server, tmp_path):
    server.cut_after = [len(DATA) - 1] + [0] * 9
    with pytest.raises(UserError):
        get(server, tmp_path)
    with (tmp_path / "deep/file.zip.part").open("ab") as file:
        file.write(DATA[-1:])
    server.cut_after = []
    assert get(server, tmp_path).read_bytes() == DATA and server.requests[-1] == "bytes=1000000-"


def test_what_is_there_is_not_fetched_again_unless_it_is_wrong(server, tmp_path):
    get(server, tmp_path)
    get(server, tmp_path, size=len(DATA))
    assert len(server.requests) == 1
    (tmp_path / "deep/file.zip").write_bytes(b"damaged")
    assert get(server, tmp_path, size=len(DATA)).read_bytes() == DATA


def test_a_connection_that_keeps_giving_is_never_given_up(server, tmp_path):
    server.cut_after = [90_000] * 11
    assert get(server, tmp_path, attempts=2).read_bytes() == DATA
