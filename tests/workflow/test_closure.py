"""dvc.yaml tells the truth: each stage's `deps` cover its imports, and its `params` exist."""

import ast
import shutil
from pathlib import Path

import pytest
import yaml

from losh import pipelines
from losh.params import Params
from losh.runtime import resume

ROOT = Path(__file__).parents[2]
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
# How a stage fails, waits, resumes and reports, not what its outputs hold: DVC does not watch it.
UNWATCHED = ("__init__.py", "errors.py", "params.py", "runtime/")  # fmt: skip

EMBEDDED = {
    "train": {
        "src/losh/model/embedded_text_encoder/tokenizer.json",
        "src/losh/model/embedded_text_encoder/model.safetensors",
        "src/losh/backbones/embedded/model.safetensors",
    },
    "compute_flow": {"src/losh/flow/weights/raft_small/model.safetensors"},
}
"""Weights that lie beside the code."""


def stage(name: str) -> dict:
    return PIPELINE[name].get("do", PIPELINE[name])


def filled(dep: str) -> str:
    """The dependency with the default's base pipeline in its place."""
    return dep.replace("${model.base}", "mttr")


def module_file(name: str) -> Path | None:
    base = ROOT / "src" / Path(*name.split("."))
    return (
        base / "__init__.py"
        if base.is_dir()
        else base.with_suffix(".py")
        if base.with_suffix(".py").exists()
        else None
    )


def imported_modules(path: Path) -> set[str]:
    found = set()
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []  # for type checkers alone
    if path.match("losh/model/build.py"):
        found.add("losh.pipelines.mttr.network")  # by name, at run time: the default's
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from losh.frames import FrameStore` may name a module or something in one.
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "losh"}


def closure(script: Path) -> set[str]:
    """Files of src/losh, relative to it, that importing the script's modules can reach (imports
    inside functions too).
    """
    waiting, seen = [script], set()
    while waiting:
        for name in imported_modules(waiting.pop()):
            parents = [".".join(name.split(".")[: i + 1]) for i in range(1, name.count(".") + 1)]
            for module in [*parents, name]:
                file = module_file(module)
                if file and file not in seen:
                    seen.add(file)
                    waiting.append(file)
    return {str(file.relative_to(ROOT / "src" / "losh")) for file in seen}


@pytest.mark.parametrize("name", list(PIPELINE))
def test_deps_cover_the_imports(name):
    deps = [
        filled(dep).removeprefix("src/losh/")
        for dep in stage(name)["deps"]
        if dep.startswith("src/losh")
    ]
    # A package's __init__ only names what lies beside it; where a single file is a dep, its
    # package's __init__ is not the point.
    reached = {
        file
        for file in closure(ROOT / "stages" / f"{name}.py")
        if not file.startswith(UNWATCHED) and not file.endswith("__init__.py")
    }
    missing = sorted(
        file
        for file in reached
        if not any(file == dep or file.startswith(dep + "/") for dep in deps)
    )
    assert not missing, f"{name} imports {missing}, which its deps do not name"


@pytest.mark.parametrize("base", pipelines.names())
@pytest.mark.parametrize("name", ["train", "evaluate"])
def test_deps_cover_every_base_pipeline(name, base):
    """A base pipeline imports from its own folder and from what all may share."""
    deps = [dep.replace("${model.base}", base) for dep in stage(name)["deps"]]
    deps = [dep.removeprefix("src/losh/") for dep in deps if dep.startswith("src/losh")]
    network = ROOT / "src" / "losh" / "pipelines" / base / "network.py"
    missing = sorted(
        file
        for file in closure(network)
        if not file.startswith(UNWATCHED) and not file.endswith("__init__.py")
        if not any(file == dep or file.startswith(dep + "/") for dep in deps)
    )
    assert not missing, f"{base} imports {missing}, which {name}'s deps do not name"


@pytest.mark.parametrize("name", list(PIPELINE))
def test_deps_exist_and_hold_no_more_code_than_is_imported(name):
    reached = closure(ROOT / "stages" / f"{name}.py")
    for dep in stage(name)["deps"]:
        if dep.startswith(("src/", "stages/")):
            assert (ROOT / filled(dep)).exists(), dep
        if dep.startswith("src/losh/"):
            part = filled(dep).removeprefix("src/losh/")
            assert part.endswith("__init__.py") or any(
                file == part or file.startswith(part + "/") for file in reached
            ), f"{name} names {dep}, which it does not import"


@pytest.mark.parametrize("name", list(PIPELINE))
def test_params_are_sections_of_the_schema(name):
    for key in stage(name).get("params", []):
        section, *rest = filled(key).split(".")
        assert section in {*Params.model_fields, *pipelines.names()}
        if rest and section != "datasets":
            assert rest[0] in Params.model_fields[section].annotation.model_fields


@pytest.mark.parametrize("name", list(PIPELINE))
def test_a_stage_is_a_thin_script_of_its_name(name):
    assert stage(name)["cmd"].split()[:2] == ["python", f"stages/{name}.py"]
    assert stage(name)["deps"][0] == f"stages/{name}.py"
    assert stage(name)["desc"]
    body = ast.parse((ROOT / "stages" / f"{name}.py").read_text()).body
    assert not any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in body), (
        "a stage's script holds no logic"
    )


def test_no_command_names_the_machine():
    for name in PIPELINE:
        assert not any(
            word in stage(name)["cmd"] for word in ("gpu", "worker", "--nproc", "torchrun")
        )


@pytest.mark.parametrize("name", list(PIPELINE))
def test_work_that_waits_is_named_by_the_code_that_dvc_watches(name, monkeypatch, tmp_path):
    """A change of any file that a stage imports, or of weights beside it, changes its digest."""
    for part in ("dvc.yaml", "stages"):
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, tmp_path / part)
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(resume, "ROOT", tmp_path)
    values = {"key": "toy", "model": {"base": "mttr"}}
    before = resume.stage_digest(name, **values)
    watched = {
        f"src/losh/{file}"
        for file in closure(ROOT / "stages" / f"{name}.py")
        if not file.startswith(UNWATCHED) and not file.endswith("__init__.py")
    }
    for file in watched | EMBEDDED.get(name, set()) | {f"stages/{name}.py"}:
        path = tmp_path / file
        content = path.read_bytes()
        path.write_bytes(content + b"\n")
        assert resume.stage_digest(name, **values) != before, file
        path.write_bytes(content)
    assert resume.stage_digest(name, **values) == before


def test_no_other_list_says_which_code_decides_a_result():
    for path in (ROOT / "src").rglob("*.py"):
        names = {
            target.id
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        assert "FORMAT" not in names, path
