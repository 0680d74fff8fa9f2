"""From two frames to the flow between them, with the weights that params.yaml names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from losh.flow.raft import encoding_once, load_network, run_network
from losh.params import FlowParams


class FlowEstimator:
    """RAFT (Teed and Deng, ECCV 2020) ready to run.

    Building one imports ptlflow, which takes 8 s.
    """

    def __init__(self, params: FlowParams, device: torch.device | str = "cpu") -> None:
        """Load the weights of params.checkpoint.

        Raises:
            UserError: the checkpoint is unknown, cannot be fetched or read, or belongs to another
                network.
        """
        self.device = torch.device(device)
        self.network = load_network(params.model, params.checkpoint, params.iterations).to(
            self.device
        )

    @torch.inference_mode()
    def estimate(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Flow from each frame of `first` to the one at its place in `second`.

        Args:
            first, second: uint8 [B, H, W, 3] RGB.

        Returns:
            float32 [B, 2, H, W]: u (right), v (down) in pixels. A network that diverges gives NaN
            or inf; nothing is hidden here.
        """
        return (
            run_network(self.network, self._tensor(first), self._tensor(second))[-1]
            .float()
            .cpu()
            .numpy()
        )

    def estimate_both(
        self, frames: np.ndarray, pairs: Sequence[tuple[int, int]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the flow there and back of each pair (first, second) of places in `frames`.

        Each is as in `estimate`; all run at once.

        Args:
            frames: uint8 [N, H, W, 3] RGB; each is encoded once.
            pairs: P of them.

        Returns:
            Two fields of float32 [P, 2, H, W].
        """
        ways = [*pairs, *((second, first) for first, second in pairs)]
        with encoding_once(self.network, ways):
            both = self.estimate(*(frames[[way[side] for way in ways]] for side in (0, 1)))
        return both[: len(pairs)], both[len(pairs) :]

    def _tensor(self, frames: np.ndarray) -> Tensor:
        """uint8 [B, H, W, 3] -> float [B, 3, H, W] in 0 to 1, on the device."""
        return (
            torch.from_numpy(np.ascontiguousarray(frames))
            .to(self.device)
            .permute(0, 3, 1, 2)
            .float()
            / 255
        )
