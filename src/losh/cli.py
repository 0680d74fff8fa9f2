"""The console script `losh`: what people do besides `dvc repro`."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from losh import __version__
from losh.errors import friendly
from losh.params import load_params

DEFAULT_MODEL = Path("data/model/model.safetensors")


@friendly
def main(argv: list[str] | None = None) -> None:
    """Parse the command line and run one command."""
    arguments = _parser().parse_args(argv)
    arguments.run(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="losh",
        description="Referring video object segmentation; the workflow itself runs with `dvc "
        "repro`.",
    )
    parser.add_argument("--version", action="version", version=f"losh {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    one = commands.add_parser("predict", help="mask what a sentence refers to in a video of yours")
    one.add_argument("clip", type=Path, help="a video file, or a folder of .jpg or .png frames")
    one.add_argument("sentence", help='for instance "the man in white on the left"')
    one.add_argument("-o", "--out", type=Path, required=True, help="the overlay video, .mp4")
    one.add_argument(
        "--model", type=Path, default=DEFAULT_MODEL, help="checkpoint (default: %(default)s)"
    )
    one.add_argument("--short", help="short expression (default: made by the workflow's rule)")
    one.add_argument("--masks", type=Path, help="folder for one 0/255 PNG per frame")
    one.add_argument(
        "--rate",
        type=float,
        default=10.0,
        help="frames per second of the overlay (default: %(default)s)",
    )
    one.add_argument(
        "--rule",
        choices=["long", "product", "intersection", "mean"],
        default="mean",
        help="how the masks of both streams become one (default: %(default)s)",
    )
    one.add_argument(
        "--threshold",
        type=_fraction,
        default=0.5,
        help="probability above which a pixel belongs to the mask (default: %(default)s)",
    )
    one.add_argument(
        "--chunk", type=_count, default=24, help="frames at once (default: %(default)s)"
    )
    one.add_argument(
        "--mode",
        choices=["subject", "subject_with_position"],
        default="subject_with_position",
        help="of the short expression that is made (default: %(default)s)",
    )
    one.set_defaults(run=_predict)

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
    one.add_argument("--rows", nargs="+", metavar="ROW", help="these rows alone, such as base all")
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
        "summary", help="print the last run's scores and where its pictures are"
    )
    one.set_defaults(run=_summary)
    return parser


def _fraction(text: str) -> float:
    """A number from 0 to 1."""
    if not 0 <= float(text) <= 1:
        raise argparse.ArgumentTypeError(f"{text} does not lie between 0 and 1")
    return float(text)


def _count(text: str) -> int:
    """A whole number of at least 1."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return int(text)


def _predict(arguments: argparse.Namespace) -> None:
    from losh.inference.predict import Settings, predict

    names = (field.name for field in dataclasses.fields(Settings))
    found = predict(
        arguments.clip,
        arguments.sentence,
        arguments.out,
        arguments.model,
        arguments.short,
        arguments.masks,
        Settings(**{name: getattr(arguments, name) for name in names}),
    )
    print(f"short expression: {found['short']}")
    print(
        f"score {found['score']:.3f}; the masks cover {100 * found['covered']:.1f} % of the "
        f"pixels of {found['frames']} frames"
    )
    print(f"wrote {arguments.out}" + (f" and {arguments.masks}/" if arguments.masks else ""))


def _check_data(arguments: argparse.Namespace) -> None:
    from losh.commands.check_data import check_data

    if not check_data(arguments.folder):
        raise SystemExit(1)


def _flow(arguments: argparse.Namespace) -> None:
    from losh.inference.predict import show_flow

    found = show_flow(arguments.clip, arguments.out, load_params().flow)
    height, width = found["size"]
    print(
        f"{found['pairs']} pairs at {width} x {height}, mean length {found['mean_length']:.2f} "
        f"px\nwrote {arguments.out}"
    )


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
    from losh.commands.recipe import list_recipes, use_recipe

    if arguments.name is None:
        list_recipes()
    else:
        use_recipe(arguments.name)


def _ablation(arguments: argparse.Namespace) -> None:
    from losh.commands.ablation import queue, show

    if arguments.what == "queue":
        queue(arguments.seeds, arguments.set, arguments.base, arguments.rows)
    else:
        show()


def _probe(arguments: argparse.Namespace) -> None:
    from losh.commands.probe import probe

    probe(arguments.models, arguments.dataset, load_params().evaluate)


def _compare(arguments: argparse.Namespace) -> None:
    from losh.commands.compare import compare

    compare(arguments.all)


def _summary(arguments: argparse.Namespace) -> None:
    from losh.commands.summary import print_summary

    print_summary()


if __name__ == "__main__":
    main()
