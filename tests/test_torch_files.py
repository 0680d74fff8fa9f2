"""A file with more than tensors in it is refused in our words: PyTorch's own advise to run it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from losh.backbones.weights import read_weights
from losh.errors import UserError
from losh.flow.raft import load_network
from losh.model.released import read_released
from losh.model.text_encoder import EMBEDDED, load_encoder
from losh.runtime.torch_files import load_tensors
from losh.train.state import load_state


def encoder_with(weights: Path) -> None:
    folder = weights.parent / "encoder"
    shutil.copytree(EMBEDDED, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    shutil.copy(weights, folder / "pytorch_model.bin")
    load_encoder(str(folder))


class Options(SimpleNamespace):
    """A class that no reader allows."""


READERS: dict[str, Callable[[Path], object]] = {
    "backbone": read_weights,
    "released": read_released,
    "flow": lambda path: load_network("raft_small", str(path), 1),
    "state": load_state,
    "text": encoder_with,
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("old_form", [False, True])
def test_a_file_with_code_is_refused_in_our_words(reader, old_form, tmp_path):
    path = tmp_path / "given.pt"
    weights = {"weight": torch.zeros(2), "options": Options(lr=0.1)}
    torch.save(weights, path, _use_new_zipfile_serialization=not old_form)
    with pytest.raises(UserError) as error:
        READERS[reader](path)
    message = str(error.value)
    assert "weights_only" not in message and "\n" not in message
    assert "more than tensors: " in message and "Options" in message


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("content", [b"", b"hello world", b"\0" * 100, b"PK\x03\x04cut"])
def test_no_pytorch_file_at_all_is_one_line(reader, content, tmp_path):
    path = tmp_path / "given.pt"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        READERS[reader](path)
    assert "weights_only" not in str(error.value) and "\n" not in str(error.value)


def test_the_old_form_is_read_too(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert json.dumps(load_tensors(tmp_path / "old.pth", mmap=True)["a"].tolist()) == "[1.0, 1.0]"
