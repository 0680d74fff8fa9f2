"""Files written beside their place and moved there: whole or not at all, whatever their names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from losh.runtime.files import atomic_write


@pytest.mark.parametrize("name", ["CKPT", "model.pth"])
def test_torch_saves_under_any_name(tmp_path: Path, name: str) -> None:
    """It refuses hidden names without a suffix, as a temporary file could have."""
    with atomic_write(tmp_path / name) as part:
        assert part.parent == tmp_path and part.name.startswith(".part-")
        torch.save({"a": torch.ones(2)}, part)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert torch.load(tmp_path / name, weights_only=True)["a"].tolist() == [1, 1]


def test_what_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    out = tmp_path / "CKPT"
    out.write_text("old")
    with pytest.raises(ValueError, match="half"), atomic_write(out) as part:
        part.write_text("new")
        raise ValueError("half way")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]
