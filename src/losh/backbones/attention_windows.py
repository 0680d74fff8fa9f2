"""Which tokens an attention window really holds, and which of them may see each other.

The published network pads the feature map with zeros to whole windows: 1.8 to 2.6 times the tokens
that exist (a window of 10 frames becomes one of 16). Here a padded window has ONE padded token, its
last. What padded tokens ask nobody reads. What they answer is alike for all: after the linear layer
a zero is its bias. So the one stands for all, as a key whose logit has the logarithm of their
summed exponentials for a bias (`attention_biases`): the same softmax exactly.

Windows are gathered by kind: which of their places are real, and which of them lie beyond a shifted
map's seam. Along an axis that makes at most three sorts of windows, mostly two.

Where only some frames of a map are asked for, only they ask, and only windows that have one of them
are looked at: the same numbers for those frames, since what a token asks changes no other's answer.

Shapes: N places of a full window, n real tokens of a window, P padded places, a tokens of a window
that ask (all n, where all frames are asked for), S keys of a window (n, and one more where there is
padding), R displacements within a full window, h attention heads.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Size3 = tuple[int, int, int]
Frames = tuple[tuple[int, ...], ...]
"""Of each clip of a batch, some of its frames, in order."""

MASKED = -1000.0
"""Added to the logit of two tokens of different regions. The published network adds -100: then
exp(-100) is a denormal float32, not 0, and multiplying by denormals made our attention five times
slower on a CPU. The results are the same.
"""


def size3(lengths: Iterable[int]) -> Size3:
    """Make a size of three lengths, along T, H and W."""
    t, h, w = lengths
    return t, h, w


def fit_window(size: Size3, window: Size3, shift: Size3) -> tuple[Size3, Size3]:
    """Shrink the window to the feature map.

    An axis no longer than its window is one window of that length and is not shifted.
    """
    axes = list(zip(size, window, shift, strict=True))
    fitted = size3(min(cells, reach) for cells, reach, _ in axes)
    return fitted, size3(0 if cells <= reach else step for cells, reach, step in axes)


def displacements(window: Size3) -> int:
    """Count the displacements of two tokens of a window: rows of the bias table, R."""
    return math.prod(2 * length - 1 for length in window)


def relative_position_index(window: Size3) -> Tensor:
    """Return the row of the bias table for each pair of tokens of a full window.

    int64 [N, N], N = the window's volume.
    """
    places = torch.cartesian_prod(*[torch.arange(length) for length in window]).reshape(-1, 3)
    # [N, N, 3], each from 0 to 2 * length - 2.
    offsets = places[:, None] - places[None, :] + torch.tensor(window) - 1
    _, rows, columns = (2 * length - 1 for length in window)
    return (offsets[..., 0] * rows + offsets[..., 1]) * columns + offsets[..., 2]


@dataclass(frozen=True)
class WindowKind:
    """Windows of a batch of feature maps that are alike."""

    windows: int
    """M."""
    tokens: int
    """n."""
    pairs: Tensor
    """int64 [a, S]: of each asking token and each key its displacement, a row of the bias table; R
    where the two are of different regions; for the key of all padding R + 1 and the number of the
    asking token."""
    padding: Tensor | None = None
    """int64 [a, P]: the same of each asking token and each padded place; None: none is padded."""
    asking: Tensor | None = None
    """int64 [a]: which of the real tokens ask; None: all."""

    @property
    def answers(self) -> int:
        """How many tokens of a window ask: a."""
        return len(self.pairs)

    @property
    def padded(self) -> bool:
        """Whether the windows have padded places."""
        return self.padding is not None

    @property
    def keys(self) -> int:
        """How many tokens a window holds, the padded one among them: S."""
        return self.tokens + self.padded


def attention_biases(table: Tensor, kinds: Sequence[WindowKind]) -> list[Tensor]:
    """Bias of the asking tokens for the real keys, and last for the one key of all padding.

    Only what is asked for is looked up. The exponentials that padding sums are of the table, whose
    largest entry of a head is taken off first: what lies more than 87 below it counts as nothing.

    Args:
        table: [R, h].

    Returns:
        Of each kind [h, a, S].
    """
    heads = table.t().contiguous()  # read along its rows
    largest = heads.detach().amax(1, keepdim=True)
    apart = heads.new_full((len(heads), 1), MASKED)
    weights = torch.cat([(heads - largest).exp(), torch.zeros_like(apart)], 1)
    known = torch.cat([heads, apart], 1)  # [h, R + 1]
    found = []
    for kind in kinds:
        source = known
        if kind.padding is not None:
            total = looked_up(weights, kind.padding).sum(-1)  # [h, a]
            there = total > 0
            folded = total.where(there, 1.0).log() + largest
            source = torch.cat([known, folded.where(there, MASKED)], 1)
        found.append(looked_up(source, kind.pairs))
    return found


def looked_up(source: Tensor, index: Tensor) -> Tensor:
    """source [h, K] and index [a, S] -> [h, a, S].

    `gather` with one index for all heads is several times faster than indexing, back as well.
    """
    return source.gather(1, index.flatten().expand(len(source), -1)).unflatten(1, index.shape)


@dataclass(frozen=True)
class Asked:
    """Frames of clips of T frames that are asked for, and those that must be there to answer."""

    length: int
    """T."""
    there: Frames
    """All frames of the windows that have a frame of `asked`."""
    asked: Frames


def frame_rows(frames: Frames) -> dict[tuple[int, int], int]:
    """Give each frame of all clips its row: (clip, frame) -> row."""
    pairs = [(clip, t) for clip, some in enumerate(frames) for t in some]
    return {pair: row for row, pair in enumerate(pairs)}


@functools.lru_cache(maxsize=256)
@torch.inference_mode(False)
def rows_among(there: Frames, wanted: Frames, device: torch.device) -> Tensor:
    """Return where the wanted frames lie among those that are there, clip by clip: int64."""
    row = frame_rows(there)
    return torch.tensor([row[pair] for pair in frame_rows(wanted)], device=device)


@functools.lru_cache(maxsize=256)
@torch.inference_mode(False)
def clips_of(frames: Frames, device: torch.device) -> Tensor:
    """Return the clip of each frame: int64."""
    return torch.tensor([clip for clip, _ in frame_rows(frames)], device=device)


@dataclass(frozen=True)
class WindowPlan:
    """All windows of a batch of feature maps; every real token is in one of them.

    L tokens are there (B * T * H * W, where all frames are), A of them ask; E windows are padded.
    """

    kinds: list[WindowKind]
    order: Tensor
    """int64 [L + E]: the tokens, rows of the maps that are there, kind by kind, window by window;
    any row for the padded token of a window."""
    inverse: Tensor
    """int64 [L]: where each token lies in `order`."""
    empty: Tensor | None
    """int64 [E]: where padded tokens lie in `order`; None: nowhere."""
    answers: Tensor
    """int64 [A]: the asking tokens, rows of the maps asked for, in the order of `order`."""
    answers_inverse: Tensor
    """int64 [A]: where each asking token lies in `answers`."""


class Reordered(torch.autograd.Function):
    """Rows of x in another order, rows of zeros among them where they are asked for.

    The gradient goes back by the inverse order, not by a sum.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, order: Tensor, inverse: Tensor, empty: Tensor | None
    ) -> Tensor:
        """x [L, C] -> x[order], zeros in the rows `empty`."""
        ctx.save_for_backward(inverse)
        found = x.index_select(0, order)
        return found if empty is None else found.index_fill_(0, empty, 0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        """See the class."""
        return grad.index_select(0, *ctx.saved_tensors), None, None, None


Place = tuple[bool, bool]
"""Of one place of a window along an axis: whether its token is real, and whether it lies beyond the
seam, where the shifted map begins again."""


def axis_windows(length: int, reach: int, shift: int) -> dict[tuple[Place, ...], list[int]]:
    """Sort the windows of one axis.

    The axis is padded to whole windows, then rolled back by `shift`, then cut.

    Returns:
        For each sort of window the padded axis's cells in which such windows begin.
    """
    whole = length + -length % reach
    sorts: dict[tuple[Place, ...], list[int]] = {}
    for first in range(0, whole, reach):
        rolled = range(first, first + reach)
        sort = tuple(((i + shift) % whole < length, i + shift >= whole) for i in rolled)
        sorts.setdefault(sort, []).append((first + shift) % whole)
    return sorts


def time_windows(
    length: int, reach: int, shift: int, frames: Frames
) -> dict[tuple[tuple[Place, ...], tuple[int, ...]], list[list[tuple[int, int]]]]:
    """Sort the windows along time that have one of `frames`.

    Returns:
        For each sort (places, which of the real ones ask) the (clip, frame) pairs of each such
        window's real places.
    """
    whole = length + -length % reach
    sorts: dict[tuple[tuple[Place, ...], tuple[int, ...]], list[list[tuple[int, int]]]] = {}
    for places, firsts in axis_windows(length, reach, shift).items():
        steps = [step for step, (real, _) in enumerate(places) if real]
        for clip, wanted in enumerate(frames):
            for first in firsts:
                window = [(first + step) % whole for step in steps]
                asking = tuple(i for i, t in enumerate(window) if t in wanted)
                if asking:
                    sorts.setdefault((places, asking), []).append([(clip, t) for t in window])
    return sorts


def frames_to_answer(length: int, reach: int, shift: int, frames: Frames) -> Frames:
    """Return the frames that attention along time looks at where `frames` ask."""
    fitted = min(length, reach)
    windows = time_windows(length, fitted, 0 if length <= reach else shift, frames)
    seen = {pair for several in windows.values() for window in several for pair in window}
    return tuple(
        tuple(t for t in range(length) if (clip, t) in seen) for clip in range(len(frames))
    )


EMPTY = -1  # less than any row


@dataclass(frozen=True)
class _KindOfTokens:
    kind: WindowKind
    order: Tensor
    """int64 [M * S]: the tokens, as rows of the maps that are there; EMPTY: the padded one."""
    answers: Tensor
    """int64 [M * a], as rows of the maps that are there."""


# Many plans have windows of one kind: from step to step other frames of other clips ask.
@functools.lru_cache(maxsize=256)
@torch.inference_mode(False)
def _pairs(
    axes: tuple[tuple[Place, ...], ...],
    asking: tuple[int, ...],
    full: Size3,
    device: torch.device,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return `pairs`, `padding` and `asking` of windows of one kind (see WindowKind).

    Args:
        axes: places along T, H and W.
        asking: which of the real frames ask.
        full: the window of the bias table.
    """
    real, beyond = ([torch.tensor([p[i] for p in places]) for places in axes] for i in (0, 1))
    inside = torch.cartesian_prod(*real).all(1)
    region = torch.cartesian_prod(*beyond)  # [N, 3]
    held, missing = inside.nonzero()[:, 0], (~inside).nonzero()[:, 0]
    cells = len(held) // int(real[0].sum())  # of a frame
    asks = (torch.tensor(asking)[:, None] * cells + torch.arange(cells)).flatten()
    # The full window's index is cut to [:N, :N]: where height or width is clamped, tokens get the
    # coordinates of other places. That is how the published weights were trained (original and
    # torchvision alike), so it stays.
    index, elsewhere = relative_position_index(full)[:, : len(region)], displacements(full)
    apart = (region[held[asks], None] != region).any(-1)
    index = index[held[asks]].masked_fill(apart, elsewhere)
    pairs, padding = index[:, held], None
    if len(missing):
        padding = index[:, missing].to(device)
        pairs = torch.cat([pairs, elsewhere + 1 + torch.arange(len(asks))[:, None]], 1)
    return pairs.to(device), padding, None if len(asks) == len(held) else asks.to(device)


def _window_kind(
    rows: list[list[int]],
    asking: tuple[int, ...],
    size: tuple[int, int],
    sorts: list[tuple[tuple[Place, ...], list[int]]],
    full: Size3,
    device: torch.device,
) -> _KindOfTokens:
    """Make the windows of one kind.

    Args:
        rows: of each window along time the maps that it lies in.
        asking: which of these ask.
        size: (H, W) of a map.
        sorts: along T, H and W: places, first cells (of T: none is read).
        full: the window of the bias table.
    """
    (H, W), grids = size, []
    for length, (places, firsts) in zip(size, sorts[1:], strict=True):
        whole = -(-length // len(places)) * len(places)
        steps = torch.tensor([step for step, (real, _) in enumerate(places) if real])
        grids.append((torch.tensor(firsts)[:, None] + steps) % whole)  # [windows, real cells]
    y, x = grids
    t = torch.tensor(rows)  # [windows of all clips, real frames]
    lines = t[:, None, None, :, None, None] * H + y[:, None, None, :, None]
    tokens = lines * W + x[:, None, None, :]  # [windows along T, H, W, then cells along T, H, W]
    tokens = tokens.flatten(0, 2).flatten(2)  # [M, real frames, real cells of a frame]
    answers, tokens = tokens[:, list(asking)], tokens.flatten(1)
    pairs = _pairs(tuple(places for places, _ in sorts), asking, full, device)
    kind = WindowKind(tokens.shape[0], tokens.shape[1], *pairs)
    held = F.pad(tokens, (0, int(kind.padded)), value=EMPTY)
    return _KindOfTokens(kind, held.flatten(), answers.flatten())


# Plans are kept, and training could not use what was made in inference mode.
@torch.inference_mode(False)
def window_plan(
    clips: int,
    size: Size3,
    window: Size3,
    shift: Size3,
    full: Size3,
    device: torch.device,
    asked: Asked | None = None,
) -> WindowPlan:
    """Sort the windows of `clips` feature maps of (T, H, W) = `size`; `window` and `shift` fit.

    Args:
        full: the window of the bias table, to which `window` was fitted.
        asked: which frames ask, and which are there; None: all.
    """
    T, H, W = size
    everything = (tuple(range(T)),) * clips
    there, asks = (everything, everything) if asked is None else (asked.there, asked.asked)
    row = frame_rows(there)
    along_time = time_windows(T, window[0], shift[0], asks)
    across = [axis_windows(*axis) for axis in zip(size[1:], window[1:], shift[1:], strict=True)]
    found = [
        _window_kind(
            [[row[pair] for pair in pairs] for pairs in windows],
            asking,
            (H, W),
            [(places, []), *sorts],
            full,
            device,
        )
        for (places, asking), windows in along_time.items()
        for sorts in itertools.product(*(axis.items() for axis in across))
    ]
    kinds = [one.kind for one in found]
    order = torch.cat([one.order for one in found])
    empty = (order == EMPTY).nonzero()[:, 0]
    inverse = order.argsort()[len(empty) :]
    answered = torch.full((len(row),), -1)
    answered[rows_among(there, asks, answered.device)] = torch.arange(sum(map(len, asks)))
    tokens = torch.cat([one.answers for one in found])  # of the maps that are there
    answers = answered[tokens // (H * W)] * (H * W) + tokens % (H * W)
    order, inverse, empty, answers, answers_inverse = (
        x.to(device) for x in (order.clamp(min=0), inverse, empty, answers, answers.argsort())
    )
    return WindowPlan(
        kinds, order, inverse, empty if len(empty) else None, answers, answers_inverse
    )


# Some MB each at the published size.
_remembered_plans = functools.lru_cache(maxsize=32)(window_plan)


@torch.compiler.assume_constant_result
def _constant_parts(*sizes: Any) -> tuple[Any, ...]:
    """Return the plan of all frames as nested tuples.

    torch.compile takes these for constants; a class's instances it does not.
    """
    plan = _remembered_plans(*sizes)
    kinds = tuple((k.windows, k.tokens, k.pairs, k.padding) for k in plan.kinds)
    return kinds, plan.order, plan.inverse, plan.empty, plan.answers, plan.answers_inverse


def cached_window_plan(
    clips: int,
    size: Size3,
    window: Size3,
    shift: Size3,
    full: Size3,
    device: torch.device,
    asked: Asked | None = None,
) -> WindowPlan:
    """Return `window_plan`, kept for the sizes that were last used.

    A compiled network computes all frames: nothing is asked of it.
    """
    sizes = (clips, size, window, shift, full, device)
    if not torch.compiler.is_compiling():
        return _remembered_plans(*sizes, asked)
    kinds, *rows = _constant_parts(*sizes)
    return WindowPlan([WindowKind(*kind) for kind in kinds], *rows)
