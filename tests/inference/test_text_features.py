"""What is written "The Man  Left" is read as "the man left", by a text encoder that knows case.

The embedded tokenizer lower-cases by itself, so a RoBERTa that does not is made here.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaModel

from losh.evaluate.evaluation import evaluate
from losh.inference.text_features import TextFeatures
from losh.model.structures import TextFeats
from losh.model.text_encoder import TextEncoder
from losh.own_video.predict import Files, predict
from losh.pipelines.mttr.network import Pipeline
from losh.testing.tiny_training import tiny_params
from losh.train.training import train

WRITTEN, READ = "The Man  Left", "the man left"


@pytest.fixture(scope="module")
def roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small RoBERTa and a byte-level tokenizer that keeps case, as roberta-base's
    does.
    """
    folder = tmp_path_factory.mktemp("roberta")
    tokens = Tokenizer(models.BPE())
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokens.train_from_iterator([WRITTEN, READ, "a red square on the left"] * 20, trainer)
    tokens.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    PreTrainedTokenizerFast(
        tokenizer_object=tokens,
        model_max_length=64,
        **dict(
            zip(
                ("bos_token", "pad_token", "eos_token", "unk_token", "mask_token"),
                special,
                strict=True,
            )
        ),
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=400,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=68,
        type_vocab_size=1,
        pad_token_id=1,
    )
    RobertaModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def texts_of(roberta: Path, **options: bool) -> TextFeatures:
    return TextFeatures(TextEncoder(str(roberta)), torch.device("cpu"), **options)


def words(texts: TextFeatures, sentence: str) -> torch.Tensor:
    found = texts.inputs([sentence])
    return found.words if isinstance(found, TextFeats) else found.ids


@pytest.mark.parametrize("frozen", [True, False], ids=["features", "tokens"])
def test_case_and_white_space_do_not_reach_the_encoder(roberta: Path, frozen: bool):
    texts = texts_of(roberta, frozen=frozen)
    assert torch.equal(words(texts, WRITTEN), words(texts, READ))


@pytest.mark.parametrize("frozen", [True, False], ids=["features", "tokens"])
def test_a_pipeline_that_does_not_fold_gets_the_sentence_as_written(roberta: Path, frozen: bool):
    texts = texts_of(roberta, frozen=frozen, fold=False)
    written, read = words(texts, WRITTEN), words(texts, READ)
    assert written.shape != read.shape or not torch.equal(written, read)


def test_a_sentence_is_encoded_once_however_it_is_written(roberta: Path):
    texts = texts_of(roberta)
    texts.add([WRITTEN, READ, READ.upper()])
    assert len(texts.features) == 1


@pytest.fixture(scope="module")
def shouted(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny dataset with all its expressions, long and short, in capitals and wide spaces."""
    data = tmp_path_factory.mktemp("shouted") / "data"
    shutil.copytree(tiny_data, data)
    path = data / "short_text" / "tiny.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    for column in ("text", "short_text"):
        table[column] = table[column].str.upper().str.replace(" ", "  ")
    table.to_csv(path, index=False)
    return data


@pytest.fixture(scope="module")
def trained(
    roberta: Path, tiny_data: Path, shouted: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Folders of two trainings with the case-sensitive encoder: one on the sentences as they are,
    one on the shouted ones.
    """
    changes = {
        "model__text_encoder": str(roberta),
        "train__epochs": 1,
        "train__milestones": [1],
        "train__losses__consistency": 0.0,
        "evaluate__rule": "mean",
    }
    folders = {}
    for name, data in (("plain", tiny_data), ("shouted", shouted)):
        out = folders[name] = tmp_path_factory.mktemp(name)
        train(tiny_params(**changes), out / "model", out / "metrics", data, out / "scratch")
    return folders


def test_training_does_not_depend_on_case(trained: dict[str, Path]):
    plain, shouted = (
        load_file(trained[name] / "model" / "last.safetensors") for name in ("plain", "shouted")
    )
    assert all(torch.equal(plain[name], shouted[name]) for name in plain)


def test_evaluation_does_not_depend_on_case(
    trained: dict[str, Path], tiny_data: Path, shouted: Path, tmp_path: Path
):
    params = tiny_params(evaluate__rule="mean", evaluate__pictures=0).evaluate
    model = trained["plain"] / "model" / "model.safetensors"
    found = {}
    for name, data in (("plain", tiny_data), ("shouted", shouted)):
        copy = tmp_path / name
        shutil.copytree(data, copy)
        evaluate("tiny", params, copy, tmp_path / f"{name}-metrics", model)
        table = pd.read_csv(copy / "evaluate" / "tiny" / "expressions.csv")
        found[name] = table[["score", "iou"]]
    assert len(found["plain"]) and found["plain"].equals(found["shouted"])


def test_the_pipelines_rule_decides_by_protocol_and_use(
    trained: dict[str, Path], tiny_data: Path, shouted: Path, tmp_path: Path, monkeypatch
):
    asked: list[tuple[str, bool]] = []

    def rule(protocol: str, training: bool) -> bool:
        asked.append((protocol, training))
        return training

    monkeypatch.setattr(Pipeline, "folds_text", staticmethod(rule))
    params = tiny_params(evaluate__rule="mean", evaluate__pictures=0).evaluate
    model = trained["plain"] / "model" / "model.safetensors"
    found = []
    for name, data in (("plain", tiny_data), ("shouted", shouted)):
        shutil.copytree(data, tmp_path / name)
        evaluate("tiny", params, tmp_path / name, tmp_path / f"{name}-metrics", model)
        table = pd.read_csv(tmp_path / name / "evaluate" / "tiny" / "expressions.csv")
        found.append(table["score"].tolist())
    assert found[0] != found[1] and set(asked) == {("a2d", False)}
    asked.clear()
    out = tmp_path / "training"
    short = tiny_params(train__epochs=1, train__milestones=[1])
    train(short, out / "model", out / "metrics", tiny_data, out / "scratch")
    assert set(asked) == {("a2d", True)}


def test_prediction_does_not_depend_on_case(trained: dict[str, Path], tmp_path: Path):
    clip = tmp_path / "clip"
    clip.mkdir()
    for t in range(3):
        frame = np.random.default_rng(t).integers(0, 255, (48, 64, 3), np.uint8)
        cv2.imwrite(str(clip / f"{t}.png"), frame)
    model = trained["plain"] / "model" / "model.safetensors"
    scores = [
        predict(clip, [sentence], Files(tmp_path / "out.mp4"), model).scores
        for sentence in (WRITTEN, READ)
    ]
    assert scores[0] == scores[1]
