"""The same models in plain form, for `scripts/benchmark.py --other scripts/benchmark_plain.py`.

`python scripts/benchmark_plain.py` counts what both forms compute.

The released code of ReferFormer, SgMg and LoSh is not here, so our models are held against
themselves as published code would run them. Layers, sizes, weights, losses and optimiser are those
of our case with LoSh, and the numbers are the same (tests/test_benchmark_plain.py). Plain is:

* torchvision's Video-Swin: every window whole, with the queries and keys of its padding;
* nn.Linear, with no product by oneDNN's own operator, nn.Dropout, and outside of the backbone
  nn.MultiheadAttention, as DETR and its kin call it: its weights are returned too; the deformable
  attention of transformers, which is that of released code where there is no CUDA;
* every expression a clip of its own: the visual encoder runs once for each, and the two streams
  share its features alone. Each projects them for itself;
* in prediction too the heads of all decoder layers, and both streams to the end;
* the frozen text encoder in every step and prediction, for both sentences, as the released LoSh
  does. Our training and our evaluation encode each sentence once, before.

What has no other form here is ours: our motion branch; the matching of all layers at once; the
frames without annotation left out before the encoder, as MTTR and ReferFormer do. The encoder
and the decoder run on both streams as one batch, as in ours: in two runs one after the other the
streams could not meet. The flow is compared on one copy of a window. Where one of these is faster
than in released code, the comparison is the harder for us.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from unittest import mock

import torch
from benchmark_worker import BASES, SHAPES, Case
from benchmark_worker import build as build_case
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from torchvision.models.swin_transformer import PatchMerging, SwinTransformerBlock
from torchvision.models.video.swin_transformer import PatchEmbed3d, ShiftedWindowAttention3d
from transformers.models.deformable_detr.modeling_deformable_detr import (
    MultiScaleDeformableAttention,
)

from losh.backbones.attention_windows import Frames
from losh.backbones.backbone import Backbone
from losh.backbones.video_swin import VideoSwin
from losh.backbones.video_swin_blocks import NORM_EPS, PATCH, SwinBlock
from losh.layers import linear as linear_layers
from losh.layers.deformable import DeformableAttention
from losh.layers.dropout import Dropout
from losh.layers.linear import Linear
from losh.layers.transformer import Attention
from losh.model.losh import LoSh, Text
from losh.model.structures import Clips, LoShOutput, TextFeats, VideoFeats
from losh.runtime.machine import pick_device

NORM = partial(nn.LayerNorm, eps=NORM_EPS)


def build(
    shape: tuple[int, int, int, int, int], base: str
) -> tuple[Callable[[], Any], Callable[[], Any]] | None:
    """Return a training step and a prediction of `base` with LoSh; None for a shape without name.

    They return the loss, and the model's output.
    """
    size = {known: name for name, known in SHAPES.items()}.get(shape)
    if size is None:
        return None
    train, predict, _ = build_case(Case(base, size=size), pick_device(), plain, text_once=False)
    return train, predict


def plain(model: LoSh) -> PlainLoSh:
    """Put plain layers, with the weights of ours, into the model, and run it plainly."""
    backbone = model.base.backbone
    assert isinstance(backbone, VideoSwin)
    model.base.backbone = PlainSwin(backbone)
    for module in list(model.modules()):
        module.__class__ = PLAIN.get(type(module), type(module))
        for name, child in module.named_children():
            if isinstance(child, Attention):
                setattr(module, name, PlainAttention(child))
    return PlainLoSh(model)


class PlainLoSh(nn.Module):
    """LoSh with both streams, which share the visual encoder's features and nothing else."""

    def __init__(self, model: LoSh) -> None:
        super().__init__()
        assert model.short_stream
        self.model = model

    @mock.patch.object(linear_layers, "ONEDNN", False)  # `linear` then takes PyTorch's products
    def forward(
        self, clips: Clips, long: Text, short: Text, *, joint: bool = True, last_only: bool = False
    ) -> LoShOutput:
        """See LoSh; what `joint` and `last_only` would save is computed all the same."""
        model, base = self.model, self.model.base
        rows = torch.arange(len(clips.frames)) if clips.rows is None else clips.rows
        each = base.encode_video(clips.frames[rows], clips.pad[rows])
        streams = [base.select_frames(each, clips.annotated[rows]) for _ in range(2)]
        texts = [base.encode_text(text) for text in (long, short)]
        video, text = joined(*streams), TextFeats.join(*texts)
        memory, tokens = model._encode(video, text)
        layers = base.decode(memory, tokens, video, text)
        kept = () if last_only else base.encoder_outputs(memory, tokens, len(text.pad))
        longs, shorts = zip(*(layer.halves() for layer in layers), strict=True)
        # The consistency loss has a flow for each window, not for each of its expressions.
        first = (rows[None] == torch.arange(len(clips.frames))[:, None]).int().argmax(1)
        return LoShOutput(
            list(longs),
            list(shorts),
            each.pick(first),
            clips.annotated,
            streams[0],
            list(zip(*(x.chunk(2) for x in kept), strict=True)) or [(), ()],
        )


def joined(first: VideoFeats, second: VideoFeats) -> VideoFeats:
    """Join two batches of features: [B, ...] twice -> [2 B, ...]."""
    levels, pads, maps = (
        [torch.cat(pair) for pair in zip(*several, strict=True)]
        for several in (
            (first.levels, second.levels),
            (first.pads, second.pads),
            (first.maps, second.maps),
        )
    )
    return VideoFeats(levels, pads, first.strides, torch.cat([first.pad, second.pad]), maps)


class PlainSwin(Backbone):
    """Our Video-Swin made of torchvision's layers, with the weights of ours."""

    def __init__(self, ours: VideoSwin) -> None:
        super().__init__()
        self.channels, self.strides = ours.channels, ours.strides
        self.patch_embed = PatchEmbed3d([1, PATCH, PATCH], 3, ours.channels[0], NORM)
        self.patch_embed.proj = ours.patch_embed.proj
        self.patch_embed.norm = ours.patch_embed.norm
        self.motion = nn.Identity() if ours.motion is None else ours.motion
        self.stages = nn.ModuleList(
            nn.Sequential(*(plain_block(block) for block in stage.blocks)) for stage in ours.layers
        )
        self.downsamples = nn.ModuleList()
        for merging, channels in zip(ours.downsamples, ours.channels, strict=False):
            plainly = PatchMerging(channels, NORM)
            plainly.reduction, plainly.norm = merging.reduction, merging.norm
            self.downsamples.append(plainly)

    def forward(self, frames: Tensor, read: Frames | None = None) -> list[Tensor]:
        """See VideoSwin; what `read` would save is computed all the same."""
        x = self.motion(self.patch_embed(frames.transpose(1, 2)))
        levels = []
        for number, stage in enumerate(self.stages):
            x = stage(self.downsamples[number - 1](x) if number else x)
            levels.append(x.permute(0, 1, 4, 2, 3))  # [B, T, h, w, C] -> [B, T, C, h, w]
        return levels


def plain_block(ours: SwinBlock) -> SwinTransformerBlock:
    """Return torchvision's block, with the weights of ours."""
    sizes = (ours.attn.qkv.in_features, ours.attn.num_heads)
    windows = (list(ours.attn.window), list(ours.attn.shift))
    block = SwinTransformerBlock(
        *sizes,
        *windows,
        stochastic_depth_prob=ours.drop_path,
        norm_layer=NORM,
        attn_layer=ShiftedWindowAttention3d,
    )
    block.norm1, block.norm2 = ours.norm1, ours.norm2
    block.mlp[0], block.mlp[3] = ours.mlp.fc1, ours.mlp.fc2
    block.attn.qkv, block.attn.proj = ours.attn.qkv, ours.attn.proj
    block.attn.relative_position_bias_table = ours.attn.relative_position_bias_table
    return block


class PlainAttention(nn.Module):
    """nn.MultiheadAttention with the weights of ours."""

    def __init__(self, ours: Attention) -> None:
        super().__init__()
        width = ours.out_proj.in_features
        self.plain = nn.MultiheadAttention(width, ours.heads, ours.dropout, batch_first=True)
        self.plain.in_proj_weight, self.plain.in_proj_bias = ours.in_proj_weight, ours.in_proj_bias
        self.plain.out_proj.weight, self.plain.out_proj.bias = ours.out_proj.parameters()

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, pad: Tensor | None = None
    ) -> Tensor:
        """See Attention."""
        return self.plain(query, key, value, key_padding_mask=pad)[0]


class PlainDeformableAttention(DeformableAttention):
    """Ours with the samples of transformers."""

    @staticmethod
    def sample(
        value: Tensor, shapes: Sequence[tuple[int, int]], places: Tensor, weights: Tensor
    ) -> Tensor:
        """See DeformableAttention."""
        return MultiScaleDeformableAttention()(value, None, list(shapes), None, places, weights, 0)


PLAIN: dict[type[nn.Module], type[nn.Module]] = {
    Linear: nn.Linear,
    Dropout: nn.Dropout,
    DeformableAttention: PlainDeformableAttention,
}
"""Classes that have another form with the same parameters."""


class Products(TorchDispatchMode):
    """Counts the operations of matrix products and convolutions.

    PyTorch's FlopCounterMode knows no linear layer of oneDNN, and takes no parameter for a module's
    input where gradients are off.
    """

    operations = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Run an operation, and count it."""
        out, packet = func(*args, **(kwargs or {})), func._overloadpacket
        if str(packet) == "mkldnn._linear_pointwise":
            self.operations += 2 * args[0].numel() * args[1].shape[0]
        elif packet in flop_registry:
            self.operations += flop_registry[packet](*args, **(kwargs or {}), out_val=out)
        return out


def count(run: Callable[[], Any]) -> float:
    """Return the GFLOP of its matrix products and convolutions."""
    with Products() as products:
        run()
    return products.operations / 1e9


def main() -> None:
    """Print what a training step and a prediction of published size compute, ours by plain."""
    torch.backends.mha.set_fastpath_enabled(False)  # one kernel, which is not counted
    print("| GFLOP, ours by the plain form | training step | prediction |\n|---|---|---|")
    for base in BASES:
        case = Case(base, size="published")
        train, predict, _ = build_case(case, pick_device())
        other = build(case.shape, base)
        assert other is not None
        cells = []
        for pair in zip((train, predict), other, strict=True):
            ours, theirs = map(count, pair)
            cells.append(f"{ours:.0f} by {theirs:.0f}: {ours / theirs:.2f}")
        print(f"| {base} with LoSh | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
