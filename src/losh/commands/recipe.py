"""Ready recipes: published values that a user switches to with one command, `losh recipe NAME`."""

from __future__ import annotations

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
SHIPPED = "The shipped params.yaml: LoSh on the generated MovingShapes, half an hour on two cores."
PARAMS = Path("params.yaml")
PREVIOUS = Path("params.previous.yaml")


def list_recipes(folder: Path = RECIPES) -> None:
    """Print each recipe with what it is: the first line of its comment."""
    for path in sorted(folder.glob("*.yaml")):
        what = path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        print(f"{path.stem + '  ':31}{SHIPPED if path.stem == DEFAULT else what}")


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
    from dvc.utils.serialize import dumps_yaml

    document = _parsed((folder / f"{DEFAULT}.yaml").read_text(encoding="utf-8"))
    if name != DEFAULT:
        _merge(document, read_recipe(name, folder))
    text = dumps_yaml(document)
    check_params(yaml.load(text, StrictLoader), f"recipe {name}")
    if params.exists():
        shutil.copyfile(params, previous)
    with atomic_write(params) as part:
        part.write_text(text, encoding="utf-8")
    print(f"{params} now holds the recipe {name}; as it was before: {previous}. Next: `dvc repro`")


def read_recipe(name: str, folder: Path = RECIPES) -> dict[str, Any]:
    """Read the recipe's values, with those of the recipe that its key `base` names.

    Raises:
        UserError: there is no such recipe.
    """
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml")))
        raise UserError(f"there is no recipe {name!r}", f"Take one of {known}")
    values = _parsed(path.read_text(encoding="utf-8"))
    base = values.pop("base", None)
    if base is None:
        return values
    merged = read_recipe(base, folder)
    _merge(merged, values)
    return merged


def as_dvc_writes(text: str) -> str:
    """Return a params.yaml in the form in which `dvc exp run -S` writes it.

    A value that is changed then changes one line. null is written as nothing.
    """
    from dvc.utils.serialize import dumps_yaml

    return dumps_yaml(_parsed(text))


def _parsed(text: str) -> Any:
    """YAML that keeps comments and the way numbers are written."""
    from dvc.utils.serialize import parse_yaml_for_update

    return parse_yaml_for_update(text, "a recipe")


def _merge(into: Any, values: dict[str, Any]) -> None:
    """Set the values in place; mappings are merged, but `datasets` is replaced whole."""
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict) and key != "datasets":
            _merge(into[key], value)
        else:
            into[key] = value
