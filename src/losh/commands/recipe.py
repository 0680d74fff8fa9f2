"""Ready recipes: published values that a user switches to with one command, `losh recipe NAME`."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import yaml

from losh.errors import UserError
from losh.params import StrictLoader, check_params
from losh.runtime.files import atomic_write

RECIPES = Path("recipes")
DEFAULT = "moving_shapes"
"""The recipe that is a whole params.yaml; what another recipe does not name is as it is there."""
PARAMS = Path("params.yaml")
PREVIOUS = Path("params.previous.yaml")


def list_recipes(folder: Path = RECIPES) -> None:
    """Print each recipe with the first line of its comment."""
    for path in sorted(folder.glob("*.yaml")):
        print(f"{path.stem:24}{path.read_text(encoding='utf-8').splitlines()[0].lstrip('# ')}")


def use_recipe(
    name: str, folder: Path = RECIPES, params: Path = PARAMS, previous: Path = PREVIOUS
) -> None:
    """Write the recipe's values into params.yaml; its comments stay.

    The file as it was is kept beside it.

    Values that a recipe does not name are the shipped defaults, whatever params.yaml held before,
    so that a recipe means the same each time.

    Raises:
        UserError: there is no such recipe, or it does not fit the schema.
    """
    round_trip = _round_trip()
    document = round_trip.load((folder / f"{DEFAULT}.yaml").read_text(encoding="utf-8"))
    if name != DEFAULT:
        _merge(document, read_recipe(name, folder))
    text = io.StringIO()
    round_trip.dump(document, text)
    check_params(yaml.load(text.getvalue(), StrictLoader), f"recipe {name}")
    if params.exists():
        shutil.copyfile(params, previous)
    with atomic_write(params) as part:
        part.write_text(text.getvalue(), encoding="utf-8")
    print(f"{params} now holds the recipe {name}; as it was before: {previous}. Next: `dvc repro`")


def read_recipe(name: str, folder: Path = RECIPES) -> dict[str, Any]:
    """Return the recipe's values, with those of the recipe that it is based on."""
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml")))
        raise UserError(f"there is no recipe {name!r}", f"Take one of {known}")
    values = _round_trip().load(path.read_text(encoding="utf-8"))
    base = values.pop("base", None)
    if base is None:
        return values
    merged = read_recipe(base, folder)
    _merge(merged, values)
    return merged


def _round_trip() -> Any:
    """YAML that keeps comments and the way numbers are written."""
    from ruamel.yaml import YAML

    yaml_file = YAML()
    yaml_file.preserve_quotes = True
    yaml_file.width = 400
    yaml_file.representer.add_representer(
        type(None),
        lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null"),
    )
    return yaml_file


def _merge(into: Any, values: dict[str, Any]) -> None:
    """Set the values in place; mappings are merged, but `datasets` is replaced whole."""
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict) and key != "datasets":
            _merge(into[key], value)
        else:
            into[key] = value
