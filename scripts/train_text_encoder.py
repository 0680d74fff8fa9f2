"""Train the embedded text encoder: a small RoBERTa for MovingShapes' sentences, 1 MB.

    python scripts/train_text_encoder.py                 # writes
    src/losh/model/embedded_text_encoder/; two to three minutes on one free core python
    scripts/train_text_encoder.py --out /tmp/x --steps 200

Masked language modelling alone leaves an encoder's features free to say little of the word they
stand at, and the model that reads them gets no word order from anywhere else (MTTR's words have no
position code). So each feature also has to tell its own word and its two neighbours on either side
(our choice). The same seed gives the same bytes on the same machine and number of threads.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors, trainers
from tokenizers.models import BPE
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaModel

from losh.model.text_encoder import EMBEDDED
from losh.moving_shapes.expressions import sample_expressions

BOS, PAD, EOS, UNK, MASK = range(5)  # RoBERTa's numbers for the first three
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
OFFSETS = (-2, -1, 0, 1, 2)
MASKED_SHARE = (
    0.15  # of the tokens (Devlin et al. 2019); 80 % become <mask>, 10 % another token, 10 % stay
)
# of the words are random letters, so that words that MovingShapes does not have get features of
# their own
MADE_UP_SHARE = 0.03
LETTERS = "abcdefghijklmnopqrstuvwxyz"
LONGEST = 256


def make_tokenizer(sentences: list[str]) -> PreTrainedTokenizerFast:
    """Make a byte-level BPE in which the sentences' words are one token each.

    Any other text is spelt in pieces down to bytes, so nothing is unknown.
    """
    tokenizer = Tokenizer(BPE(unk_token=None))
    one_space = normalizers.Replace(Regex(r"\s+"), " ")
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Lowercase(), one_space, normalizers.Strip()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(
        sentences,
        trainers.BpeTrainer(
            vocab_size=1000,
            min_frequency=2,
            special_tokens=SPECIAL,
            initial_alphabet=alphabet,
            show_progress=False,
        ),
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", BOS), ("</s>", EOS)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        cls_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        sep_token="</s>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_max_length=LONGEST,
    )


class Predictor(nn.Module):
    """What training needs on top of the encoder.

    From a word's feature to the word at each of OFFSETS, through the tied word embedding.
    """

    def __init__(self, encoder: RobertaModel) -> None:
        super().__init__()
        self.encoder = encoder
        width = encoder.config.hidden_size
        self.heads = nn.ModuleList(nn.Linear(width, width) for _ in OFFSETS)
        self.bias = nn.Parameter(torch.zeros(encoder.config.vocab_size))

    def forward(self, corrupted: Tensor, ids: Tensor, chosen: Tensor) -> dict[str, Tensor]:
        """Return the cross-entropies of masked words, of words that were left, and of neighbours.

        Args:
            corrupted: int64 [B, S], what the encoder reads.
            ids: int64 [B, S], the true sentences.
            chosen: bool [B, S], the masked places.
        """
        words = ids != PAD
        features = self.encoder(input_ids=corrupted, attention_mask=words.long()).last_hidden_state

        def loss(offset: int, places: Tensor) -> Tensor:
            # The word at place + offset.
            target = F.pad(ids, (max(0, -offset), max(0, offset)), value=PAD)[:, max(0, offset) :][
                :, : ids.shape[1]
            ]
            places = places & words & (target != PAD)
            guess = self.heads[OFFSETS.index(offset)](features[places])  # [M, D]
            return F.cross_entropy(
                F.linear(guess, self.encoder.embeddings.word_embeddings.weight, self.bias),
                target[places],
            )

        neighbours = torch.stack([loss(offset, words) for offset in OFFSETS if offset]).mean()
        return {"masked": loss(0, chosen), "kept": loss(0, ~chosen), "neighbours": neighbours}


def make_up_words(sentence: str, rng: np.random.Generator) -> str:
    """Replace some words by random letters."""
    words = sentence.split()
    for place in np.flatnonzero(rng.random(len(words)) < MADE_UP_SHARE):
        words[place] = "".join(rng.choice(list(LETTERS), int(rng.integers(2, 9))))
    return " ".join(words)


def mask_tokens(ids: Tensor, vocabulary: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """BERT's corruption -> corrupted ids [B, S], which tokens were chosen bool [B, S]."""
    chosen = (torch.rand(ids.shape, generator=generator) < MASKED_SHARE) & (ids > UNK)
    fate = torch.rand(ids.shape, generator=generator)
    other = torch.randint(len(SPECIAL), vocabulary, ids.shape, generator=generator)
    return torch.where(
        chosen & (fate < 0.8), MASK, torch.where(chosen & (fate > 0.9), other, ids)
    ), chosen


def train(
    sentences: list[str], steps: int, batch_size: int, rate: float, seed: int
) -> tuple[RobertaModel, PreTrainedTokenizerFast]:
    """Train tokenizer and encoder."""
    torch.manual_seed(seed)
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    tokenizer = make_tokenizer(sentences)
    config = RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=LONGEST + PAD + 1,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        hidden_dropout_prob=0.0,  # the sentences do not run out
        attention_probs_dropout_prob=0.0,
    )
    model = Predictor(RobertaModel(config, add_pooling_layer=False))
    optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=0.01)
    start = time.monotonic()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = (
                rate * min(1.0, (step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
            )
        batch = [
            make_up_words(sentences[k], rng) for k in rng.integers(len(sentences), size=batch_size)
        ]
        ids = tokenizer(batch, padding=True, return_tensors="pt")["input_ids"]
        corrupted, chosen = mask_tokens(ids, len(tokenizer), generator)
        parts = model(corrupted, ids, chosen)
        loss = parts["masked"] + 0.5 * parts["kept"] + 0.5 * parts["neighbours"]
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 250 == 0 or step == steps - 1:
            shown = ", ".join(f"{name} {value.item():.3f}" for name, value in sorted(parts.items()))
            print(f"step {step}: {shown}; {time.monotonic() - start:.0f} s", flush=True)
    return model.encoder.eval(), tokenizer


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=EMBEDDED)
    parser.add_argument("--sentences", type=int, default=20000)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    # Not the seeds of params.yaml's dataset: the encoder has not read the sentences it is tested on
    # more than any others.
    sentences = sample_expressions(1000 + options.seed, options.sentences)
    encoder, tokenizer = train(
        sentences, options.steps, options.batch_size, options.rate, options.seed
    )
    options.out.mkdir(parents=True, exist_ok=True)
    encoder.save_pretrained(options.out)
    tokenizer.save_pretrained(options.out)
    for path in sorted(options.out.iterdir()):
        path.chmod(0o644)  # safetensors are written for the owner alone
        print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
