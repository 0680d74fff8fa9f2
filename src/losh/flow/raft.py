"""RAFT through ptlflow: the network, its weights, and how images are handed to it.

ptlflow takes 8 s to import, so it is imported by the functions that build a network and by nothing
else.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from losh.errors import UserError
from losh.runtime.files import sha256_of
from losh.runtime.home import at_home
from losh.runtime.torch_files import UNREADABLE, load_tensors, reason_of

if TYPE_CHECKING:
    from ptlflow.models.base_model.base_model import BaseModel

EMBEDDED = {"raft_small": Path(__file__).parent / "weights" / "raft_small" / "model.safetensors"}
# px; RAFT's correlation pyramid has 4 levels of 1/8 cells, and its sampler divides by (cells - 1)
SMALLEST_SIDE = 128
STRIDE = 8


def new_network(model: str, iterations: int) -> BaseModel:
    """Make ptlflow's network `model` (raft_small or raft) with fresh weights.

    It runs `iterations` refinement steps.
    """
    import loguru  # noqa: F401  (it keeps the stderr of its import, which must be the real one)

    # Notes on optional CUDA extensions and on timm's old names: nothing that our user could mend.
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        import ptlflow
    return ptlflow.get_model_reference(model)(iters=iterations)


def load_network(model: str, checkpoint: str, iterations: int) -> BaseModel:
    """Return the network with the weights that `flow.checkpoint` names, in eval mode.

    Args:
        model: raft_small or raft.
        checkpoint: `embedded`, a name that ptlflow publishes for the model, or a path
            (.safetensors, or a torch file that holds a state dict, alone or under `state_dict`); a
            path has a slash or a suffix.
        iterations: refinement steps.

    Raises:
        UserError: no such checkpoint, it cannot be fetched or read, or it is another network's.
    """
    network = new_network(model, iterations)
    path = _local_path(model, checkpoint)
    if path is not None:
        state = _read_state(path)
    elif checkpoint in network.pretrained_checkpoints:
        state = _fetch_state(model, checkpoint, network.pretrained_checkpoints[checkpoint])
    else:
        raise _unknown(model, checkpoint, list(network.pretrained_checkpoints))
    try:
        network.load_state_dict({name: value.float() for name, value in state.items()})
    except (RuntimeError, AttributeError):
        what = (
            f"flow.checkpoint: {path or checkpoint} does not hold the weights of ptlflow's {model}"
        )
        raise UserError(what, "Choose flow.model to match it") from None
    return network.eval()


def weights_digest(model: str, checkpoint: str) -> str:
    """Return what identifies the weights in a recipe: a file's SHA-256, or ptlflow's name of them.

    Raises:
        UserError: a path without a file.
    """
    path = _local_path(model, checkpoint)
    return f"ptlflow:{checkpoint}" if path is None else sha256_of(path)


def pad_images(images: Tensor) -> tuple[Tensor, tuple[int, int, int, int]]:
    """Repeat the border until both sides are multiples of 8 and at least 128 pixels.

    Args:
        images: [B, 3, H, W].

    Returns:
        [B, 3, H', W'] and the padding (left, right, top, bottom); a smaller image would give NaN in
        RAFT's sampler.
    """
    height, width = images.shape[-2:]
    more_width, more_height = _padded(width) - width, _padded(height) - height
    padding = (
        more_width // 2,
        more_width - more_width // 2,
        more_height // 2,
        more_height - more_height // 2,
    )
    return functional.pad(images, padding, mode="replicate"), padding


def run_network(network: BaseModel, first: Tensor, second: Tensor) -> list[Tensor]:
    """Flow from first to second.

    Args:
        first, second: RGB in 0 to 1, [B, 3, H, W].

    Returns:
        Fields [B, 2, H, W] in pixels: each refinement step's in train mode, the last alone in eval
        mode.
    """
    images, padding = pad_images(torch.cat([first, second]))
    images = images.flip(1)  # ptlflow's convention is OpenCV's: BGR
    outputs = network({"images": torch.stack(images.chunk(2), dim=1).contiguous()})
    fields = outputs["flow_preds"] if network.training else [outputs["flows"][:, 0]]
    left, _, top, _ = padding
    height, width = first.shape[-2:]
    return [field[..., top : top + height, left : left + width] for field in fields]


@contextlib.contextmanager
def encoding_once(network: BaseModel, pairs: Sequence[tuple[int, int]]) -> Iterator[None]:
    """Let `run_network` of `network` encode a frame once, however many pairs it is in.

    While this lasts it takes the frames' pairs (first, second).

    The encoders take half of the time, and a frame with both neighbours, there and back, stands in
    four pairs. They treat each frame alone (instance norm, or batch norm in eval mode), so this
    changes nothing but the time.
    """
    places = torch.tensor(pairs)  # [P, 2]
    encode, encode_context = network.fnet.forward, network.cnet.forward

    def each_once(encoder: Callable[[Tensor], Tensor], images: Tensor, frames: Tensor) -> Tensor:
        """Features of `images`, of which image i shows frame number frames[i]."""
        known, index = frames.unique(return_inverse=True)
        where = torch.stack([(frames == frame).nonzero()[0, 0] for frame in known])
        return encoder(images[where.to(images.device)])[index.to(images.device)]

    def features(images: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return each_once(encode, torch.cat(list(images)), places.T.flatten()).chunk(2)

    network.fnet.forward = features
    network.cnet.forward = lambda images: each_once(encode_context, images, places[:, 0])
    try:
        yield
    finally:
        network.fnet.forward, network.cnet.forward = encode, encode_context


def _padded(side: int) -> int:
    return max(SMALLEST_SIDE, -(-side // STRIDE) * STRIDE)


def _local_path(model: str, checkpoint: str) -> Path | None:
    """Return the file that `checkpoint` means, or None for a name of ptlflow's."""
    if checkpoint == "embedded":
        if model not in EMBEDDED:
            raise UserError(
                f"flow.checkpoint: there are no embedded weights of {model}",
                f"Embedded: {', '.join(EMBEDDED)}",
            )
        return EMBEDDED[model]
    path = Path(checkpoint)
    if not path.suffix and len(path.parts) == 1:
        return None  # a bare word is a name even where a file of that name lies around
    path = at_home(path)
    if not path.is_file():
        raise UserError(
            f"flow.checkpoint: the file {checkpoint} does not exist",
            "Give embedded, a ptlflow checkpoint's name or a path",
        )
    return path


def _read_state(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded = load_tensors(path)
    except (*UNREADABLE, SafetensorError) as error:
        raise UserError(
            f"flow.checkpoint: {path} cannot be read as weights ({reason_of(error)})",
            "Give a .safetensors file or a torch state dict",
        ) from None
    return loaded.get("state_dict", loaded) if isinstance(loaded, dict) else loaded


def _fetch_state(model: str, checkpoint: str, address: str) -> dict[str, Tensor]:
    try:
        return torch.hub.load_state_dict_from_url(
            address, map_location="cpu", check_hash=True, weights_only=True
        )["state_dict"]
    except UNREADABLE as error:  # URLError is an OSError; a wrong digest is a RuntimeError
        raise UserError(
            f"flow.checkpoint: ptlflow's {model} checkpoint {checkpoint!r} cannot be fetched "
            f"from {address} ({reason_of(error)})",
            "Fetch that file elsewhere and give its path, or use `embedded`",
        ) from None


def _unknown(model: str, checkpoint: str, published: list[str]) -> UserError:
    takes = [*(["embedded"] if model in EMBEDDED else []), *published]
    return UserError(
        f"flow.checkpoint: {checkpoint!r} is no checkpoint of {model}",
        f"It takes {', '.join(takes)} or a path",
    )
