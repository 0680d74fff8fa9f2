"""The command line of `losh demo`; nothing slow is imported before it is run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from losh.demo.limits import Limits
from losh.own_video.predict_arguments import add_settings, settings_of
from losh.own_video.settings import DEFAULT_MODEL

LOOPBACK = "127.0.0.1"
JOINT = "mean"
"""The page's own default rule: one that reads both streams, so that both are shown."""


def add_demo(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    one = commands.add_parser("demo", help="try a model in a browser: a clip, a sentence, masks")
    one.add_argument(
        "--model", type=Path, default=DEFAULT_MODEL, help="checkpoint (default: %(default)s)"
    )
    one.add_argument("--port", type=int, help="where to listen (default: the first free from 7860)")
    one.add_argument(
        "--host",
        default=LOOPBACK,
        help="another address opens the page to the network (default: %(default)s, this machine "
        "alone)",
    )
    one.add_argument("--no-browser", action="store_true", help="print the address, open nothing")
    add_settings(one)
    one.set_defaults(rule=JOINT)
    limits = Limits()
    one.add_argument(
        "--max-megabytes",
        type=float,
        default=limits.megabytes,
        metavar="MB",
        help="largest file (default: %(default)g)",
    )
    one.add_argument(
        "--max-seconds",
        type=float,
        default=limits.seconds,
        metavar="S",
        help="longest clip (default: %(default)g)",
    )
    one.add_argument(
        "--max-side",
        type=int,
        default=limits.side,
        metavar="PX",
        help="longest side of its picture in pixels (default: %(default)s)",
    )
    one.set_defaults(run=_demo)


def _demo(arguments: argparse.Namespace) -> None:
    limits = Limits(arguments.max_megabytes, arguments.max_seconds, arguments.max_side)
    settings = settings_of(arguments)
    from losh.demo.serve import Address, serve

    address = Address(arguments.host, arguments.port, not arguments.no_browser)
    serve(arguments.model, address, limits, settings)
