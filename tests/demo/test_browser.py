"""`losh demo` in a real browser (Chromium, headless): a clip, a sentence, masks, slips, and nothing
left behind. Skipped where Gradio, Playwright or Chromium is missing.
"""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_video.made_clips import picture, write_clip

pytestmark = pytest.mark.slow
WAIT = 180_000  # ms: a browser beside other work on two cores


@pytest.fixture(scope="module")
def server(untrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The page's address, and the folder in which it keeps all its files."""
    pytest.importorskip("gradio", reason="Gradio is not installed: pip install '.[demo]'")
    folder = tmp_path_factory.mktemp("temporary")
    command = [sys.executable, "-m", "losh.cli", "demo", "--model", str(untrained), "--no-browser"]
    command += ["--max-megabytes", "0.2", "--max-seconds", "2"]
    # Reached through a proxy, the page would be somewhere else than on this machine.
    quiet = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, env={**quiet, "TMPDIR": str(folder)}, text=True
    )
    assert process.stdout is not None
    said = "".join(iter(lambda: _line(process), ""))
    assert "knows no people" in said
    yield re.search(r"http://127\.0\.0\.1:\d+/", said)[0], folder
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM
    assert list(folder.iterdir()) == []


def _line(process: subprocess.Popen) -> str:
    """A line of what the command says; nothing after the page's address."""
    if getattr(process, "told", False):
        return ""
    line = process.stdout.readline()
    process.told = "http://" in line  # type: ignore[attr-defined]
    return line


@pytest.fixture
def page(server: tuple[str, Path], browser: Any) -> Iterator[Any]:
    """The page, opened; it must ask nobody but its own server."""
    url, folder = server
    page = browser.new_page(viewport={"width": 1200, "height": 900}, accept_downloads=True)
    page.set_default_timeout(WAIT)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    page.wait_for_function(f"{SHORT} != ''")
    yield page
    page.close()
    assert all(one.startswith((url, "data:", "blob:")) for one in asked)
    _wait(lambda: _files(folder) == [])


SHORT = "(document.querySelector('#short textarea, #short input')?.placeholder ?? '')"
"""The short text that was made of the sentence."""


def _box(page: Any, name: str) -> Any:
    return page.locator(f"#{name} textarea, #{name} input")


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and "losh-demo" in str(path)]


def _wait(true: Any) -> None:
    end = time.monotonic() + 60
    while not true() and time.monotonic() < end:
        time.sleep(0.2)
    assert true()


def _error(page: Any, text: str) -> str:
    page.wait_for_function(
        f"document.querySelector('#message .error')?.innerText.includes({text!r})"
    )
    return page.locator("#message .error").inner_text()


def _upload(page: Any, path: Path) -> None:
    page.locator("#clip button[aria-label='Clear']").click()
    page.locator("#clip input[type=file]").set_input_files(str(path))
    page.wait_for_function("document.querySelector('#clip video') !== null")


def _plays(page: Any, name: str) -> bool:
    """Whether a video has its picture's size and a length, and plays on."""
    page.wait_for_function(f"document.querySelector('#{name} video')?.readyState >= 2")
    return page.evaluate(
        f"""async () => {{
            const video = document.querySelector('#{name} video');
            video.muted = true;
            await video.play();
            return video.videoWidth > 0 && video.duration > 0.1;
        }}"""
    )


def test_an_upload_is_masked_and_gone_with_the_page(page, server, clip, tmp_path):
    _upload(page, clip)
    _box(page, "long").fill("the large red square that moves left")
    page.wait_for_function(f"{SHORT} == 'the large red square'")
    _box(page, "short").fill("the square")
    _box(page, "long").fill("")
    _box(page, "long").press_sequentially("the large blue square that moves down")
    page.wait_for_function(f"{SHORT} == 'the large blue square'")
    assert _box(page, "short").input_value() == "the square"  # a person's own words stay
    page.click("#run")
    page.wait_for_function("document.querySelector('#message')?.innerText.includes('masked 6')")
    assert _plays(page, "overlay") and _plays(page, "streams")
    for plot in ("score", "covered"):
        page.wait_for_selector(f"#{plot} canvas, #{plot} svg.marks")
    with page.expect_download() as download:
        page.locator("#masks a[download]").first.click()
    download.value.save_as(tmp_path / "masks.zip")
    with zipfile.ZipFile(io.BytesIO((tmp_path / "masks.zip").read_bytes())) as archive:
        assert "masks/00005.png" in archive.namelist()
        assert b'"short": "the square"' in archive.read("scores.json")
    assert any(path.name == "six.mp4" for path in _files(server[1]))


def test_an_example_comes_back_after_an_upload(page, server, clip):
    choice = page.get_by_label("An example")
    assert choice.input_value() == "shapes.mp4"
    _upload(page, clip)
    page.wait_for_function("document.querySelector('#example input').value == ''")
    assert any(path.name == "six.mp4" for path in _files(server[1]))
    choice.click()
    page.get_by_role("option", name="shapes.mp4").click()
    page.wait_for_function("document.querySelector('#clip video')?.src.includes('shapes.mp4')")
    _wait(lambda: _files(server[1]) == [])  # the upload is gone


def test_slips_are_one_line_in_the_page(page, tmp_path):
    _box(page, "long").fill("12 ?!")
    page.click("#run")
    assert "no word in the sentence" in _error(page, "no word")
    _box(page, "long").fill("the red square")
    (tmp_path / "broken.mp4").write_text("no video <b>at all</b>")
    _upload(page, tmp_path / "broken.mp4")
    page.click("#run")
    said = _error(page, "does not open")
    assert said.startswith("broken.mp4 does not open") and "\n" not in said
    long = write_clip(tmp_path / "long.mp4", [picture(64, 80, t) for t in range(60)])
    _upload(page, long)
    page.click("#run")
    assert "longer than 2 s" in _error(page, "longer than")
    assert page.locator("text=Traceback").count() == 0


def test_a_file_beyond_the_limit_is_refused_by_the_server(page, server, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (10, 240, 320, 3), np.uint8)
    large = write_clip(tmp_path / "large.mp4", list(noise))
    assert large.stat().st_size > 200_000
    page.locator("#clip button[aria-label='Clear']").click()
    page.locator("#clip input[type=file]").set_input_files(str(large))
    page.wait_for_function("document.body.innerText.includes('maximum allowed size')")
    done = page.request.post(
        server[0] + "gradio_api/upload",
        multipart={"files": {"name": "a.mp4", "mimeType": "video/mp4", "buffer": bytes(300_000)}},
    )
    assert done.status == 413
