"""What may and what may not change when a clip or a sentence is padded."""

from __future__ import annotations

import torch

from losh.model.structures import Clips, LoShOutput, TextFeats, TextIds, VideoFeats
from losh.testing.small_models import (
    opened,
    random_targets,
    run,
    sentence_ids,
    small_clips,
    small_model,
    words,
)


def clip(output: LoShOutput, b: int) -> list[torch.Tensor]:
    """Everything that is predicted for one clip."""
    return [
        x[b]
        for stream in (output.long, output.short)
        for x in (stream[-1].masks, stream[-1].scores)
    ]


def close(a: list, b: list, atol: float = 1e-5) -> bool:
    return all(torch.allclose(x, y, atol=atol) for x, y in zip(a, b, strict=True))


def no_pad(height: int, width: int) -> torch.Tensor:
    """The padding of an input of this size, which these features do not follow."""
    return torch.zeros(1, 1, height, width, dtype=torch.bool)


def test_a_padded_clip_alone_is_the_same_clip_in_a_batch() -> None:
    model, clips = opened(small_model()), small_clips()
    text, short = words((5, 3)), words((2, 3), seed=1)
    together = run(model, clips, text, short)
    for b in range(2):
        alone = Clips(clips.frames[b : b + 1], clips.pad[b : b + 1], clips.annotated[b : b + 1])
        one = [TextFeats(t.words[b : b + 1], t.pad[b : b + 1]) for t in (text, short)]
        assert close(clip(together, b), clip(run(model, alone, *one), 0))


def test_a_padded_sentence_is_the_same_sentence_alone() -> None:
    """Through the text encoder too: its features do not depend on the length that a batch is padded
    to.
    """
    model, clips = opened(small_model()), small_clips()
    long, short = sentence_ids((9, 4)), sentence_ids((3, 2), seed=1)
    together = model(clips, long, short)
    alone = Clips(clips.frames[1:], clips.pad[1:], clips.annotated[1:])
    one = model(
        alone,
        TextIds(long.ids[1:, :4], long.mask[1:, :4]),
        TextIds(short.ids[1:, :2], short.mask[1:, :2]),
    )
    assert close(clip(together, 1), clip(one, 0))


def test_the_transformer_ignores_padded_features() -> None:
    """Features with a padded margin score as the same features without it. (Masks may differ near
    the margin: convolutions see it.)
    """
    base, width = small_model().base, 4
    generator = torch.Generator().manual_seed(0)
    level = [
        torch.randn(1, 1, c, 3 * 2 ** (2 - i), (width + 2) * 2 ** (2 - i), generator=generator)
        for i, c in enumerate(base.backbone.channels)
    ]
    whole = [torch.zeros(1, 1, *x.shape[-2:], dtype=torch.bool) for x in level]
    for i, pad in enumerate(whole):
        pad[..., width * 2 ** (2 - i) :] = True
    padded = VideoFeats(level, whole, base.backbone.strides, no_pad(48, 96))
    cut = [x[..., : width * 2 ** (2 - i)] for i, x in enumerate(level)]
    alone = VideoFeats(
        cut,
        [p[..., : width * 2 ** (2 - i)] for i, p in enumerate(whole)],
        base.backbone.strides,
        no_pad(48, 64),
    )
    text = base.encode_text(words((4,)))
    scores = []
    for raw in (padded, alone):
        video = base.select_frames(raw, torch.zeros(1, 1, dtype=torch.long))
        tokens = base.fuse(video, text)
        scores.append(base.decode(base.encode(tokens), tokens, video, text)[-1].scores)
    assert torch.allclose(*scores, atol=1e-5)


def test_a_frame_that_is_all_padding_gives_no_nan() -> None:
    model, clips = opened(small_model()), small_clips()
    clips.pad[1] = True
    text = words((5, 3))
    text.pad[1] = True
    output = run(model, clips, text, text)
    assert (
        torch.isfinite(output.long[-1].masks).all()
        and torch.isfinite(output.short[-1].scores).all()
    )
    output.long[-1].masks.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_targets_of_smaller_clips_are_padded_with_nothing() -> None:
    from losh.model.mask_losses import target_masks

    target = random_targets((2,), size=(24, 40))[0]
    padded = target_masks(target, (40, 56))
    assert padded.shape == (2, 2, 40, 56)
    assert padded.sum() == target.masks.sum()
    assert torch.equal(padded[..., :24, :40].bool(), target.masks)
