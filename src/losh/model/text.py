"""The text encoder: a Hugging Face encoder and its tokenizer, shared by the long and the short expression.

B sentences, S tokens of the longest, D channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoConfig, AutoModel, AutoTokenizer, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from losh.errors import UserError
from losh.model.interface import TextFeats

EMBEDDED = Path(__file__).parent / "weights" / "text_encoder"
"""Our small RoBERTa for MovingShapes, made by scripts/train_text_encoder.py."""


class TextEncoder(nn.Module):
    """Words of a sentence -> features.

    Attributes:
        encoder: the Hugging Face model; its parameters keep their published names under `encoder.`.
        tokenizer: None where the encoder was made from a configuration alone.
        dim: D, channels of a word's features.
        frozen: no gradient, and always in eval mode: without dropout its features can be computed once and kept (ours; the released code leaves
            the dropout of its frozen encoder on).
    """

    def __init__(self, name_or_path: str, frozen: bool = True) -> None:
        """Load an encoder.

        Args:
            name_or_path: `embedded`, a folder, or a name on the Hugging Face hub such as `roberta-base`.

        Raises:
            UserError: it cannot be had or is no encoder.
        """
        super().__init__()
        self._take(*load_encoder(name_or_path), frozen)

    @classmethod
    def from_config(cls, config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase | None = None, frozen: bool = True) -> TextEncoder:
        """An encoder with random weights."""
        text_encoder = cls.__new__(cls)
        nn.Module.__init__(text_encoder)
        text_encoder._take(without_pooler(AutoModel.from_config, config), tokenizer, frozen)
        return text_encoder

    def _take(self, encoder: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None, frozen: bool) -> None:
        self.encoder = encoder
        self.tokenizer = tokenizer
        self.dim: int = encoder.config.hidden_size
        self.frozen = frozen
        encoder.requires_grad_(not frozen)
        self.train(not frozen)

    def train(self, mode: bool = True) -> TextEncoder:
        """Choose the mode; a frozen encoder stays in eval mode."""
        return super().train(mode and not self.frozen)

    def tokenize(self, sentences: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Tokens of sentences, padded to the longest -> ids int64 [B, S], attention mask int64 [B, S] (0 = padding), on the CPU.

        What is beyond the encoder's length (512 tokens for RoBERTa) is cut off.
        """
        if self.tokenizer is None:
            raise ValueError("this encoder was made without a tokenizer")
        encoded = self.tokenizer(list(sentences), padding=True, truncation=True, return_tensors="pt", max_length=self.longest())
        return encoded["input_ids"], encoded["attention_mask"]

    def longest(self) -> int:
        """The number of tokens that the encoder has positions for."""
        config = self.encoder.config
        # RoBERTa counts positions from pad_token_id + 1, so that it has fewer than its table has rows. One too careful elsewhere does no harm.
        return min(self.tokenizer.model_max_length, config.max_position_embeddings - (config.pad_token_id or 0) - 1)

    def forward(self, ids: Tensor, mask: Tensor) -> TextFeats:
        """Features of tokens.

        Args:
            ids: int64 [B, S].
            mask: [B, S], 0 = padding.

        Returns:
            words [B, S, D] (those of padding mean nothing), pad [B, S].
        """
        return TextFeats(self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state, mask == 0)

    @torch.no_grad()  # not inference_mode: its tensors could not be saved for the backward pass of what reads them
    def features(self, sentences: Sequence[str], device: torch.device | str = "cpu", batch_size: int = 64) -> list[Tensor]:
        """Features of each sentence, in eval mode, computed on `device` (the encoder is moved there).

        Returns:
            A float32 [S_i, D] on the CPU for each sentence, in order, without padding.
        """
        mode = self.training
        self.eval().to(device)
        found: list[Tensor] = []
        for start in range(0, len(sentences), batch_size):
            ids, mask = self.tokenize(sentences[start : start + batch_size])
            feats = self(ids.to(device), mask.to(device))
            words = feats.words.float().cpu()
            found += [one[:length].clone() for one, length in zip(words, mask.sum(1).tolist(), strict=True)]
        self.train(mode)
        return found


def pad_features(features: Sequence[Tensor]) -> TextFeats:
    """Sentences' features, [S_i, D] each, as one batch padded with zeros to the longest."""
    lengths = torch.tensor([len(one) for one in features], device=features[0].device)
    words = pad_sequence(list(features), batch_first=True)  # [B, S, D]
    return TextFeats(words, torch.arange(words.shape[1], device=words.device)[None] >= lengths[:, None])


def load_encoder(name_or_path: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The encoder (float32) and its tokenizer.

    Raises:
        UserError: they cannot be had, are no encoder's, or lack weights.
    """
    embedded = name_or_path == "embedded"
    where = str(EMBEDDED) if embedded else name_or_path
    local = embedded or Path(where).is_dir()
    try:
        config = AutoConfig.from_pretrained(where, local_files_only=local)
        if config.is_encoder_decoder or not hasattr(config, "hidden_size"):
            raise UserError(f"model.text_encoder: {name_or_path} is no plain text encoder", "Take one like roberta-base")
        tokenizer = AutoTokenizer.from_pretrained(where, local_files_only=local)
        encoder, info = without_pooler(
            AutoModel.from_pretrained, where, config=config, local_files_only=local, dtype=torch.float32, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        mend = "Give the path of a folder with config.json, its weights and its tokenizer; the hub is needed for a mere name"
        raise UserError(f"model.text_encoder: {name_or_path} cannot be loaded ({reason})", mend) from None
    if info["missing_keys"]:
        raise UserError(f"model.text_encoder: {name_or_path} lacks weights: {', '.join(sorted(info['missing_keys'])[:8])}", "Take a whole encoder")
    return encoder, tokenizer


def without_pooler(make: Any, *args: Any, **options: Any) -> Any:
    """Make a model without the sentence pooler that BERT's kin have and we do not use; others do not know the option."""
    try:
        return make(*args, **options, add_pooling_layer=False)
    except TypeError:
        return make(*args, **options)
