"""The weights that training changes: frozen ones are not saved with the state, since they can be built again."""

from __future__ import annotations

from torch import Tensor, nn


class Trainable:
    """A model seen through its trainable parameters, with state_dict and load_state_dict.

    Buffers need no place: ours are constants (frozen BatchNorm, position indices).
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def state_dict(self) -> dict[str, Tensor]:
        """Name -> trainable parameter."""
        return {name: parameter.detach() for name, parameter in self.model.named_parameters() if parameter.requires_grad}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Copy `state` into the model; the names must be exactly those of state_dict."""
        own = self.state_dict()
        if own.keys() != state.keys():
            raise KeyError(f"{sorted(own.keys() ^ state.keys())[:3]} are in one of model and state only")
        for name, parameter in own.items():
            parameter.copy_(state[name])
