"""The console script `losh`: what people do besides `dvc repro`."""

from __future__ import annotations

import argparse
import atexit
import contextlib
import os
import select
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from losh.commands.repository import require_repository
from losh.demo.demo_arguments import add_demo
from losh.errors import UserError, friendly
from losh.own_video.predict_arguments import add_predict

STOPPED = 128
"""A process that a signal ends exits with this and the signal's number."""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line with a remedy, as all of ours."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{self.prog}: {message}", f"`{self.prog} --help` shows what it takes")


class _Version(argparse.Action):
    """Print the version, torch's, and the device; only when asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from losh.commands.this_machine import version_line

        print(version_line())
        parser.exit()


def console() -> None:
    """Be the console script: run `main`, then leave without taking the libraries apart.

    To take the thousands of modules of torch and transformers apart takes Python 1.7 s, and frees
    what the operating system frees anyway.
    """
    status = 1  # of an error that nobody expected

    def leave() -> None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):  # nobody reads, or it is closed
                stream.flush()
        os._exit(status)

    atexit.register(leave)  # the first registered is the last called: after all of the libraries'
    try:
        main()
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        raise


@friendly
def main(argv: list[str] | None = None) -> None:
    """Parse the command line and run one command; Ctrl-C and a closed pipe end it quietly."""
    # As Ctrl-C, so that nothing half-written stays.
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        arguments = parser().parse_args(argv)
        arguments.run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        raise SystemExit(STOPPED + signal.SIGINT) from None
    except BrokenPipeError:
        if not _nobody_reads():
            raise
        raise SystemExit(STOPPED + signal.SIGPIPE) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _nobody_reads() -> bool:
    """Whether what reads our output has gone (`losh ... | head -1`); then nothing more is said."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    gone = any(event & select.POLLERR for _, event in poll.poll(0))
    if gone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return gone


def _terminated(number: int, _: object) -> NoReturn:
    raise SystemExit(STOPPED + number)


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = _Parser(
        prog="losh",
        description="Referring video object segmentation; the workflow itself runs with `dvc "
        "repro`.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="versions and device")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    add_predict(commands)
    add_demo(commands)

    one = commands.add_parser(
        "check-data", help="say what is wrong in a folder of your own data (docs/own_data.md)"
    )
    one.add_argument("folder", type=Path, help="holds expressions.csv, videos/ and masks/")
    one.set_defaults(run=_check_data)

    one = commands.add_parser("flow", help="show a clip's optical flow (RAFT) as a video")
    one.add_argument("clip", type=Path, help="a video file, or a folder of frames")
    one.add_argument("-o", "--out", type=Path, required=True, help="the video, .mp4")
    one.set_defaults(run=_flow)

    one = commands.add_parser(
        "short-text", help="add short expressions to a CSV with a `query` column"
    )
    one.add_argument("csv", type=Path)
    one.add_argument("-o", "--out", type=Path, required=True)
    one.add_argument(
        "--mode", choices=["subject", "subject_with_position"], default="subject_with_position"
    )
    one.add_argument(
        "--overrides", type=Path, help="CSV with columns long,short that wins over the rule"
    )
    one.set_defaults(run=_short_text)

    one = commands.add_parser("import-checkpoint", help="turn a released checkpoint into ours")
    one.add_argument("checkpoint", type=Path, help="a .pth or .pth.tar file of the released code")
    one.add_argument("-o", "--out", type=Path, required=True, help="our model file, .safetensors")
    one.add_argument(
        "--text-encoder",
        help="folder or hub name of the text encoder it was trained with, for its tokenizer "
        "(default: roberta-base)",
    )
    one.add_argument(
        "--window",
        type=int,
        help="frames of a window it was trained with (default: as published)",
    )
    one.add_argument(
        "--short-side",
        type=int,
        help="short side of its input in pixels (default: as published)",
    )
    one.add_argument(
        "--long-side",
        type=int,
        help="largest long side of its input in pixels (default: as published)",
    )
    one.set_defaults(run=_import)

    one = commands.add_parser(
        "export-checkpoint", help="turn a checkpoint of ours into the released format"
    )
    one.add_argument("checkpoint", type=Path)
    one.add_argument("-o", "--out", type=Path, required=True)
    one.set_defaults(run=_export)

    one = commands.add_parser("recipe", help="switch params.yaml to a ready recipe, or list them")
    one.add_argument("name", nargs="?")
    one.set_defaults(run=_recipe)

    one = commands.add_parser(
        "ablation", help="queue the ablation of the method's parts, or show its table"
    )
    one.add_argument("what", choices=["queue", "show"])
    one.add_argument(
        "--rows",
        nargs="+",
        action="extend",
        metavar="ROW",
        help="these rows alone, such as base all, or --rows=-PART (may be repeated)",
    )
    one.add_argument(
        "--base", metavar="NAME", help="the base pipeline (default: model.base of params.yaml)"
    )
    one.add_argument(
        "--seeds", type=int, nargs="+", default=[0], help="training seeds, a row each (default: 0)"
    )
    one.add_argument(
        "-S",
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="for every row, as in `dvc exp run -S`",
    )
    one.set_defaults(run=_ablation)

    one = commands.add_parser(
        "probe", help="swap the actions of MovingShapes' test sentences: what do predictions do?"
    )
    one.add_argument(
        "models",
        nargs="*",
        metavar="MODEL",
        help="a model file, an experiment's name or a commit (default: the workspace's model)",
    )
    one.add_argument(
        "--dataset",
        default="moving_shapes",
        metavar="NAME",
        help="of kind moving_shapes (default: %(default)s)",
    )
    one.set_defaults(run=_probe)

    one = commands.add_parser("compare", help="the experiments: what each changed, and its scores")
    one.add_argument(
        "-A", "--all", action="store_true", help="those started from other commits too"
    )
    one.set_defaults(run=_compare)

    one = commands.add_parser(
        "report",
        help="the report's page, compared with any commit or experiment",
        description="Write the report's page of what was evaluated here, compared with a commit or "
        "an experiment. (The page that compares with the newest scores in git that differ is the "
        "workflow's: metrics/report/index.html, which `dvc repro` writes.)",
    )
    one.add_argument(
        "--against",
        required=True,
        metavar="NAME",
        help="a commit, branch or tag, or an experiment's name",
    )
    one.add_argument(
        "-o",
        "--out",
        type=Path,
        default=Path("comparison.html"),
        help="the page, .html (default: %(default)s)",
    )
    one.set_defaults(run=_report)

    one = commands.add_parser(
        "summary", help="print the last run's scores and where its pictures are"
    )
    one.set_defaults(run=_summary)

    one = commands.add_parser(
        "check",
        help="what this machine has, what of data and weights is here, and the next command",
        description="What this machine has, what of data and weights is here, and the next "
        "command. (The workflow's stage of that name is another thing: it checks params.yaml.)",
    )
    one.set_defaults(run=_check)

    one = commands.add_parser("completion", help="print a shell's completion of this command")
    one.add_argument("shell", choices=["bash", "zsh", "tcsh"])
    one.set_defaults(run=_completion)
    return parser


def _check_data(arguments: argparse.Namespace) -> None:
    from losh.commands.check_data import check_data

    if not check_data(arguments.folder):
        raise SystemExit(1)


def _flow(arguments: argparse.Namespace) -> None:
    from losh.own_video.show_flow import show_flow
    from losh.params import load_params

    found = show_flow(arguments.clip, arguments.out, load_params().flow)
    height, width = found.size
    print(f"{found.pairs} pairs at {width} x {height}, mean length {found.mean_length:.2f} px")
    for note in found.notes:
        print(f"note: {note}")
    print(f"wrote {arguments.out}")


def _short_text(arguments: argparse.Namespace) -> None:
    from losh.short_text.parse import short_text_csv

    short_text_csv(arguments.csv, arguments.out, arguments.mode, arguments.overrides)
    print(f"wrote {arguments.out}")


def _import(arguments: argparse.Namespace) -> None:
    from losh.model.released import import_checkpoint

    import_checkpoint(
        arguments.checkpoint,
        arguments.out,
        arguments.text_encoder,
        window=arguments.window,
        short_side=arguments.short_side,
        long_side=arguments.long_side,
    )
    print(f"wrote {arguments.out}")


def _export(arguments: argparse.Namespace) -> None:
    from losh.model.released import export_checkpoint

    export_checkpoint(arguments.checkpoint, arguments.out)
    print(f"wrote {arguments.out}")


def _recipe(arguments: argparse.Namespace) -> None:
    require_repository("losh recipe")
    from losh.commands.recipe import list_recipes, use_recipe

    if arguments.name is None:
        list_recipes()
    else:
        use_recipe(arguments.name)


def _ablation(arguments: argparse.Namespace) -> None:
    require_repository("losh ablation")
    from losh.commands.ablation import queue, show

    if arguments.what == "queue":
        queue(arguments.seeds, arguments.set, arguments.base, arguments.rows)
    else:
        show()


def _probe(arguments: argparse.Namespace) -> None:
    from losh.commands.probe import probe
    from losh.params import load_params

    probe(arguments.models, arguments.dataset, load_params().evaluate)


def _compare(arguments: argparse.Namespace) -> None:
    require_repository("losh compare")
    from losh.commands.compare import compare

    compare(arguments.all)


def _report(arguments: argparse.Namespace) -> None:
    require_repository("losh report")
    from losh.commands.comparison import write_comparison

    write_comparison(arguments.against, arguments.out)
    print(f"wrote {arguments.out}")


def _summary(arguments: argparse.Namespace) -> None:
    require_repository("losh summary")
    from losh.commands.summary import print_summary

    print_summary()


def _check(arguments: argparse.Namespace) -> None:
    from losh.commands.this_machine import print_check

    print_check()


def _completion(arguments: argparse.Namespace) -> None:
    import shtab

    whole = parser()
    for command in _commands(whole):
        for action in command._actions:
            if action.type is Path:
                action.complete = shtab.FILE  # type: ignore[attr-defined]  # where shtab looks
    print(shtab.complete(whole, arguments.shell))


def _commands(whole: argparse.ArgumentParser) -> Iterable[argparse.ArgumentParser]:
    """Return the parser of each command."""
    found = [one for one in whole._actions if isinstance(one, argparse._SubParsersAction)]
    return [command for one in found for command in one.choices.values()]


if __name__ == "__main__":
    console()
