"""The encoder of a base model with its pooling, in torch."""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from headwater.errors import HeadwaterError
from headwater.models import BaseModel


def load_backbone(base: BaseModel) -> Any:
    """The transformer of a base model in float32; raises HeadwaterError when its files do not fit together."""
    from transformers import AutoModel
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")  # of the library to itself
    try:
        # The classic attention is what the graph optimiser recognises at export; on these short texts it is as fast.
        return AutoModel.from_pretrained(
            base.path, dtype=torch.float32, attn_implementation="eager", local_files_only=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise HeadwaterError(f"the base model in {base.path} cannot be loaded: {error}") from error


def load_tokenizer(base: BaseModel) -> Any:
    """The fast tokenizer as the serving runtime uses it (tokenizers), truncating at the base's length."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(base.path / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(base.max_length)
    return tokenizer


def pool(hidden: Tensor, attention_mask: Tensor, pooling: str) -> Tensor:
    """[batch, length, width] → [batch, width] by the mean over tokens or the first token."""
    if pooling == "cls":
        return hidden[:, 0]
    mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * mask).sum(1) / mask.sum(1)


class SentenceEncoder(nn.Module):
    """Token ids → unit vectors [batch, width]."""

    def __init__(self, backbone: Any, pooling: str) -> None:
        super().__init__()
        self.backbone = backbone
        self.pooling = pooling

    @property
    def width(self) -> int:
        return int(self.backbone.config.hidden_size)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return nn.functional.normalize(pool(hidden.float(), attention_mask, self.pooling), dim=-1)


def save_backbone(backbone: Any, base: BaseModel, folder: Path) -> None:
    """Write config.json, model.safetensors, the tokenizer's files and headwater.json, so that a run can start here."""
    import shutil

    folder.mkdir(parents=True, exist_ok=True)
    backbone.save_pretrained(folder, safe_serialization=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        if (base.path / name).is_file():
            shutil.copyfile(base.path / name, folder / name)
    BaseModel(**{**base.__dict__, "path": folder, "sha256": ""}).write()
