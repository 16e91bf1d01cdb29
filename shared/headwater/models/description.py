"""What Headwater knows of a base model beyond the Hugging Face layout: `headwater.json` in its folder."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from headwater.errors import HeadwaterError

DESCRIPTION_FILE = "headwater.json"


@dataclass(frozen=True)
class BaseModel:
    """A pretrained model in Hugging Face layout (config.json, model.safetensors, tokenizer.json) at `path`.

    `kind` is "encoder" or "generator", `language` an ISO 639-1 code or "multi", `pooling` "mean" or "cls";
    the prefixes are put before a query or passage when texts are embedded for search.
    """

    name: str
    path: Path
    kind: str = "encoder"
    language: str = "en"
    pooling: str = "mean"
    query_prefix: str = ""
    passage_prefix: str = ""
    max_length: int = 512
    licence: str = "unknown"
    sha256: str = ""

    def write(self) -> None:
        """Write the description beside the weights."""
        values = {key: value for key, value in asdict(self).items() if key != "path"}
        (self.path / DESCRIPTION_FILE).write_text(json.dumps(values, indent=2) + "\n")


def read_description(folder: Path) -> BaseModel:
    """The model in `folder`; what `headwater.json` does not say comes from the sentence-transformers files, if any.

    Raises HeadwaterError naming the missing or unreadable file.
    """
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise HeadwaterError(
                f"{folder} is no base model: {name} is missing (needed: config.json, model.safetensors, tokenizer.json)"
            )
    if not (folder / "model.safetensors").is_file():
        raise HeadwaterError(
            f"{folder} has no model.safetensors; pickled weights (*.bin, *.pt) are not read. "
            "Convert them with: transformers' save_pretrained(..., safe_serialization=True)"
        )
    description = folder / DESCRIPTION_FILE
    if description.is_file():
        try:
            stored = json.loads(description.read_text())
        except ValueError as error:
            raise HeadwaterError(f"{description} is not JSON ({error}); remove it to have it made again") from error
        known = {field.name for field in fields(BaseModel)} - {"path"}
        return BaseModel(path=folder, **{key: value for key, value in stored.items() if key in known})
    return _from_hugging_face_files(folder)


def _from_hugging_face_files(folder: Path) -> BaseModel:
    config = _read_json(folder / "config.json")
    pooling = "cls" if _read_json(folder / "1_Pooling" / "config.json").get("pooling_mode_cls_token") else "mean"
    sentence = _read_json(folder / "sentence_bert_config.json")
    generator = any("CausalLM" in str(name) for name in config.get("architectures") or [])
    length = sentence.get("max_seq_length") or config.get("max_position_embeddings") or 512
    return BaseModel(
        name=folder.name,
        path=folder,
        kind="generator" if generator else "encoder",
        language="multi" if int(config.get("vocab_size") or 0) > 100_000 else "en",
        pooling=pooling,
        max_length=min(int(length), 512),
    )


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text())
    except ValueError as error:
        raise HeadwaterError(f"{path} is not JSON: {error}") from error
    return value if isinstance(value, dict) else {}
