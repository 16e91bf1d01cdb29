"""A tiny random encoder in Hugging Face layout, and labelled texts that it can learn in seconds."""

import csv
import random
import shutil
from pathlib import Path

import pytest

from headwater.models import BaseModel, resolve_base
from headwater.settings import Settings

_TOPICS = {
    "billing": "invoice refund card payment charge receipt price".split(),
    "delivery": "parcel courier tracking depot shipping address late".split(),
    "gear": "tent boots jacket stove backpack zip pole".split(),
}


@pytest.fixture(params=["bert"])
def tiny_base(request: pytest.FixtureRequest, tmp_path: Path, settings: Settings) -> BaseModel:
    """Two layers of width 32 with minilm's tokenizer; other shapes by indirect parameters."""
    return make_tiny(request.param, tmp_path / f"tiny-{request.param}", settings)


def make_tiny(kind: str, folder: Path, settings: Settings) -> BaseModel:
    import torch
    from transformers import BertConfig, BertModel, MPNetConfig, MPNetModel, RobertaConfig, RobertaModel

    sizes = {
        "vocab_size": 30522,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 130,
    }
    torch.manual_seed(3)
    models = {
        "bert": lambda: BertModel(BertConfig(**sizes)),
        "roberta": lambda: RobertaModel(RobertaConfig(**sizes, pad_token_id=0)),
        "mpnet": lambda: MPNetModel(MPNetConfig(**{**sizes, "vocab_size": 30527})),
    }
    folder.mkdir(parents=True)
    models[kind]().save_pretrained(folder, safe_serialization=True)
    shutil.copyfile(resolve_base("minilm", settings).path / "tokenizer.json", folder / "tokenizer.json")
    base = BaseModel(f"tiny-{kind}", folder, max_length=64, sha256="0" * 64)
    base.write()
    return base


def write_rows(path: Path, count: int, seed: int) -> Path:
    """A CSV of texts whose words tell their label."""
    generator = random.Random(seed)
    with path.open("w", newline="", encoding="utf-8") as sink:
        writer = csv.writer(sink)
        writer.writerow(["text", "label"])
        for number in range(count):
            label = list(_TOPICS)[number % len(_TOPICS)]
            words = generator.choices(_TOPICS[label], k=generator.randint(3, 9))
            writer.writerow([f"{' '.join(words)} {number}", label])
    return path


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "train.csv", 90, 1)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Queries with the one passage that shares their topic word."""
    generator = random.Random(2)
    words = [word for topic in _TOPICS.values() for word in topic]
    path = tmp_path / "pairs.csv"
    with path.open("w", newline="", encoding="utf-8") as sink:
        writer = csv.writer(sink)
        writer.writerow(["query", "positive"])
        for number in range(120):
            word = words[number % len(words)]
            writer.writerow([f"{word} question {number}", f"All about the {word}: {generator.choice('abcdef')}."])
    return path
