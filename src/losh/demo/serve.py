"""Start the page's server, and leave nothing behind when it ends."""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from losh.demo.example_clips import FIRST_SENTENCE
from losh.demo.limits import Limits
from losh.demo.visits import Visits
from losh.errors import UserError, first_line
from losh.own_video.settings import Settings, check_model_file

INSTALL = "pip install 'gradio>=6.24,<7'"
FIRST_PORT, PORTS = 7860, 100


@dataclass(frozen=True)
class Address:
    """Where the page is."""

    host: str
    port: int | None
    """None: the first free one from 7860."""
    open_browser: bool

    def __post_init__(self) -> None:
        if self.port is not None and not 1 <= self.port <= 65535:
            raise UserError(f"--port is {self.port}", "Give a number from 1 to 65535")

    @property
    def public(self) -> bool:
        """Whether others than this machine's own users reach it."""
        if self.host == "localhost":
            return False
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return True


def serve(model: Path, address: Address, limits: Limits, settings: Settings) -> None:
    """Load the model, show the page, and wait until somebody stops the command.

    Raises:
        UserError: Gradio is not installed, there is no such model, or the port is taken.
    """
    if importlib.util.find_spec("gradio") is None:
        raise UserError("`losh demo` needs Gradio, which is not installed", f"Run: {INSTALL}")
    check_model_file(model)
    with tempfile.TemporaryDirectory(prefix="losh-demo-") as folder:
        visits = Visits(Path(folder))
        page = _page(model, visits, limits, settings)
        try:
            print(f"the page is at {_launch(page, address, limits)} (Ctrl-C ends it)", flush=True)
            if address.public:
                print(
                    f"warning: whoever reaches this machine at {address.host} can use the page: it "
                    "has no password and no encryption",
                    file=sys.stderr,
                )
            threading.Event().wait()
        finally:
            page.close(verbose=False)


def _page(model: Path, visits: Visits, limits: Limits, settings: Settings) -> Any:
    # Gradio reads both when it is imported, and asks the network for its version otherwise.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(visits.uploads)
    from losh.demo.gradio_page import build_page
    from losh.demo.tryout import short_text_of
    from losh.own_video.model import load

    loaded = load(model, settings=settings)
    short_text_of(loaded, FIRST_SENTENCE)  # loads the parser: seconds that no visitor waits
    print(f"weights: {loaded.knows}", flush=True)
    return build_page(loaded, visits, limits)


def _launch(page: Any, address: Address, limits: Limits) -> str:
    from losh.demo.gradio_page import CSS, THEME

    ports = [address.port] if address.port else range(FIRST_PORT, FIRST_PORT + PORTS)
    for port in ports:
        try:
            _, url, _ = page.queue(max_size=16).launch(
                server_name=address.host,
                server_port=port,
                inbrowser=address.open_browser and _has_display(),
                max_file_size=limits.size,
                theme=THEME,
                css=CSS,
                # Nothing of this page may leave the machine, nor stay on it.
                share=False,
                run_history=False,
                enable_monitoring=False,
                mcp_server=False,
                footer_links=[],
                ssr_mode=False,
                pwa=False,
                quiet=True,
                prevent_thread_lock=True,
            )
            return url
        except OSError as error:
            failure = error
    raise UserError(
        f"the page cannot listen at {address.host}:{ports[0]} ({first_line(failure)})",
        "Give another --port or --host",
    )


def _has_display() -> bool:
    """Whether a browser opens in a window; one in the terminal would cover the command's own."""
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
