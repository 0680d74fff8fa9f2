"""What the model gets of sentences.

Cached features of a frozen text encoder, or tokens for one that is trained.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from losh.clips.sentences import fold_text
from losh.model.structures import TextFeats, TextIds
from losh.model.text_encoder import SentenceFeatures, TextEncoder, pad_features


class TextFeatures:
    """Turns sentences into the model's input.

    With a frozen encoder each sentence is encoded once and kept on the CPU: padding is masked, so
    that the features do not depend on the batch beyond rounding (a test states by how much). The
    released code ran its frozen encoder twice a step.

    Args:
        fold: lower-case each sentence and fold its white space first. The base pipeline's rule
            says when (`folds_text`): not every published system does so everywhere.

    Attributes:
        features: of the sentences that are known, as they are read, on the CPU.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        device: torch.device,
        frozen: bool = True,
        fold: bool = True,
    ) -> None:
        self.encoder, self.device, self.frozen, self.fold = encoder, device, frozen, fold
        self.features: dict[str, SentenceFeatures] = {}

    def add(self, sentences: Iterable[str]) -> None:
        """Encode those sentences that are new."""
        new = sorted({self.as_read(sentence) for sentence in sentences} - self.features.keys())
        if new:
            # Full precision even inside autocast: they are kept for good.
            with torch.autocast(self.device.type, enabled=False):
                features = self.encoder.features(new, self.device, batch_size=64)
            self.features |= dict(zip(new, features, strict=True))

    def inputs(self, sentences: list[str]) -> TextFeats | TextIds:
        """Features [B, S, D] or tokens [B, S] of a batch, on the device."""
        sentences = [self.as_read(sentence) for sentence in sentences]
        if not self.frozen:
            ids, mask = self.encoder.tokenize(sentences)
            return TextIds(ids.to(self.device), mask.to(self.device))
        self.add(sentences)
        return pad_features([self.features[sentence] for sentence in sentences]).to(self.device)

    def as_read(self, sentence: str) -> str:
        """Return the sentence as the tokenizer gets it."""
        return fold_text(sentence) if self.fold else sentence
