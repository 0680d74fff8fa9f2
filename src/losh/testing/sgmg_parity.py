"""Our value of every array of the SgMg fixture's cases.

A and B (the best query per clip), C (all queries of one annotated frame) and L (a training step's
masks and losses).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losh.inference.streams import joint_probabilities, predictions
from losh.layers.deformable import Pyramid
from losh.layers.transformer import sine_position
from losh.model.build import build_model
from losh.model.checkpoint import text_encoder_from
from losh.model.criterion import Criterion
from losh.model.deformable_pipeline import CENTRE
from losh.model.losh import LoSh
from losh.model.mask_losses import matched_pairs
from losh.model.released_format import released_name
from losh.model.structures import Clips, FrameSizes, LoShOutput, Targets, Tokens
from losh.params import ModelParams
from losh.pipelines import parameters_class
from losh.pipelines.sgmg.masks import PATCH
from losh.pipelines.sgmg.released import RENAMES
from losh.testing.recipe_fixture import Case, Compared, RecipeFixture
from losh.testing.small_models import consistency_params, loss_params, roberta_config

FIXTURE = RecipeFixture("sgmg")
MODEL = {
    "base": "sgmg",
    "backbone": {"name": "video_swin_t", "checkpoint": None, "window_size": [8, 7, 7]},
    "text_encoder": "roberta",
    "short_stream": False,
    "cross_attention": False,
    "cross_attention_blocks": 1,
    "cross_attention_place": "inside",
}
SGMG = {
    "d_model": 256,
    "num_heads": 8,
    "ffn_dim": 2048,
    "dropout": 0.1,
    "encoder_layers": 4,
    "decoder_layers": 4,
    "num_queries": 5,
    "feature_levels": 4,
    "points": 4,
}
LOSS_NAMES = {
    "loss_ce": "reference",
    "loss_bbox": "box",
    "loss_giou": "giou",
    "loss_mask": "focal",
    "loss_dice": "dice",
    "loss_mask_low": "focal_low",
    "loss_dice_low": "dice_low",
}
PIXELS = 3.0
"""How many pixels may differ where pixels are counted."""


@functools.cache
def parity_model() -> LoSh:
    """Return the published model in eval mode with the fixture's weights.

    It is shared: do not change it.
    """
    given = FIXTURE.meta["weight_dict"]
    losses = {ours: given[theirs] for theirs, ours in LOSS_NAMES.items()}
    sizes = FIXTURE.meta["roberta"]
    text = roberta_config(
        sizes["vocab_size"],
        sizes["hidden_size"],
        layers=sizes["num_hidden_layers"],
        heads=sizes["num_attention_heads"],
        ffn=sizes["intermediate_size"],
        positions=sizes["max_position_embeddings"],
    )
    model = build_model(
        ModelParams.model_validate(MODEL),
        parameters_class("sgmg").model_validate({**SGMG, "losses": losses}),
        text_encoder_from(text, pooled=True),
    )
    state = model.state_dict()
    model.load_state_dict(
        {
            name: FIXTURE.weight(released_name(name, RENAMES), tuple(value.shape))
            for name, value in state.items()
        }
    )
    return model.eval()


@dataclass
class Run:
    """An output with what happened on the way to it, by the fixture's name of each."""

    case: Case
    output: LoShOutput = None
    kept: dict[str, Tensor] = field(default_factory=dict)
    tokens: Tokens = None

    @property
    def clips(self) -> int:
        """B."""
        return len(self.case.frames)

    @property
    def frames(self) -> int:
        """K."""
        return self.case.frames.shape[1] if self.case.frame is None else 1

    def keep(self, name: str, value: Tensor) -> None:
        """Store what a module gave in its next call."""
        call = sum(key.startswith(f"{name}#") for key in self.kept)
        self.kept[f"{name}#{call}"] = value

    def by_clip(self, x: Tensor) -> Tensor:
        """[M, ...] -> [B, K, ...]."""
        return x.unflatten(0, (self.clips, -1))


@functools.cache
def case_run(name: str) -> Run:
    """Run the model on a case through its own `forward`; refine what the reference refines."""
    model = parity_model()
    run = Run(FIXTURE.case(name, model.base.image_multiple(training=False)))
    case, frames = run.case, run.case.frames.shape[1]
    kept = torch.arange(frames) if case.frame is None else torch.tensor([case.frame])
    clips = Clips(case.frames, case.pad, kept.expand(run.clips, -1))
    with torch.no_grad(), ExitStack() as stack:
        _trace(model.base, run, stack)
        run.output = model(clips, case.text)
        _keep_inputs(run)
        chosen = predictions(model.base, run.output, "long", best_only=case.frame is None)
    run.kept["logits"] = torch.stack([one.logits[0] for one in chosen])  # [B, K, N or 1, H, W]
    run.kept["best"] = torch.tensor([one.best for one in chosen])
    return run


def _trace(base: nn.Module, run: Run, stack: ExitStack) -> None:
    """Make the pipeline's parts tell what they give while the stack is open."""

    def tell(module: nn.Module, name: str, read=lambda out: out) -> None:
        hook = module.register_forward_hook(lambda _, __, out: run.keep(name, read(out)))
        stack.callback(hook.remove)

    def tell_method(name: str, then) -> None:
        method = getattr(base, name)
        setattr(base, name, lambda *args, **more: then(method(*args, **more)))
        stack.callback(delattr, base, name)

    tell(base.text_encoder, "text.last_hidden_state", lambda out: out.words)
    tell(base.text_encoder, "text.pooler_output", lambda out: out.sentence)
    tell(base.word_projection, "text_proj")
    tell(base.sentence_projection, "sentence_proj")
    for i, project in enumerate(base.input_projections.levels):
        tell(project, f"input_proj.{i}")
    for name, parts in (("input_fft", base.before_words), ("input_fft_post", base.after_words)):
        for i, part in enumerate(parts):
            tell(part.strength, f"{name}.{i}.coef")
            tell(part, f"{name}.{i}.out0", lambda out: out[0])
            tell(part, f"{name}.{i}.out1", lambda out: out[1])
    # [M, C, h, w] -> the reference's [K * h * w, B, C]
    tell(base.fusion, "fusion", lambda x: run.by_clip(x).permute(1, 3, 4, 0, 2).flatten(0, 2))
    for i, layer in enumerate(base.encoder.layers):
        tell(layer, f"encoder.layers.{i}")
    tell(base.reference_points, "decoder.init_reference", Tensor.sigmoid)
    tell(base.decoder, "decoder.hs", lambda out: torch.stack([one.states for one in out]))
    tell(
        base.decoder,
        "decoder.inter_references",
        lambda out: torch.stack([one.boxes for one in out]),
    )
    tell(base.class_heads[-1], "class_embed.last")
    tell(base.controller, "controller")

    def refined(_: nn.Module, __: tuple, out: Tensor) -> None:
        # Ours refines all chosen queries at once, the reference one query per call.
        for query in out.unflatten(0, (run.clips, -1, run.frames)).unbind(1):
            run.keep("mask_refine", query.flatten(0, 1))

    stack.callback(base.refiner.register_forward_hook(refined).remove)

    def fused(tokens: Tokens) -> Tokens:
        run.tokens = tokens
        return tokens

    def encoded(memory: Tensor) -> Tensor:
        run.keep("encoder", memory)
        start = 0
        for level, (h, w) in enumerate(run.tokens.shapes[:-1]):
            part = memory[:, start : start + h * w].transpose(1, 2)
            run.keep(f"memory.level{level}", part.unflatten(2, (h, w)))
            start += h * w
        return memory

    def features(x: Tensor) -> Tensor:
        for _ in base.class_heads:  # the reference makes them again for each layer
            run.keep("mask_features", run.by_clip(x))
        return x

    tell_method("fuse", fused)
    tell_method("encode", encoded)
    tell_method("mask_features", features)


def _keep_inputs(run: Run) -> None:
    """Keep what no module gives: backbone levels with positions, the encoder's input, patches."""
    video, tokens = run.output.video, run.tokens
    for i, (level, pad) in enumerate(zip(video.levels, video.pads, strict=True)):
        run.keep(f"backbone.level{i}", level.flatten(0, 1))
        run.keep(f"backbone.mask{i}", pad.flatten(0, 1))
        run.keep(f"backbone.pos{i}", sine_position(pad.flatten(0, 1), SGMG["d_model"], CENTRE))
    run.keep("encoder_in.src", tokens.x)
    run.keep("encoder_in.pos", tokens.pos)
    run.keep("encoder_in.padding_mask", tokens.pad)
    run.keep("encoder_in.valid_ratios", Pyramid.of(tokens.pad, tokens.shapes).valid)
    for pred in run.output.long:
        patches = F.pixel_unshuffle(pred.masks.unsqueeze(3), PATCH)  # [B, K, N, 16, h, w]
        run.keep("patch_masks", patches.flatten(1, 2))


def _outputs(run: Run) -> Iterator[tuple[str, Tensor]]:
    """Yield what the reference returns in eval mode."""
    layers, best = run.output.long, run.kept["best"]
    rows, scores = torch.arange(run.clips), layers[-1].scores
    yield "out/all_query_logits", scores
    yield "out/pred_masks", run.kept["logits"]
    yield "post/best_query_per_video", best
    if run.case.frame is not None:
        yield "out/pred_logits", scores
        yield "out/pred_boxes", layers[-1].boxes
        return
    yield "out/pred_logits", scores[rows, :, best][:, :, None]
    yield "out/pred_boxes", layers[-1].boxes[rows, :, best][:, :, None]
    yield "out/reference_points", layers[-2].boxes[rows, :, best][:, :, None, :2]
    yield "post/selected_query", torch.tensor(0)  # one query is left to choose from
    padded, clip = run.output.video.size, run.case.sizes[0]
    sizes = FrameSizes(padded, clip, (clip[0] * 5 // 4, clip[1] * 5 // 4))
    rule = parity_model().base.mask_rule("youtube_vos")
    logits = run.kept["logits"][0, :, 0]
    probabilities = joint_probabilities([logits], "long", rule, sizes)
    yield "post/prob_resized5_4_mean_per_frame", probabilities.mean((1, 2))
    yield "post/fg_pixels_per_frame", rule.masks(probabilities, sizes, 0.5).sum((1, 2))


def forward_arrays(case: str) -> list[Compared]:
    """Every array of case A, B or C."""
    run = case_run(case)
    named = [*run.kept.items(), *_outputs(run)]
    compared = [one for name, value in named for one in FIXTURE.compare(case, name, value)]
    return [
        (*one[:3], PIXELS) if one[0].endswith("fg_pixels_per_frame") else one for one in compared
    ]


def training_targets() -> list[Targets]:
    """Ground truth of case L."""
    arrays = FIXTURE.arrays
    masks = torch.from_numpy(arrays["L/in/masks"]).bool()
    return [Targets(masks[None], 0, torch.from_numpy(arrays["L/in/valid"]).bool())]


def loss_arrays() -> list[Compared]:
    """Every array of case L, and every loss."""
    run, targets = case_run("A"), training_targets()
    model, output = parity_model(), run.output
    criterion = Criterion(model.base, loss_params(consistency=0.0), consistency_params())
    with torch.no_grad():
        losses = criterion(output, targets)
        matches = [criterion.match(output, targets, i) for i in range(len(output.long))]
        rows, queries = matched_pairs(matches[-1], torch.device("cpu"))
        refined = model.base.refine(output.long[-1], rows, queries, output.selected)
    named = {
        "out/pred_logits": output.long[-1].scores,
        "out/pred_boxes": output.long[-1].boxes,
        "out/pred_masks": refined,
        "out/pred_masks_low": output.long[-1].masks[rows, :, queries],
    }
    found = [one for name, value in named.items() for one in FIXTURE.compare("L", name, value)]
    chosen = torch.stack([match[0][0] for match in (matches[-1], *matches[:-1])])[:, 0]
    found += FIXTURE.compare("loss", "selected_query_main_then_aux", chosen)
    found += FIXTURE.compare("loss", "TOTAL", losses["total"])
    for theirs, ours in LOSS_NAMES.items():
        for suffix in ("", *(f"_{i}" for i in range(len(output.long) - 1))):
            found += FIXTURE.compare("loss", theirs + suffix, losses[ours + suffix])
    return found
