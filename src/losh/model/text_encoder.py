"""The text encoder: a Hugging Face encoder and its tokenizer, shared by both expressions.

B sentences, S tokens of the longest, D channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
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
from transformers.utils.logging import (
    disable_progress_bar,
    get_verbosity,
    set_verbosity,
    set_verbosity_error,
)

from losh.errors import UserError
from losh.model.structures import TextFeats
from losh.runtime.home import at_home
from losh.runtime.torch_files import UNREADABLE, reason_of

EMBEDDED = Path(__file__).parent / "embedded_text_encoder"
"""Our small RoBERTa for MovingShapes, made by scripts/train_text_encoder.py."""
ADVICE = (
    "Give the path of a folder with config.json, the weights and the tokenizer; a mere name needs "
    "the Hugging Face hub"
)


@dataclass(frozen=True)
class SentenceFeatures:
    """What the encoder makes of one sentence."""

    words: Tensor
    """[S, D]."""
    sentence: Tensor | None
    """[D] where the encoder pools, else None."""


class TextEncoder(nn.Module):
    """Words of a sentence, and with `pooled` the sentence as a whole -> features.

    A frozen encoder (the default) gets no gradient and stays in eval mode: without dropout its
    features can be computed once and kept (ours; the released code leaves the dropout of its frozen
    encoder on).

    Attributes:
        model: the Hugging Face model; its parameters keep their published names.
        tokenizer: None where the encoder was made from a configuration alone.
        width: D, channels of a word's features.
        pooled: whether it gives the sentence vector of BERT's kin too: the first token's features
            through a layer of their own, the pooler.
    """

    def __init__(self, name_or_path: str, frozen: bool = True, pooled: bool = False) -> None:
        """Load an encoder.

        Many encoders on the hub come without a trained pooler: its weights are then drawn afresh,
        the same ones every time.

        Args:
            name_or_path: `embedded`, a folder, or a name on the Hugging Face hub such as
                `roberta-base`.

        Raises:
            UserError: it cannot be had or is no encoder.
        """
        super().__init__()
        model, tokenizer = load_encoder(name_or_path, pooled), load_tokenizer(name_or_path)
        if len(tokenizer) > model.config.vocab_size:
            sizes = f"{len(tokenizer)} tokens, and the encoder knows {model.config.vocab_size}"
            raise UserError(
                f"model.text_encoder: the tokenizer of {name_or_path} has {sizes}",
                "Take the tokenizer that belongs to the encoder",
            )
        self._take(model, tokenizer, frozen, pooled)

    @classmethod
    def from_config(
        cls,
        config: PretrainedConfig,
        tokenizer: PreTrainedTokenizerBase | None = None,
        frozen: bool = True,
        pooled: bool = False,
    ) -> TextEncoder:
        """Return an encoder with random weights."""
        text_encoder = cls.__new__(cls)
        nn.Module.__init__(text_encoder)
        model = with_pooler(pooled, AutoModel.from_config, config)
        text_encoder._take(model, tokenizer, frozen, pooled)
        return text_encoder

    def _take(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase | None,
        frozen: bool,
        pooled: bool,
    ) -> None:
        self.model = model
        self.pooled = pooled
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
        """Tokenize sentences, padded to the longest -> ids and attention mask, int64 [B, S].

        0 = padding; both on the CPU.

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
            words [B, S, D] (those of padding mean nothing), pad [B, S] and, where the encoder
            pools, sentence [B, D].
        """
        out = self.model(input_ids=ids, attention_mask=mask)
        sentence = out.pooler_output if self.pooled else None
        return TextFeats(out.last_hidden_state, mask == 0, sentence)

    # not inference_mode: its tensors could not be saved for the backward pass of what reads them
    @torch.no_grad()
    def features(
        self, sentences: Sequence[str], device: torch.device | str = "cpu", batch_size: int = 64
    ) -> list[SentenceFeatures]:
        """Compute the features of each sentence, in eval mode, on `device`.

        The encoder is moved there.

        Returns:
            float32 on the CPU for each sentence, in order, without padding.
        """
        mode = self.training
        self.eval().to(device)
        found: list[SentenceFeatures] = []
        for start in range(0, len(sentences), batch_size):
            ids, mask = self.tokenize(sentences[start : start + batch_size])
            feats = self(ids.to(device), mask.to(device))
            words = feats.words.float().cpu()
            pooled = [None] * len(words) if feats.sentence is None else feats.sentence.float().cpu()
            # Clones, since views would keep the whole padded batch in memory.
            found += [
                SentenceFeatures(
                    one[:length].clone(), None if sentence is None else sentence.clone()
                )
                for one, sentence, length in zip(words, pooled, mask.sum(1).tolist(), strict=True)
            ]
        self.train(mode)
        return found


def pad_features(features: Sequence[SentenceFeatures]) -> TextFeats:
    """Sentences' features as one batch, words padded with zeros to the longest."""
    lengths = torch.tensor([len(one.words) for one in features], device=features[0].words.device)
    words = pad_sequence([one.words for one in features], batch_first=True)  # [B, S, D]
    pad = torch.arange(words.shape[1], device=words.device)[None] >= lengths[:, None]
    pooled = [one.sentence for one in features if one.sentence is not None]
    return TextFeats(words, pad, torch.stack(pooled) if pooled else None)


def load_encoder(name_or_path: str, pooled: bool = False) -> PreTrainedModel:
    """Load the encoder in float32.

    Args:
        pooled: with its pooler, whose weights are fresh where it comes without.

    Raises:
        UserError: it cannot be had, is no encoder, lacks weights, or has no pooler.
    """
    disable_progress_bar()  # one of a few milliseconds for every load
    config = encoder_config(name_or_path)
    options = {"config": config, "dtype": torch.float32, "output_loading_info": True}
    load = partial(with_pooler, pooled, AutoModel.from_pretrained, **options)
    verbosity = get_verbosity()
    set_verbosity_error()  # no table of weights: what is missing is judged below
    try:
        model, info = _from_files(name_or_path, load)
    finally:
        set_verbosity(verbosity)
    missing = sorted(key for key in info["missing_keys"] if not key.startswith("pooler."))
    if missing:
        raise UserError(
            f"model.text_encoder: {name_or_path} lacks weights: {', '.join(missing[:8])}", ADVICE
        )
    if any(key.startswith("pooler.") for key in info["missing_keys"]):
        _fresh_pooler(model)
    return model


def _fresh_pooler(model: PreTrainedModel) -> None:
    """Draw a pooler's weights, the same ones every time.

    They are part of a frozen encoder, whose features are kept from one training to the next.
    """
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.pooler.named_parameters():
        if name.endswith("weight"):
            spread = model.config.initializer_range
            nn.init.normal_(parameter, std=spread, generator=generator)
        else:
            nn.init.zeros_(parameter)


def encoder_config(name_or_path: str) -> PretrainedConfig:
    """Load the encoder's configuration.

    Raises:
        UserError: it cannot be had, or is of no encoder.
    """
    config = _from_files(name_or_path, AutoConfig.from_pretrained)
    if config.is_encoder_decoder or not hasattr(config, "hidden_size"):
        raise UserError(
            f"model.text_encoder: {name_or_path} is no plain text encoder",
            "Take one like roberta-base",
        )
    return config


def load_tokenizer(name_or_path: str) -> PreTrainedTokenizerBase:
    """Return the encoder's tokenizer.

    Raises:
        UserError: it cannot be had.
    """
    tokenizer = _from_files(name_or_path, AutoTokenizer.from_pretrained)
    if not tokenizer.get_vocab().keys() - set(tokenizer.all_special_tokens):
        # Without its files transformers makes up an empty tokenizer, to which every word is
        # unknown.
        raise UserError(f"model.text_encoder: {name_or_path} has no tokenizer", ADVICE)
    return tokenizer


def with_pooler(pooled: bool, make: Any, *args: Any, **options: Any) -> Any:
    """Make a model with or without the sentence pooler that BERT's kin have.

    Others do not know the option.

    Raises:
        UserError: `pooled`, and the model has none.
    """
    try:
        return make(*args, **options, add_pooling_layer=pooled)
    except TypeError:
        if pooled:
            raise UserError(
                "model.text_encoder has no pooled sentence vector, which the base pipeline needs",
                "Take one of BERT's kin, such as roberta-base",
            ) from None
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
