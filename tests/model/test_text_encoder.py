"""The text encoder: the embedded one, one's own folders, freezing, padding, and parity."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig, BertConfig, DistilBertConfig, RobertaConfig

from losh.errors import UserError
from losh.model.text_encoder import EMBEDDED, SentenceFeatures, TextEncoder, pad_features
from losh.testing.parity_fixture import TEXT_CONFIG, arrays, needs_fixture, recipe

SENTENCES = [
    "the red circle moving left",
    "a large dotted blue square that is to the left of the green star",
    "star",
]


@pytest.fixture(scope="module")
def embedded() -> TextEncoder:
    return TextEncoder("embedded")


def tiny_roberta(dropout: float = 0.1) -> TextEncoder:
    torch.manual_seed(0)
    sizes = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "vocab_size": 40,
    }
    return TextEncoder.from_config(
        RobertaConfig(
            **sizes, max_position_embeddings=34, pad_token_id=1, hidden_dropout_prob=dropout
        )
    )


@needs_fixture
@pytest.mark.parametrize("case", ["A", "B"])
def test_parity_of_word_features(case: str) -> None:
    data = arrays()
    sizes = {key: value for key, value in TEXT_CONFIG.items() if key != "model_type"}
    encoder = TextEncoder.from_config(AutoConfig.for_model("roberta", **sizes))
    state = encoder.model.state_dict()
    encoder.model.load_state_dict(
        {
            key: recipe(case, f"transformer.text_encoder.{key}", tuple(value.shape))
            for key, value in state.items()
        }
    )
    for which in ("long", "short"):
        ids, mask = (
            torch.from_numpy(data[f"in.{which}_{name}"]) for name in ("input_ids", "attention_mask")
        )
        feats = encoder(ids, mask)
        assert torch.equal(feats.pad, ids == 1)
        assert torch.allclose(
            feats.words, torch.from_numpy(data[f"{case}.text_{which}"]), atol=1e-5
        )


def test_embedded_encoder_is_whole_and_small() -> None:
    assert {path.name for path in EMBEDDED.iterdir()} >= {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert sum(path.stat().st_size for path in EMBEDDED.iterdir()) < 2e6
    assert not any("pooler" in key for key in load_file(EMBEDDED / "model.safetensors"))


@pytest.mark.parametrize(
    "text",
    [
        "the xylophone, 2nd from left!",
        "ein grünes Fahrrad",
        "犬が走る",
        "🙂",
        "",
        "a  red\tcircle",
        "A Red CIRCLE",
    ],
)
def test_embedded_tokenizer_knows_every_text(embedded: TextEncoder, text: str) -> None:
    ids, mask = embedded.tokenize([text])
    assert mask.all() and ids[0, 0] == 0 and ids[0, -1] == 2  # <s> ... </s>, RoBERTa's numbers
    assert embedded.tokenizer.unk_token_id not in ids
    known = " ".join(text.lower().split())
    assert embedded.tokenizer.decode(ids[0], skip_special_tokens=True).strip() == known
    assert embedded(ids, mask).words.isfinite().all()


def test_embedded_tokenizer_has_a_token_for_each_usual_word(embedded: TextEncoder) -> None:
    for sentence in SENTENCES:
        assert embedded.tokenize([sentence])[0].shape[1] == len(sentence.split()) + 2


@pytest.mark.parametrize("limit", [256, 10**30], ids=["tokenizer's limit", "encoder's limit"])
def test_very_long_sentences_are_cut_to_the_encoders_length(
    embedded: TextEncoder, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(embedded.tokenizer, "model_max_length", limit)
    ids, mask = embedded.tokenize(["red " * 1000])
    assert ids.shape == (1, 256)
    assert embedded(ids, mask).words.shape == (1, 256, embedded.width)


def cosine(a: Tensor, b: Tensor) -> float:
    return float(nn.functional.cosine_similarity(a, b, 0))


def test_embedded_features_tell_words_apart(embedded: TextEncoder) -> None:
    """The encoder is frozen: what its features do not tell, the model cannot see."""
    colours = ["red", "green", "blue", "yellow", "orange", "purple"]
    features = torch.stack(
        [f.words[2] for f in embedded.features([f"the {c} circle moving left" for c in colours])]
    )
    similar = [cosine(features[i], features[j]) for i in range(6) for j in range(i)]
    assert max(similar) < 0.9


def test_embedded_features_tell_word_order(embedded: TextEncoder) -> None:
    """MTTR gives its words no positions: the same words in another order must differ by their
    features alone.
    """
    sentences = ["the red circle left of the blue square", "the blue circle left of the red square"]
    one, other = (features.words for features in embedded.features(sentences))
    red, blue = 2, 7
    assert cosine(one[red], other[blue]) < 0.95
    assert cosine(one[blue], other[red]) < 0.95


def test_features_do_not_depend_on_the_batch(embedded: TextEncoder) -> None:
    together, alone = embedded.features(SENTENCES), [embedded.features([s])[0] for s in SENTENCES]
    by_twos = embedded.features(SENTENCES, batch_size=2)
    for sentence, a, b, c in zip(SENTENCES, together, alone, by_twos, strict=True):
        assert a.words.shape == (len(sentence.split()) + 2, embedded.width)
        assert torch.allclose(a.words, b.words, atol=1e-5)
        assert torch.allclose(a.words, c.words, atol=1e-5)


def test_features_can_be_learnt_from(embedded: TextEncoder) -> None:
    """Made under inference_mode they could not be saved for a backward pass."""
    layer, features = nn.Linear(embedded.width, 3), embedded.features(SENTENCES[:1])[0].words
    assert not features.requires_grad
    layer(features).sum().backward()
    assert layer.weight.grad.any()


def test_pad_features_marks_padding() -> None:
    feats = pad_features([SentenceFeatures(torch.ones(n, 4), torch.ones(4) * n) for n in (2, 3, 1)])
    assert feats.words.shape == (3, 3, 4)
    assert feats.pad.tolist() == [[False, False, True], [False] * 3, [False, True, True]]
    assert feats.words[feats.pad].eq(0).all() and feats.words[~feats.pad].eq(1).all()
    assert feats.sentence.tolist() == [[2] * 4, [3] * 4, [1] * 4]
    assert pad_features([SentenceFeatures(torch.ones(2, 4), None)]).sentence is None


def test_a_frozen_encoder_stays_in_eval_mode() -> None:
    parent = nn.ModuleList([tiny_roberta(dropout=0.5)])
    encoder, ids = parent[0], torch.tensor([[0, 5, 6, 2]])
    parent.train()
    assert not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert torch.equal(encoder(ids, ids > 0).words, encoder(ids, ids > 0).words)

    encoder.frozen = False
    parent.train()
    assert all(module.training for module in encoder.modules()) and all(
        parameter.requires_grad for parameter in encoder.parameters()
    )
    assert not torch.equal(encoder(ids, ids > 0).words, encoder(ids, ids > 0).words)

    encoder.frozen = True
    assert not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_features_of_a_trained_encoder_are_without_dropout_and_leave_its_mode(
    embedded: TextEncoder,
) -> None:
    encoder = tiny_roberta(dropout=0.5)
    encoder.tokenizer = lambda sentences, **_: {
        "input_ids": torch.tensor([[0, 5, 2]]),
        "attention_mask": torch.ones(1, 3, dtype=torch.long),
    }
    encoder.tokenizer.model_max_length = 32
    encoder.frozen = False
    encoder.train()
    assert torch.equal(encoder.features(["x"])[0].words, encoder.features(["x"])[0].words)
    assert encoder.training and encoder.model.training


def test_a_folder_of_ones_own_is_loaded(embedded: TextEncoder, tmp_path: Path) -> None:
    embedded.model.save_pretrained(tmp_path)
    embedded.tokenizer.save_pretrained(tmp_path)
    own = TextEncoder(str(tmp_path))
    for a, b in zip(own.features(SENTENCES), embedded.features(SENTENCES), strict=True):
        assert torch.equal(a.words, b.words)


def test_another_family_of_encoders_works(embedded: TextEncoder, tmp_path: Path) -> None:
    sizes = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "vocab_size": len(embedded.tokenizer),
    }
    TextEncoder.from_config(BertConfig(**sizes)).model.save_pretrained(tmp_path)
    embedded.tokenizer.save_pretrained(tmp_path)
    own = TextEncoder(str(tmp_path))
    assert own.width == 16 and own.features(["the red circle"])[0].words.shape == (5, 16)


def test_the_pooler_is_the_files_own_where_it_has_one(
    embedded: TextEncoder, tmp_path: Path
) -> None:
    """And the sentence vector is the first word's features through it, in a batch as alone."""
    trained = TextEncoder("embedded", pooled=True)
    trained.model.pooler.dense.weight.data.normal_()
    trained.model.save_pretrained(tmp_path)
    embedded.tokenizer.save_pretrained(tmp_path)
    own = TextEncoder(str(tmp_path), pooled=True)
    assert torch.equal(own.model.pooler.dense.weight, trained.model.pooler.dense.weight)
    for features in own.features(SENTENCES):
        expected = own.model.pooler.dense(features.words[0]).tanh()
        assert torch.allclose(features.sentence, expected, atol=1e-5)
    assert all(features.sentence is None for features in embedded.features(SENTENCES))


def test_a_lacking_pooler_starts_afresh_the_same_way_every_time() -> None:
    """Features of a frozen encoder are kept in scratch/, whatever a training's seed."""
    weights = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        weights.append(TextEncoder("embedded", pooled=True).model.pooler.dense.weight)
    assert torch.equal(*weights)
    assert float(weights[0].std()) == pytest.approx(0.02, rel=0.1)


def test_an_encoder_without_a_pooler_is_refused_where_one_is_needed(tmp_path: Path) -> None:
    config = DistilBertConfig(dim=16, n_layers=1, n_heads=2, hidden_dim=16, vocab_size=40)
    with pytest.raises(UserError, match="no pooled sentence vector"):
        TextEncoder.from_config(config, pooled=True)
    assert TextEncoder.from_config(config).width == 16


def copied(folder: Path) -> Path:
    for path in EMBEDDED.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.mark.parametrize("lost", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_folder_that_lacks_a_file_is_named(tmp_path: Path, lost: str) -> None:
    (copied(tmp_path) / lost).unlink()
    (tmp_path / "tokenizer_config.json").unlink()
    with pytest.raises(UserError, match=str(tmp_path)):
        TextEncoder(str(tmp_path))


def test_lacking_weights_are_named(tmp_path: Path) -> None:
    weights = load_file(copied(tmp_path) / "model.safetensors")
    del weights["encoder.layer.1.output.dense.bias"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"lacks weights: .*layer\.1\.output\.dense\.bias"):
        TextEncoder(str(tmp_path))


def test_a_tokenizer_of_another_encoder_is_refused(embedded: TextEncoder, tmp_path: Path) -> None:
    tiny_roberta().model.save_pretrained(tmp_path)
    embedded.tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"tokens, and the encoder knows 40"):
        TextEncoder(str(tmp_path))


def test_encoder_decoders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "t5", "is_encoder_decoder": True})
    )
    with pytest.raises(UserError, match="no plain text encoder"):
        TextEncoder(str(tmp_path))


def test_without_the_hub_a_name_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def unreachable(where: str, **options: object) -> None:
        asked.append((where, options.get("local_files_only", False)))
        raise OSError("We couldn't connect to 'https://huggingface.co'.\nMore lines.")

    monkeypatch.setattr(AutoConfig, "from_pretrained", unreachable)
    with pytest.raises(
        UserError,
        match=r"text_encoder: roberta-base cannot be loaded \(We couldn't connect[^\n]*path of a "
        r"folder",
    ):
        TextEncoder("roberta-base")
    assert asked == [("roberta-base", True), ("roberta-base", False)]  # the cache first
