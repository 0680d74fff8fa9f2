"""The text encoder: a Hugging Face encoder and its tokenizer, shared by the long and the short
expression.

B sentences, S tokens of the longest, D channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.logging import disable_progress_bar

from losh.errors import UserError
from losh.model.structures import TextFeats
from losh.runtime.home import at_home
from losh.runtime.torch_files import UNREADABLE, reason_of

EMBEDDED = Path(__file__).parent / "embedded_text_encoder"
"""Our small RoBERTa for MovingShapes, made by scripts/train_text_encoder.py."""
ADVICE = "Give the path of a folder with config.json, the weights and the tokenizer; a mere name needs the Hugging Face hub"


class TextEncoder(nn.Module):
    """Words of a sentence -> features.

    A frozen encoder (the default) gets no gradient and stays in eval mode: without dropout its
    features can be computed once and kept (ours; the released code leaves the dropout of its frozen
    encoder on).

    Attributes:
        model: the Hugging Face model; its parameters keep their published names.
        tokenizer: None where the encoder was made from a configuration alone.
        width: D, channels of a word's features.
    """

    def __init__(self, name_or_path: str, frozen: bool = True) -> None:
        """Load an encoder.

        Args:
            name_or_path: `embedded`, a folder, or a name on the Hugging Face hub such as
                `roberta-base`.

        Raises:
            UserError: it cannot be had or is no encoder.
        """
        super().__init__()
        model, tokenizer = load_encoder(name_or_path), load_tokenizer(name_or_path)
        if len(tokenizer) > model.config.vocab_size:
            sizes = f"{len(tokenizer)} tokens, and the encoder knows {model.config.vocab_size}"
            raise UserError(
                f"model.text_encoder: the tokenizer of {name_or_path} has {sizes}",
                "Take the tokenizer that belongs to the encoder",
            )
        self._take(model, tokenizer, frozen)

    @classmethod
    def from_config(
        cls,
        config: PretrainedConfig,
        tokenizer: PreTrainedTokenizerBase | None = None,
        frozen: bool = True,
    ) -> TextEncoder:
        """An encoder with random weights."""
        text_encoder = cls.__new__(cls)
        nn.Module.__init__(text_encoder)
        text_encoder._take(without_pooler(AutoModel.from_config, config), tokenizer, frozen)
        return text_encoder

    def _take(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None, frozen: bool
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.width: int = model.config.hidden_size
        self.frozen = frozen

    @property
    def frozen(self) -> bool:
        """Whether the encoder is left as it is in training; setting it sets `requires_grad` too."""
        return self._frozen

    @frozen.setter
    def frozen(self, frozen: bool) -> None:
        self._frozen = frozen
        self.model.requires_grad_(not frozen)
        self.train(self.training)

    def train(self, mode: bool = True) -> TextEncoder:
        """Choose the mode; a frozen encoder stays in eval mode."""
        return super().train(mode and not self.frozen)

    def tokenize(self, sentences: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Tokens of sentences, padded to the longest -> ids int64 [B, S], attention mask int64 [B,
        S] (0 = padding), on the CPU.

        What is beyond the encoder's length (512 tokens for RoBERTa) is cut off.
        """
        if self.tokenizer is None:
            raise ValueError("this text encoder was made without a tokenizer")
        config = self.model.config
        # RoBERTa counts positions from pad_token_id + 1, so that its table has that many rows it
        # cannot use. One too careful elsewhere does no harm.
        longest = min(
            self.tokenizer.model_max_length,
            config.max_position_embeddings - (config.pad_token_id or 0) - 1,
        )
        encoded = self.tokenizer(
            list(sentences), padding=True, truncation=True, max_length=longest, return_tensors="pt"
        )
        return encoded["input_ids"], encoded["attention_mask"]

    def forward(self, ids: Tensor, mask: Tensor) -> TextFeats:
        """Features of tokens.

        Args:
            ids: int64 [B, S].
            mask: [B, S], 0 = padding.

        Returns:
            words [B, S, D] (those of padding mean nothing), pad [B, S].
        """
        return TextFeats(
            self.model(input_ids=ids, attention_mask=mask).last_hidden_state, mask == 0
        )

    # not inference_mode: its tensors could not be saved for the backward pass of what reads them
    @torch.no_grad()
    def features(
        self, sentences: Sequence[str], device: torch.device | str = "cpu", batch_size: int = 64
    ) -> list[Tensor]:
        """Features of each sentence, in eval mode, computed on `device` (the encoder is moved
        there).

        Returns:
            A float32 [S_i, D] on the CPU for each sentence, in order, without padding.
        """
        mode = self.training
        self.eval().to(device)
        found: list[Tensor] = []
        for start in range(0, len(sentences), batch_size):
            ids, mask = self.tokenize(sentences[start : start + batch_size])
            words = self(ids.to(device), mask.to(device)).words.float().cpu()
            # A clone, since a view would keep the whole padded batch in memory.
            found += [
                one[:length].clone()
                for one, length in zip(words, mask.sum(1).tolist(), strict=True)
            ]
        self.train(mode)
        return found


def pad_features(features: Sequence[Tensor]) -> TextFeats:
    """Sentences' features, [S_i, D] each, as one batch padded with zeros to the longest."""
    lengths = torch.tensor([len(one) for one in features], device=features[0].device)
    words = pad_sequence(list(features), batch_first=True)  # [B, S, D]
    return TextFeats(
        words, torch.arange(words.shape[1], device=words.device)[None] >= lengths[:, None]
    )


def load_encoder(name_or_path: str) -> PreTrainedModel:
    """The encoder in float32.

    Raises:
        UserError: it cannot be had, is no encoder, or lacks weights.
    """
    disable_progress_bar()  # one of a few milliseconds for every load
    config = _from_files(name_or_path, AutoConfig.from_pretrained)
    if config.is_encoder_decoder or not hasattr(config, "hidden_size"):
        raise UserError(
            f"model.text_encoder: {name_or_path} is no plain text encoder",
            "Take one like roberta-base",
        )
    options = {"config": config, "dtype": torch.float32, "output_loading_info": True}
    model, info = _from_files(
        name_or_path,
        lambda where, **local: without_pooler(AutoModel.from_pretrained, where, **options, **local),
    )
    if info["missing_keys"]:
        raise UserError(
            f"model.text_encoder: {name_or_path} lacks weights: "
            f"{', '.join(sorted(info['missing_keys'])[:8])}",
            ADVICE,
        )
    return model


def load_tokenizer(name_or_path: str) -> PreTrainedTokenizerBase:
    """The encoder's tokenizer.

    Raises:
        UserError: it cannot be had.
    """
    tokenizer = _from_files(name_or_path, AutoTokenizer.from_pretrained)
    if not tokenizer.get_vocab().keys() - set(tokenizer.all_special_tokens):
        # Without its files transformers makes up an empty tokenizer, to which every word is
        # unknown.
        raise UserError(f"model.text_encoder: {name_or_path} has no tokenizer", ADVICE)
    return tokenizer


def without_pooler(make: Any, *args: Any, **options: Any) -> Any:
    """Make a model without the sentence pooler that BERT's kin have and we do not use; others do
    not know the option.
    """
    try:
        return make(*args, **options, add_pooling_layer=False)
    except TypeError:
        return make(*args, **options)


def _from_files(name_or_path: str, load: Any) -> Any:
    """Load from our package, a folder, the hub's cache, or else from the hub."""
    where = str(EMBEDDED) if name_or_path == "embedded" else str(at_home(Path(name_or_path)))
    if not Path(where).is_dir():
        where = name_or_path  # a name on the hub
    try:
        return load(
            where, local_files_only=True
        )  # the cache first: the same files every time, and no wait where there is no network
    except UNREADABLE as error:
        if name_or_path == "embedded" or Path(where).is_dir():
            raise _cannot_load(name_or_path, error) from None
    try:
        return load(where)
    except UNREADABLE as error:
        raise _cannot_load(name_or_path, error) from None


def _cannot_load(name_or_path: str, error: Exception) -> UserError:
    what = f"model.text_encoder: {name_or_path} cannot be loaded ({reason_of(error)})"
    return UserError(what, ADVICE)
