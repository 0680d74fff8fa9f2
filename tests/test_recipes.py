"""Recipes hold the published values, each of which is written here a second time, by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from losh.commands.recipe import DEFAULT, list_recipes, read_recipe, use_recipe
from losh.errors import UserError
from losh.params import Params, load_params

ROOT = Path(__file__).parents[1]
RECIPES = ROOT / "recipes"

# What MTTR and LoSh on MTTR share on every dataset (their READMEs, configurations and code).
SHARED = {
    "model.base": "mttr",
    "model.backbone.name": "video_swin_t",
    "model.backbone.checkpoint": "torchvision",
    "model.backbone.drop_path": 0.1,
    "model.backbone.motion_channels": 0,
    "model.text_encoder": "roberta-base",
    "mttr.d_model": 256,
    "mttr.num_heads": 8,
    "mttr.ffn_dim": 2048,
    "mttr.dropout": 0.1,
    "mttr.encoder_layers": 3,
    "mttr.decoder_layers": 3,
    "mttr.num_queries": 50,
    "mttr.kernel_dim": 8,
    "mttr.epochs": None,
    "mttr.losses.reference": 2.0,
    "mttr.losses.focal": 2.0,
    "mttr.losses.dice": 5.0,
    "mttr.losses.no_object": 0.1,
    "mttr.losses.encoder_reference": 0.0,
    "mttr.losses.encoder_reference_streams": "both",
    "mttr.losses.mask_stride": 1,
    "short_text.prefer_published": True,
    "frames.short_side": None,
    "frames.keep": "windows",
    "train.last_batch": "keep",
    "train.backbone_frozen_stages": 0,
    "train.expressions_per_window": 1,
    "train.resize_filter": "pil_bilinear",
    "train.start_from": None,
    "train.start_without": [],
    "train.pseudo_clips": False,
    "train.flip": 0.5,
    "train.augmentation.clips": "windows",
    "train.augmentation.reverse": 0.0,
    "train.augmentation.short_sides": [],
    "train.augmentation.crop.probability": 0.0,
    "train.augmentation.colour.probability": 0.0,
    "train.augmentation.colour.permutation": 0.0,
    "train.learning_rate": 1e-4,
    "train.backbone_learning_rate": 1e-5,
    "train.text_encoder_learning_rate": 0.0,
    "train.weight_decay": 1e-4,
    "train.clip_norm": 0.1,
    "train.warmup_steps": 0,
    "train.schedule": "milestones",
    "train.gamma": 0.4,
    "train.precision": "fp16",
    "train.seed": 42,
    "train.validation_fraction": 0.0,
    "train.losses.auxiliary": True,
    "evaluate.rule": "long",
    "evaluate.precision": "fp32",
    "evaluate.batch_size": 3,
    "evaluate.order": "file",
    "evaluate.threshold": 0.5,
}
A2D = {
    "frames.window": 10,
    "frames.jpeg_quality": "lossless",
    "train.datasets": ["a2d_sentences"],
    "train.epochs": 70,
    "train.short_side": 320,
    "train.long_side": 576,
    "evaluate.chunk": None,
}
YOUTUBE_VOS = {
    "frames.window": 12,
    "train.datasets": ["refer_youtube_vos"],
    "train.epochs": 30,
    "train.batch_size": 4,
    "train.short_side": 360,
    "train.long_side": 640,
    "evaluate.chunk": None,
}
RELEASED = {
    "model.short_stream": True,
    "model.cross_attention": False,
    "train.losses.intersection": 0.8,
    "train.losses.intersection_form": "hard",
    "train.losses.consistency": 0.0,
}
LOSH = {
    **RELEASED,
    "model.cross_attention": True,
    "model.cross_attention_blocks": 2,
    "model.cross_attention_place": "inside",
    "train.losses.consistency": 0.5,
    "train.consistency.levels": [2],
    "train.consistency.distance": "cosine",
    "train.consistency.occlusion": True,
    "train.consistency.stop_gradient": "none",
    "flow.model": "raft",
}
MTTR = {**RELEASED, "model.short_stream": False, "train.losses.intersection": 0.0}
METHODS = {"released": RELEASED, "losh": LOSH, "mttr": MTTR}
ON_A2D = {  # batch over all GPUs, milestones
    "released": {"train.batch_size": 12, "train.milestones": [20, 40, 60]},
    "losh": {"train.batch_size": 12, "train.milestones": [20, 40, 60]},
    "mttr": {"train.batch_size": 6, "train.milestones": [50]},
}
ON_YOUTUBE_VOS = {  # what the released codes run, and what they intend
    "released": {"train.milestones": [1]},
    "losh": {"train.milestones": [20]},
    "mttr": {"train.milestones": [1]},
}
DATASETS = {
    "a2d_sentences": ["a2d_sentences"],
    "a2d_to_jhmdb": ["a2d_sentences", "jhmdb_sentences"],
    "refer_youtube_vos": ["refer_youtube_vos"],
    "youtube_vos_to_davis": ["refer_youtube_vos", "refer_davis17"],
}
ON_MTTR = [f"{method}_{data}" for method in METHODS for data in DATASETS]

# What ReferFormer and SgMg share on every dataset (their READMEs, options and code).
DEFORMABLE = {
    "model.backbone.name": "video_swin_t",
    "model.backbone.drop_path": 0.2,
    "model.backbone.motion_channels": 0,
    "model.text_encoder": "roberta-base",
    "d_model": 256,
    "num_heads": 8,
    "ffn_dim": 2048,
    "dropout": 0.1,
    "encoder_layers": 4,
    "decoder_layers": 4,
    "num_queries": 5,
    "feature_levels": 4,
    "points": 4,
    "losses.reference": 2.0,
    "losses.box": 5.0,
    "losses.giou": 2.0,
    "losses.encoder_reference": 0.0,
    "epochs": None,
    "losses.focal": 2.0,
    "losses.dice": 5.0,
    "short_text.prefer_published": True,
    "frames.short_side": None,
    "train.last_batch": "drop",
    "train.backbone_frozen_stages": 0,
    "train.expressions_per_window": 1,
    "train.short_side": 360,
    "train.resize_filter": "pil_bilinear",
    "train.sampling_weights": None,
    "train.pseudo_clips": False,
    "train.flip": 0.5,
    "train.augmentation.crop.probability": 0.5,
    "train.augmentation.crop.short_sides": [400, 500, 600],
    "train.augmentation.crop.sides": [384, 600],
    "train.augmentation.crop.keeps": "some",
    "train.text_encoder_learning_rate": 0.0,
    "train.weight_decay": 5e-4,
    "train.clip_norm": 0.1,
    "train.warmup_steps": 0,
    "train.schedule": "milestones",
    "train.gamma": 0.1,
    "train.precision": "fp32",
    "train.seed": 42,
    "train.validation_fraction": 0.0,
    "train.losses.auxiliary": True,
    "evaluate.rule": "long",
    "evaluate.order": "file",
    "evaluate.threshold": 0.5,
    "evaluate.chunk": None,
}
VIDEO = {
    "frames.window": 5,
    "train.augmentation.clips": "sparse",
    "train.augmentation.short_sides": [288, 320, 352, 392, 416, 448, 480, 512],
    "train.augmentation.long_side": 640,
    "train.augmentation.crop.final_short_sides": [],
    "train.augmentation.colour.probability": 0.5,
    "train.augmentation.colour.brightness": 32.0,
}
PICTURES = {
    "frames.window": 1,
    "train.datasets": ["refcoco", "refcoco_plus", "refcocog"],
    "train.long_side": 640,
    "train.augmentation.short_sides": list(range(480, 769, 32)),
    "train.augmentation.long_side": 800,
    "train.augmentation.crop.final_short_sides": [296, 328, 360, 392, 416, 448, 480, 512],
    "train.augmentation.crop.final_long_side": 640,
    "train.augmentation.colour.probability": 0.0,
    "train.augmentation.colour.permutation": 0.0,
    "train.augmentation.reverse": 0.0,
}
REFERFORMER = {
    "mask_layers": 3,
    "mask_channels": 8,
    "train.learning_rate": 1e-4,
    "train.backbone_learning_rate": 5e-5,
    "train.augmentation.reverse": 0.0,
    "evaluate.precision": "fp32",
}
REFERFORMER_COLOURS = {
    "train.augmentation.colour.contrast": 0.5,
    "train.augmentation.colour.saturation": 0.5,
    "train.augmentation.colour.hue": 18.0,
    "train.augmentation.colour.permutation": 0.5,
    "train.augmentation.colour.clip": "never",
    "train.augmentation.colour.when": "before_resizing",
}
SGMG = {
    "losses.focal_low": 2.0,
    "losses.dice_low": 5.0,
    "train.learning_rate": 2.5e-5,
    "train.backbone_learning_rate": 1.25e-5,
}
SGMG_COLOURS = {
    "train.augmentation.colour.contrast": 0.2,
    "train.augmentation.colour.saturation": 0.2,
    "train.augmentation.colour.hue": 0.0,
    "train.augmentation.colour.permutation": 0.2,
    "train.augmentation.colour.clip": "after_brightness",
}
ON_VIDEOS = {
    "referformer": {**REFERFORMER, **VIDEO, **REFERFORMER_COLOURS},
    "sgmg": {**SGMG, **VIDEO, **SGMG_COLOURS},
}
WITHOUT_HEADS = {"train.start_without": ["base.class_heads"], "model.backbone.checkpoint": None}
FROM_KINETICS = {
    "train.start_from": None,
    "train.start_without": [],
    "model.backbone.checkpoint": "torchvision",
}


def schedule(epochs: int, milestones: list[int], batch: int) -> dict[str, Any]:
    return {
        "train.epochs": epochs,
        "train.milestones": milestones,
        "train.batch_size": batch,
    }


def run_of(base: str, run: str) -> dict[str, Any]:
    """What one published training of ReferFormer or SgMg sets: its column of the table."""
    fine = {"train.start_from": f"checkpoints/{base}_pretrain_refcoco.safetensors"}
    fine |= WITHOUT_HEADS
    youtube = {
        **ON_VIDEOS[base],
        "frames.keep": "windows",
        "train.datasets": ["refer_youtube_vos"],
        "train.long_side": 8192,
    }
    a2d = {
        **ON_VIDEOS[base],
        "frames.keep": "all",
        "frames.jpeg_quality": "lossless",
        "train.datasets": ["a2d_sentences"],
        "train.long_side": 640,
    }
    if base == "sgmg":
        by_epoch = {"train.augmentation.reverse": 0.3}
        by_epoch |= {"train.augmentation.colour.when": "after_resizing"}
        youtube |= {**by_epoch, "evaluate.precision": "fp16"}
        a2d |= {"train.augmentation.reverse": 0.0, "evaluate.precision": "fp32"}
        a2d |= {"train.augmentation.colour.when": "before_resizing"}
        faster = {"train.learning_rate": 5e-5, "train.backbone_learning_rate": 2.5e-5}
        text = {"train.text_encoder_learning_rate": 2.5e-6}
        return {
            "refer_youtube_vos": {**youtube, **fine, **schedule(6, [3, 5], 2)},
            "refer_youtube_vos_scratch": {
                **youtube,
                **FROM_KINETICS,
                **schedule(10, [6, 8], 2),
                **faster,
                "train.precision": "fp16",
            },
            "pretrain_refcoco": {
                **SGMG,
                **PICTURES,
                **FROM_KINETICS,
                **text,
                **schedule(11, [8, 10], 4),
            },
            "a2d_sentences": {**a2d, **fine, **schedule(6, [3, 5], 4)},
        }[run]
    text = {"train.text_encoder_learning_rate": 1e-5}
    joint = {
        "train.datasets": ["refcoco", "refcoco_plus", "refcocog", "refer_youtube_vos"],
        "train.pseudo_clips": True,
    }
    return {
        "refer_youtube_vos": {**youtube, **fine, **schedule(6, [3, 5], 8)},
        "refer_youtube_vos_scratch": {**youtube, **FROM_KINETICS, **schedule(10, [6, 8], 8)},
        "joint": {**youtube, **FROM_KINETICS, **joint, **schedule(12, [8, 10], 32)},
        "pretrain_refcoco": {
            **REFERFORMER,
            **PICTURES,
            **FROM_KINETICS,
            **text,
            **schedule(12, [8, 10], 64),
        },
        "a2d_sentences": {**a2d, **fine, **schedule(6, [3, 5], 16)},
        "a2d_sentences_scratch": {
            **a2d,
            **FROM_KINETICS,
            **schedule(12, [8, 10], 8),
            "frames.window": 6,
            "dropout": 0.0,
            "train.weight_decay": 1e-4,
        },
    }[run]


RUNS = {
    "referformer": {
        "refer_youtube_vos": ["refer_youtube_vos"],
        "refer_youtube_vos_scratch": ["refer_youtube_vos"],
        "joint": ["refer_youtube_vos", "refcoco", "refcoco_plus", "refcocog"],
        "pretrain_refcoco": ["refcoco", "refcoco_plus", "refcocog"],
        "a2d_sentences": ["a2d_sentences"],
        "a2d_sentences_scratch": ["a2d_sentences"],
        "a2d_to_jhmdb": ["a2d_sentences", "jhmdb_sentences"],
        "youtube_vos_to_davis": ["refer_youtube_vos", "refer_davis17"],
    },
    "sgmg": {
        "refer_youtube_vos": ["refer_youtube_vos"],
        "refer_youtube_vos_scratch": ["refer_youtube_vos"],
        "pretrain_refcoco": ["refcoco", "refcoco_plus", "refcocog"],
        "a2d_sentences": ["a2d_sentences"],
        "a2d_to_jhmdb": ["a2d_sentences", "jhmdb_sentences"],
        "youtube_vos_to_davis": ["refer_youtube_vos", "refer_davis17"],
    },
}
"""Base pipeline -> published training -> datasets of its recipe."""
ALSO_SCORED = {"a2d_to_jhmdb": "a2d_sentences", "youtube_vos_to_davis": "refer_youtube_vos"}
OTHERS = {  # name -> (base, run, whether LoSh is on it)
    f"{losh}{base}_{run}": (base, run, bool(losh))
    for base, runs in RUNS.items()
    for run in runs
    for losh in ("", "losh_")
    # LoSh starts from the base pipeline's own pretraining.
    if not (losh and run == "pretrain_refcoco")
}
NAMES = [*ON_MTTR, *OTHERS]

# Parameters that a recipe need not set: they change no published value, or have no effect in it.
FREE = {
    "short_text.mode",  # of sentences without the authors' short text
    "short_text.overrides",
    "model.backbone.embed_dim",  # of the backbone `video_swin` alone
    "model.backbone.depths",
    "model.backbone.num_heads",
    "model.backbone.window_size",
    "train.sampling_weights",  # of several training datasets
    "train.compile",
    "train.checkpoint_blocks",  # the same result with less memory
    "train.validation_every",  # nothing is held out
    "evaluate.checkpoint",
    "evaluate.trivial",
    "evaluate.pictures",
}
FREE_WITHOUT_THE_PARTS = {  # no cross-attention, no consistency loss
    "model.cross_attention_blocks",
    "model.cross_attention_levels",
    "model.cross_attention_place",
    "train.consistency.levels",
    "train.consistency.distance",
    "train.consistency.occlusion",
    "train.consistency.stop_gradient",
}


def published(name: str) -> dict[str, Any]:
    if name in OTHERS:
        return published_elsewhere(*OTHERS[name])
    method, data = name.split("_", 1)
    values = {**SHARED, **METHODS[method]}
    if data in ("a2d_sentences", "a2d_to_jhmdb"):
        values |= {**A2D, **ON_A2D[method]}
    else:
        values |= {**YOUTUBE_VOS, **ON_YOUTUBE_VOS[method]}
    if data == "a2d_to_jhmdb":
        values["datasets.jhmdb_sentences.require_sample_list"] = True
    if data == "youtube_vos_to_davis":
        values["evaluate.chunk"] = 36
    return values


def published_elsewhere(base: str, run: str, losh: bool) -> dict[str, Any]:
    parts = {**LOSH, "train.augmentation.reach": 1} if losh else MTTR
    reach = {"train.augmentation.reach": 3} if not losh and run != "pretrain_refcoco" else {}
    training = run_of(base, ALSO_SCORED.get(run, run))
    values = {**DEFORMABLE, **reach, **parts, **training, "model.base": base}
    if run == "a2d_to_jhmdb":
        values["datasets.jhmdb_sentences.require_sample_list"] = True
    if run == "youtube_vos_to_davis":
        values["evaluate.chunk"] = 36
    sections = {"datasets", "frames", "flow", "short_text", "model", "train", "evaluate"}
    return {
        key if key.split(".")[0] in sections else f"{base}.{key}": value
        for key, value in values.items()
    }


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by dotted key."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        found |= flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return found


def without_effect(params: Params) -> set[str]:
    """Keys of augmentation that do nothing, because what they belong to is off."""
    own = params.train.augmentation
    found = {"train.augmentation.reach"} if own.clips == "windows" else set()
    parts = {"crop": own.crop.probability > 0, "colour": own.colour.is_on}
    for part, is_on in parts.items():
        keys = flat(getattr(own, part).model_dump()) if not is_on else []
        found |= {f"train.augmentation.{part}.{key}" for key in keys}
    return found - {
        "train.augmentation.crop.probability",
        "train.augmentation.colour.probability",
        "train.augmentation.colour.permutation",
    }


def resolved(name: str, folder: Path) -> Params:
    use_recipe(name, RECIPES, folder / "params.yaml", folder / "params.previous.yaml")
    return load_params(folder / "params.yaml")


def as_written(params: Params) -> dict[str, Any]:
    """The sections of params.yaml, of the base pipelines' that one which is used."""
    values = params.model_dump()
    return values | {params.model.base: values.pop("pipelines")[params.model.base]}


def header(name: str) -> list[str]:
    lines = (RECIPES / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    return lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))]


def test_the_default_recipe_is_the_shipped_file():
    assert (RECIPES / f"{DEFAULT}.yaml").read_text() == (ROOT / "params.yaml").read_text()


def test_there_is_a_recipe_of_each_method_for_each_dataset():
    assert {path.stem for path in RECIPES.glob("*.yaml")} == {DEFAULT, *NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_has_the_published_values(name: str, tmp_path: Path):
    values = flat(as_written(resolved(name, tmp_path)))
    expected = published(name)
    assert {key: values[key] for key in expected} == expected


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_has_its_datasets(name: str, tmp_path: Path):
    base, run, _ = OTHERS.get(name, ("", "", False))
    expected = RUNS[base][run] if base else DATASETS[name.split("_", 1)[1]]
    assert list(resolved(name, tmp_path).datasets) == expected


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_inherits_nothing_of_the_default_by_accident(name: str, tmp_path: Path):
    """A new parameter belongs into the recipes, or, where it changes no published value, into
    FREE.
    """
    params = resolved(name, tmp_path)
    free = FREE | (set() if params.model.cross_attention else FREE_WITHOUT_THE_PARTS)
    free |= without_effect(params)
    whole = flat(as_written(params)).keys() - flat(read_recipe(name, RECIPES)).keys()
    inherited = {key for key in whole if not key.startswith("datasets.")}  # replaced whole
    assert {key for key in inherited if not key.endswith(".on_error")} <= free


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_says_what_it_is_how_to_run_it_and_what_was_published(name: str):
    what, command, score, gpus, tried, *_ = header(name)
    assert what.startswith("# ") and len(what) > 20
    assert command == f"#   losh recipe {name} && dvc repro"
    assert score.startswith("# Published: ") and gpus.startswith("# GPUs: ")
    assert tried.startswith("# Not run by us")


@pytest.mark.parametrize("name", [DEFAULT, *NAMES])
def test_a_recipe_keeps_the_comments_and_the_file_as_it_was(name: str, tmp_path: Path):
    (tmp_path / "params.yaml").write_text("mine: 1\n")
    params = resolved(name, tmp_path)
    assert set(params.train.datasets) <= set(params.datasets)
    assert "# a pixel belongs to the mask above this" in (tmp_path / "params.yaml").read_text()
    assert (tmp_path / "params.previous.yaml").read_text() == "mine: 1\n"


def test_recipes_are_listed_with_what_they_are(capsys: pytest.CaptureFixture[str]):
    list_recipes(RECIPES)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == sorted([DEFAULT, *NAMES])
    assert all(len(line) <= 120 for line in lines)
    for line in lines:
        name = line.split()[0]
        what = line.removeprefix(name).strip()
        assert len(name) > 29 or line[31:] == what
        assert what == header(name)[0].removeprefix("# ") or name == DEFAULT


def test_an_unknown_recipe_names_the_known_ones():
    with pytest.raises(UserError, match="released_a2d_sentences"):
        use_recipe("coco", RECIPES)
