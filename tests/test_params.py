"""params.yaml: every wrong key, type or value is one line that names the key and what it takes."""

from pathlib import Path
from typing import get_args

import pytest
import torch
import yaml
from dvc.utils.serialize import modify_yaml

from losh.commands.recipe import as_dvc_writes, use_recipe
from losh.errors import UserError
from losh.params import BackboneParams, StrictLoader, check_params, load_params

ROOT = Path(__file__).parents[1]


def changed(path: str, value: object) -> dict:
    raw = yaml.load((ROOT / "params.yaml").read_text(), StrictLoader)
    part = raw
    *parents, last = path.split(".")
    for key in parents:
        part = part[key]
    part[last] = value
    return raw


def test_the_shipped_file_is_valid_and_has_every_section():
    params = load_params(ROOT / "params.yaml")
    assert list(type(params).model_fields) == [
        "datasets",
        "frames",
        "flow",
        "short_text",
        "model",
        "train",
        "evaluate",
        "pipelines",
    ]
    assert params.pipeline.num_queries == 8


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("train.epocs", 3, ["train.epocs is not a parameter", "epochs"]),
        ("train.learning_rate", "fast", ["train.learning_rate", "number", "'fast'"]),
        ("train.epochs", 0, ["train.epochs", "greater than or equal to 1"]),
        ("train.epochs", 2.5, ["train.epochs", "integer"]),
        ("train.epochs", True, ["train.epochs", "integer"]),
        ("model.base", "other", ["model.base", "'other'", "mttr"]),
        ("model.cross_attention", "no", ["model.cross_attention", "boolean"]),
        (
            "model.cross_attention_blocks",
            9,
            ["cross_attention_blocks is at most mttr.encoder_layers"],
        ),
        ("mttr.num_heads", 3, ["mttr", "multiple of num_heads"]),
        ("mttr.d_modell", 8, ["mttr.d_modell is not a parameter", "d_model"]),
        ("pipelines", {}, ["pipelines is not a parameter"]),
        ("model.backbone.embed_dim", 33, ["model.backbone", "multiple of num_heads[0]"]),
        ("train.datasets", ["kinetics"], ["train.datasets", "kinetics", "moving_shapes"]),
        ("train.sampling_weights", [1.0, 2.0], ["sampling_weights needs one number"]),
        ("datasets.moving_shapes.kind", "coco", ["datasets.moving_shapes", "a2d_sentences"]),
        ("datasets.moving_shapes.height", 97, ["datasets.moving_shapes.height", "multiple of 8"]),
        ("evaluate.rule", "best", ["evaluate.rule", "'long'"]),
        ("frames", None, ["frames"]),
        ("datasets", {}, ["datasets is empty", "losh recipe"]),
        ("mttr.d_model", 4_000_000, ["mttr.d_model", "less than or equal to 8192"]),
        ("model.backbone.depths", [1, 1, 4000], ["depths is at most", "4000"]),
        ("train.batch_size", 10**9, ["batch_size is at most"]),
        ("train.learning_rate", float("inf"), ["train.learning_rate", "finite number"]),
        ("train.weight_decay", float("nan"), ["train.weight_decay", "finite number"]),
        ("train.validation_every", 9, ["validation_every is 9", "8 epochs"]),
        ("model.backbone.checkpoint", "torchvision", ["no torchvision weights of video_swin"]),
        ("model.backbone.name", "resnet50", ["no embedded weights of resnet50"]),
        ("train.consistency.levels", [0, 3], ["train.consistency.levels", "levels 0 to 2"]),
        ("train.backbone_frozen_stages", 4, ["train.backbone_frozen_stages is 4", "3 stages"]),
    ],
)
def test_a_fault_is_one_line_with_key_and_remedy(path, value, expected):
    with pytest.raises(UserError) as error:
        check_params(changed(path, value))
    message = str(error.value)
    assert "\n" not in message
    for part in expected:
        assert part in message


@pytest.mark.parametrize(("base", "stages"), [("mttr", 3), ("referformer", 4), ("sgmg", 4)])
def test_a_published_backbone_has_the_stages_that_its_pipeline_uses(base, stages):
    raw = changed("model.base", base)
    raw["model"]["backbone"] |= {"name": "resnet50", "checkpoint": None, "motion_channels": 0}
    raw["train"]["backbone_frozen_stages"] = stages
    raw["train"]["consistency"]["levels"] = [stages - 1]
    check_params(raw)
    raw["train"]["backbone_frozen_stages"] += 1
    with pytest.raises(UserError, match=f"resnet50 has {stages} stages"):
        check_params(raw)
    raw["train"]["backbone_frozen_stages"] = 0
    raw["train"]["consistency"]["levels"] = [stages]
    with pytest.raises(UserError, match=f"levels 0 to {stages - 1}|less than or equal to 3"):
        check_params(raw)


def test_milestones_lie_within_the_epochs():
    raw = changed("train.milestones", [2, 9])
    check_params(raw)  # cosine reads none
    raw["train"]["schedule"] = "milestones"
    with pytest.raises(UserError, match="milestones name epoch 9, but there are 8 epochs"):
        check_params(raw)


@pytest.mark.parametrize("base", ["mttr", "referformer", "sgmg"])
def test_a_training_has_its_base_pipelines_epochs_where_it_names_none(base):
    raw = changed("model.base", base)
    raw[base]["epochs"] = 5
    raw["train"]["epochs"] = None
    assert check_params(raw).train.epochs == 5
    raw["train"]["epochs"] = 7
    assert check_params(raw).train.epochs == 7
    raw["train"]["epochs"] = raw[base]["epochs"] = None
    with pytest.raises(UserError, match=f"train.epochs is null, and so is {base}.epochs.*Set one"):
        check_params(raw)
    raw[base]["epochs"] = 0
    with pytest.raises(UserError, match=f"{base}.epochs.*greater than or equal to 1"):
        check_params(raw)


@pytest.mark.parametrize("short_stream", [True, False])
def test_some_loss_has_a_weight(short_stream):
    """Without the short stream there is no intersection, whatever its weight."""
    raw = changed("model.short_stream", short_stream)
    for losses in (raw[part]["losses"] for part in raw if "losses" in (raw[part] or {})):
        for key, value in losses.items():
            if isinstance(value, float) and key not in ("no_object", "intersection"):
                losses[key] = 0.0
    raw["train"]["losses"]["intersection"] = 0.0 if short_stream else 0.8
    with pytest.raises(UserError, match="all losses have weight 0"):
        check_params(raw)


@pytest.mark.parametrize("base", ["mttr", "referformer"])
@pytest.mark.parametrize("name", get_args(BackboneParams.model_fields["name"].annotation))
def test_the_number_of_levels_is_that_of_the_backbone(name, base):
    from losh.backbones.weights import build_backbone
    from losh.pipelines import parameters_class

    sizes = {"depths": [1, 1], "num_heads": [1, 1], "embed_dim": 8} if name == "video_swin" else {}
    params = BackboneParams(name=name, checkpoint=None, **sizes)
    with torch.device("meta"):
        pipeline = parameters_class(base)
        built = build_backbone(params, pipeline.backbone_stages)
        assert len(built.channels) == params.levels(pipeline)


def test_a_missing_key_is_named():
    raw = changed("train.epochs", 1)
    del raw["flow"]["iterations"]
    with pytest.raises(UserError, match=r"flow\.iterations is missing"):
        check_params(raw)


def test_a_key_given_twice_is_refused(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text() + "\ntrain: {}\n")
    with pytest.raises(UserError, match="'train' is given twice"):
        load_params(path)


@pytest.mark.parametrize("text", ["1e-4", "1.0e-4", "1E-4", "0.0001"])
def test_exponents_are_numbers_however_they_are_written(text):
    assert yaml.load(f"x: {text}", StrictLoader)["x"] == 1e-4


def test_words_that_look_like_numbers_stay_words():
    assert yaml.load("[e5, 1e, v1e-4, e-5]", StrictLoader) == ["e5", "1e", "v1e-4", "e-5"]


@pytest.mark.parametrize("key", ["train.epochs", "evaluate.checkpoint", "mttr.dropout"])
def test_a_value_that_dvc_changes_changes_one_line(key, tmp_path):
    """By DVC's own writer, as `dvc exp run -S` uses it."""
    shipped = (ROOT / "params.yaml").read_text()
    assert as_dvc_writes(shipped) == shipped, "write as_dvc_writes(text) of losh.commands.recipe"
    (tmp_path / "params.yaml").write_text(shipped)
    *parents, last = key.split(".")
    with modify_yaml(str(tmp_path / "params.yaml")) as document:
        part = document
        for parent in parents:
            part = part[parent]
        part[last] = 7
    after = (tmp_path / "params.yaml").read_text().splitlines()
    changed_lines = [(a, b) for a, b in zip(shipped.splitlines(), after, strict=True) if a != b]
    assert len(changed_lines) == 1 and changed_lines[0][1].lstrip().startswith(f"{last}: 7")


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml")))
def test_a_recipe_is_written_as_dvc_writes_it(name, tmp_path):
    use_recipe(name, ROOT / "recipes", tmp_path / "params.yaml", tmp_path / "before.yaml")
    text = (tmp_path / "params.yaml").read_text()
    assert as_dvc_writes(text) == text
