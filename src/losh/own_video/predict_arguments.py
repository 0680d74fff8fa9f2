"""The command line of `losh predict`; nothing slow is imported before it is run."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

from losh.own_video.settings import DEFAULT_MODEL, Settings
from losh.runtime.machine import keep_freed_memory

RULES = ["long", "product", "intersection", "mean"]
MODES = ["subject", "subject_with_position"]


def add_predict(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    one = commands.add_parser("predict", help="mask what sentences refer to in a video of yours")
    one.add_argument("clip", type=Path, help="a video file, or a folder of images")
    one.add_argument(
        "sentences",
        nargs="+",
        metavar="SENTENCE",
        help='for instance "the man in white on the left"; several get a colour each',
    )
    one.add_argument("-o", "--out", type=Path, required=True, help="the overlay video, .mp4")
    one.add_argument(
        "--model", type=Path, default=DEFAULT_MODEL, help="checkpoint (default: %(default)s)"
    )
    one.add_argument(
        "--short",
        action="append",
        help="short expression, once for each sentence (default: made by the workflow's rule)",
    )
    one.add_argument("--masks", type=Path, metavar="DIR", help="folder for 0/255 PNGs, one a frame")
    one.add_argument("--rle", type=Path, metavar="FILE", help="masks as COCO's RLE, .json")
    one.add_argument("--scores", type=Path, metavar="FILE", help="scores per frame, .json")
    one.add_argument(
        "--rate",
        type=float,
        help="frames per second of a folder of images (default: 10); a video keeps its own",
    )
    add_settings(one)
    one.set_defaults(run=_predict)


def add_settings(one: argparse.ArgumentParser) -> None:
    """Add an option for each of `Settings`."""
    defaults = Settings()
    one.add_argument(
        "--rule",
        choices=RULES,
        default=defaults.rule,
        help="how the masks of both streams become one (default: %(default)s)",
    )
    one.add_argument(
        "--threshold",
        type=float,
        default=defaults.threshold,
        help="probability above which a pixel belongs to the mask (default: %(default)s)",
    )
    one.add_argument(
        "--chunk", type=int, default=defaults.chunk, help="frames at once (default: %(default)s)"
    )
    one.add_argument(
        "--mode",
        choices=MODES,
        default=defaults.mode,
        help="of the short expression that is made (default: %(default)s)",
    )


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Return what the options of `add_settings` say."""
    names = (field.name for field in dataclasses.fields(Settings))
    return Settings(**{name: getattr(arguments, name) for name in names})


def _predict(arguments: argparse.Namespace) -> None:
    keep_freed_memory()
    settings = settings_of(arguments)
    from losh.own_video.predict import Files, predict

    files = Files(arguments.out, arguments.masks, arguments.rle, arguments.scores)
    found = predict(
        arguments.clip,
        arguments.sentences,
        files,
        arguments.model,
        arguments.short,
        settings,
        arguments.rate,
        say=lambda line: print(line, flush=True),
    )
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)
    parts = ", ".join(f"{100 * part:.1f} %" for part in found.covered)
    print(f"the masks cover {parts} of the pixels of {found.frames} frames")
    print("wrote " + ", ".join(files.written()))
