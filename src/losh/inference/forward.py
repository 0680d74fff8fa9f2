"""Running the model on samples without gradients.

Validation, evaluation and prediction share this part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from losh.clips.batches import Batch, make_batch
from losh.clips.dataset import ClipDataset, readable
from losh.clips.loader import load_batches
from losh.clips.samples import Sample, group_samples
from losh.errors import UserError
from losh.inference.streams import Prediction, Rule, joint_probabilities, predictions
from losh.inference.text_features import TextFeatures
from losh.media.resizing import InputSize
from losh.model.losh import LoSh
from losh.model.structures import Clips, FrameSizes, LoShOutput, VideoFeats


@dataclass(frozen=True)
class Predictor:
    """A model with all that decides its masks."""

    model: LoSh
    texts: TextFeatures
    input_size: InputSize
    dtype: torch.dtype
    """Of mixed precision; float32 for none."""
    rule: Rule = "long"
    threshold: float = 0.5
    """A pixel belongs to the mask above this probability."""
    batch_size: int = 8
    """Samples at once."""
    by_window: bool = True
    """Encode the samples of one window once and together (ours). Else each is a clip of its own, in
    the order given, as published: what a clip is padded to depends on the others in its batch.
    """

    @torch.no_grad()
    def run(
        self, clips: Clips, long: list[str], short: list[str], video: VideoFeats | None = None
    ) -> LoShOutput:
        """Run one forward pass in evaluation mode."""
        self.model.eval()
        with self.autocast(clips.frames.device):
            texts = self.texts.inputs(long), self.texts.inputs(short)
            joint = self.rule != "long"
            return self.model(clips, *texts, video, joint=joint, last_only=True)

    def autocast(self, device: torch.device) -> torch.autocast:
        """Return the context of mixed precision."""
        return torch.autocast(device.type, self.dtype, enabled=self.dtype != torch.float32)

    def windows(
        self,
        samples: list[Sample],
        root: Path,
        best_only: bool,
        skipped: list[str] | None = None,
    ) -> Iterator[tuple[Batch, list[Prediction]]]:
        """Predict samples in batches, which follow the samples' order unless `by_window`.

        Args:
            root: the folder data/.
            best_only: only the best query's masks.
            skipped: gathers why samples cannot be read; None: the first such sample is an error.
        """
        device, texts = self.texts.device, self.texts
        if texts.frozen:
            texts.add(text for sample in samples for text in (sample.long, sample.short))
        groups = (
            group_samples(samples, self.batch_size)
            if self.by_window
            else [[sample] for sample in samples]
        )
        batches = _batches(groups, self.batch_size)
        loader = load_batches(ClipDataset(root, groups, self.input_size), batches, device)
        multiple = self.model.base.image_multiple(training=False)
        for indices, found in zip(batches, loader, strict=True):
            loaded = readable(found, "stop" if skipped is None else "skip")
            if skipped is not None:
                # A clip holds all samples of its window: each counts.
                skipped += [
                    f"{sample.sample_id}: {item}"
                    for i, item in zip(indices, found, strict=True)
                    if isinstance(item, UserError)
                    for sample in groups[i]
                ]
            if not loaded:
                continue
            batch = make_batch(loaded, device, multiple)
            output = self.run(batch.clips, batch.long, batch.short)
            yield batch, predictions(self.model.base, output, self.rule, best_only)

    def masks(
        self, prediction: Prediction, frame: int, sizes: FrameSizes, protocol: str
    ) -> np.ndarray:
        """Return the masks of one annotated frame at the original size: bool [N or 1, H0, W0].

        Args:
            frame: 0 to K - 1.
            protocol: whose mask rule counts, such as a2d.
        """
        mask_rule = self.model.base.mask_rule(protocol)
        logits = [stream[frame] for stream in prediction.logits]
        probabilities = joint_probabilities(logits, self.rule, mask_rule, sizes)
        return mask_rule.masks(probabilities, sizes, self.threshold).cpu().numpy()


def _batches(groups: list[list[Sample]], size: int) -> list[list[int]]:
    """Put groups together in order, as many at once as hold at most `size` samples.

    The groups of a batch have the same numbers of frames and of annotated frames.
    """
    batches: list[list[int]] = []
    count, kind = 0, (0, 0)
    for i, group in enumerate(groups):
        own = (len(group[0].window), len(group[0].annotated))
        if not batches or count + len(group) > size or kind != own:
            batches.append([])
            count, kind = 0, own
        batches[-1].append(i)
        count += len(group)
    return batches
