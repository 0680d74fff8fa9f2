"""params.yaml: every wrong key, type or value is one line that names the key and what it takes."""

from pathlib import Path

import pytest
import yaml

from losh.commands.recipe import list_recipes, read_recipe, use_recipe
from losh.errors import UserError
from losh.params import StrictLoader, check_params, load_params

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
    ],
)
def test_a_fault_is_one_line_with_key_and_remedy(path, value, expected):
    with pytest.raises(UserError) as error:
        check_params(changed(path, value))
    message = str(error.value)
    assert "\n" not in message
    for part in expected:
        assert part in message


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


def test_the_default_recipe_is_the_shipped_file():
    assert (ROOT / "recipes" / "moving_shapes.yaml").read_text() == (
        ROOT / "params.yaml"
    ).read_text()


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml")))
def test_every_recipe_gives_valid_parameters_and_keeps_the_comments(name, tmp_path):
    before = tmp_path / "params.yaml"
    before.write_text("mine: 1\n")
    use_recipe(name, ROOT / "recipes", before, tmp_path / "params.previous.yaml")
    params = load_params(before)
    assert set(params.train.datasets) <= set(params.datasets)
    assert "# a pixel belongs to the mask above this probability" in before.read_text()
    assert (tmp_path / "params.previous.yaml").read_text() == "mine: 1\n"


def test_published_sizes_are_in_the_a2d_recipe():
    recipe = read_recipe("a2d_sentences", ROOT / "recipes")
    assert (
        recipe["frames"]["window"],
        recipe["train"]["short_side"],
        recipe["train"]["long_side"],
    ) == (10, 320, 576)
    assert (
        recipe["mttr"]["d_model"],
        recipe["mttr"]["num_queries"],
        recipe["model"]["text_encoder"],
    ) == (256, 50, "roberta-base")


@pytest.mark.parametrize(
    "name", ["a2d_sentences", "a2d_to_jhmdb", "refer_youtube_vos", "youtube_vos_to_davis"]
)
def test_recipes_of_published_datasets_have_the_published_values(name, tmp_path):
    """The default's own weights and shortcuts must not leak into them."""
    use_recipe(name, ROOT / "recipes", tmp_path / "params.yaml", tmp_path / "before.yaml")
    params = load_params(tmp_path / "params.yaml")
    train, losses = params.train, params.pipeline.losses
    assert (
        losses.reference,
        losses.focal,
        losses.dice,
        train.losses.intersection,
        losses.no_object,
    ) == (
        2.0,
        2.0,
        5.0,
        0.8,
        0.1,
    )
    assert (
        losses.encoder_reference,
        losses.mask_stride,
        train.losses.intersection_form,
        train.expressions_per_window,
    ) == (0.0, 1, "hard", 1)
    assert (train.schedule, params.evaluate.rule) == ("milestones", "long")


def test_an_unknown_recipe_names_the_known_ones(capsys):
    with pytest.raises(UserError, match="a2d_sentences"):
        use_recipe("coco", ROOT / "recipes")
    list_recipes(ROOT / "recipes")
    assert "refer_youtube_vos" in capsys.readouterr().out
