"""A tiny random BERT in Hugging Face layout, and a state folder without any model."""

import json
from pathlib import Path

import numpy as np
import pytest

from headwater.settings import Settings


@pytest.fixture
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings whose models folder is empty and its own (never the installation's)."""
    monkeypatch.setenv("HEADWATER_HOME", str(tmp_path / "home"))
    return Settings()


@pytest.fixture
def tiny_model(tmp_path: Path) -> Path:
    """A folder with config.json, tokenizer.json and model.safetensors that transformers can load."""
    from safetensors.numpy import save_file
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = tmp_path / "tiny-bert"
    folder.mkdir()
    config = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": 8,
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "max_position_embeddings": 64,
    }
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "refund": 2}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    save_file({"weights": np.arange(64, dtype=np.float32)}, folder / "model.safetensors")
    return folder
