"""Reads the 4-bit multilingual-e5-small file into a trainable encoder and its tokenizer.

Layout (little-endian): magic `E5S1`, header, Unigram pieces with scores, normaliser map, tensor directory, tensors.
A Q4_0 block is a float16 scale and 16 bytes: low nibbles are weights 0-15, high nibbles 16-31;
a value is (nibble - 8) x scale.
The model is Wang et al. 2024, "Multilingual E5 Text Embeddings" (arXiv 2402.05672), MIT.
"""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from headwater.errors import HeadwaterError

_BLOCK = 32
_BLOCK_BYTES = 18
_EMBEDDINGS = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}
_LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "aln": "attention.output.LayerNorm",
    "oln": "output.LayerNorm",
}


@dataclass(frozen=True)
class _Header:
    hidden: int
    layers: int
    heads: int
    ffn: int
    vocabulary: int
    positions: int
    types: int
    eps: float


class _Reader:
    def __init__(self, data: bytes, name: str) -> None:
        self.data, self.name, self.at = data, name, 0

    def take(self, pattern: str) -> tuple[Any, ...]:
        size = struct.calcsize("<" + pattern)
        if self.at + size > len(self.data):
            raise HeadwaterError(f"{self.name} ends early at byte {self.at}; fetch the model again")
        values = struct.unpack_from("<" + pattern, self.data, self.at)
        self.at += size
        return values

    def bytes(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise HeadwaterError(f"{self.name} ends early at byte {self.at}; fetch the model again")
        self.at += count
        return self.data[self.at - count : self.at]


def convert(source: Path, folder: Path) -> None:
    """Write config.json, model.safetensors (float32) and the tokenizer's files into `folder`."""
    reader = _Reader(source.read_bytes(), source.name)
    if reader.bytes(4) != b"E5S1":
        raise HeadwaterError(f"{source.name} does not begin with E5S1; fetch the model again")
    reader.take("I")
    header = _Header(*reader.take("7i"), *reader.take("f"))
    reader.take("i")
    pieces, special = _read_pieces(reader)
    _entries, size = reader.take("iI")
    reader.bytes(size)  # the normaliser map: NFKC, which tokenizers has
    _write_tokenizer(pieces, special, folder)
    tensors = dict(_tensors(reader))
    shapes = {
        "embeddings.word_embeddings.weight": header.vocabulary,
        "embeddings.position_embeddings.weight": header.positions,
    }
    state = {}
    for name, values in tensors.items():
        rows = shapes.get(name) or _rows(name, header)
        state[name] = values if rows == 0 else values.reshape(rows, -1)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    _write_config(header, folder)


def _rows(name: str, header: _Header) -> int:
    if name.endswith("token_type_embeddings.weight"):
        return header.types
    if "LayerNorm" in name or name.endswith("bias"):
        return 0
    return header.ffn if "intermediate" in name else header.hidden


def _read_pieces(reader: _Reader) -> tuple[list[tuple[str, float]], dict[str, int]]:
    count, bos, eos, pad, unknown = reader.take("5i")
    (blob_length,) = reader.take("Q")
    offsets = np.frombuffer(reader.bytes(4 * (count + 1)), "<u4")
    scores = np.frombuffer(reader.bytes(4 * count), "<f4")
    blob = reader.bytes(blob_length)
    pieces = [
        (blob[offsets[i] : offsets[i + 1]].decode("utf-8", errors="replace"), float(scores[i])) for i in range(count)
    ]
    return pieces, {"<s>": bos, "</s>": eos, "<pad>": pad, "<unk>": unknown}


def _tensors(reader: _Reader) -> Iterator[tuple[str, NDArray[np.float32]]]:
    (count,) = reader.take("i")
    directory = []
    for _ in range(count):
        (length,) = reader.take("H")
        name = reader.bytes(length).decode()
        directory.append((name, *reader.take("BIQQ")))
    for name, _kind, elements, offset, size in directory:
        yield _full_name(name), _tensor(reader.data[offset : offset + size], elements, name)


def _tensor(raw: bytes, elements: int, name: str) -> NDArray[np.float32]:
    if len(raw) == 4 * elements:
        return np.frombuffer(raw, "<f4").copy()
    if len(raw) != elements // _BLOCK * _BLOCK_BYTES:
        raise HeadwaterError(f"tensor {name} has {len(raw)} bytes for {elements} elements; fetch the model again")
    blocks = np.frombuffer(raw, np.uint8).reshape(-1, _BLOCK_BYTES)
    scales = blocks[:, :2].copy().view("<f2").astype(np.float32)
    values = np.empty((len(blocks), _BLOCK), np.float32)
    np.subtract(blocks[:, 2:] & 15, 8, out=values[:, :16], casting="unsafe", dtype=np.float32)
    np.subtract(blocks[:, 2:] >> 4, 8, out=values[:, 16:], casting="unsafe", dtype=np.float32)
    values *= scales
    return values.reshape(-1)


def _full_name(name: str) -> str:
    if name in _EMBEDDINGS:
        return _EMBEDDINGS[name]
    layer, part, kind = name.split(".")
    suffix = "weight" if kind == "w" else "bias"
    return f"encoder.layer.{layer[1:]}.{_LAYER[part]}.{suffix}"


def _write_tokenizer(pieces: list[tuple[str, float]], special: dict[str, int], folder: Path) -> None:
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=special["<unk>"], byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(_spaces(), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.add_special_tokens(list(special))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", special["<s>"]), ("</s>", special["</s>"])],
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>"}
    names["unk_token"] = "<unk>"
    (folder / "special_tokens_map.json").write_text(json.dumps(names, indent=2))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512, **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2))


def _spaces() -> Any:
    from tokenizers import Regex

    return Regex(r"\s{2,}|[\n\r\t]")


def _write_config(header: _Header, folder: Path) -> None:
    config = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_size": header.hidden,
        "num_hidden_layers": header.layers,
        "num_attention_heads": header.heads,
        "intermediate_size": header.ffn,
        "hidden_act": "gelu",
        "vocab_size": header.vocabulary,
        "max_position_embeddings": header.positions,
        "type_vocab_size": header.types,
        "layer_norm_eps": round(header.eps, 15),
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "dtype": "float32",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2))
