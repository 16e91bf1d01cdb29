"""Reads the GGUF file of SmolLM2-135M-Instruct into a trainable Llama-shaped model and its tokenizer.

Tensors are dequantised by the `gguf` package. llama.cpp stores query and key rows interleaved for its rotary
embedding; they are put back into the order of transformers here. Allal et al. 2025, "SmolLM2" (arXiv 2502.02737).
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from headwater.errors import HeadwaterError

_NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
_CONTROL = 3  # token type of control tokens in GGUF


def convert(source: Path, folder: Path) -> None:
    """Write config.json, model.safetensors (float32) and the tokenizer's files into `folder`."""
    try:
        from gguf import GGUFReader
        from gguf.quants import dequantize
    except ImportError as error:
        raise HeadwaterError(
            'reading the small generator needs the gguf package: pip install "headwater[tune]"'
        ) from error
    reader = GGUFReader(str(source))
    fields: dict[str, Any] = {name: field.contents() for name, field in reader.fields.items()}
    heads, kv_heads = int(fields["llama.attention.head_count"]), int(fields["llama.attention.head_count_kv"])
    state: dict[str, NDArray[np.float32]] = {}
    for tensor in reader.tensors:
        values = np.ascontiguousarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
        name = _full_name(tensor.name)
        if ".q_proj." in name:
            values = _unpermute(values, heads)
        elif ".k_proj." in name:
            values = _unpermute(values, kv_heads)
        state[name] = values
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    tied = "lm_head.weight" not in state
    _write_config(fields, state["model.embed_tokens.weight"].shape, heads, kv_heads, tied, folder)
    _write_tokenizer(fields, folder)


def _unpermute(values: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    rows, columns = values.shape
    halves = values.reshape(heads, rows // heads // 2, 2, columns)
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows, columns))


def _full_name(name: str) -> str:
    if name == "token_embd.weight":
        return "model.embed_tokens.weight"
    if name == "output_norm.weight":
        return "model.norm.weight"
    if name == "output.weight":
        return "lm_head.weight"
    _blk, layer, part, suffix = name.split(".")
    return f"model.layers.{layer}.{_NAMES[part]}.{suffix}"


def _write_config(
    fields: dict[str, Any], shape: tuple[int, ...], heads: int, kv_heads: int, tied: bool, folder: Path
) -> None:
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": shape[0],
        "hidden_size": shape[1],
        "intermediate_size": int(fields["llama.feed_forward_length"]),
        "num_hidden_layers": int(fields["llama.block_count"]),
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": int(fields["llama.context_length"]),
        "rms_norm_eps": float(fields["llama.attention.layer_norm_rms_epsilon"]),
        "rope_theta": float(fields["llama.rope.freq_base"]),
        "hidden_act": "silu",
        "tie_word_embeddings": tied,
        "bos_token_id": int(fields["tokenizer.ggml.bos_token_id"]),
        "eos_token_id": int(fields["tokenizer.ggml.eos_token_id"]),
        "dtype": "float32",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2))


def _write_tokenizer(fields: dict[str, Any], folder: Path) -> None:
    tokens: list[str] = fields["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ", 1)) for merge in fields["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, merges))
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    types = fields["tokenizer.ggml.token_type"]
    control = [token for token, kind in zip(tokens, types, strict=True) if kind == _CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in control])
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {
        "bos_token": tokens[int(fields["tokenizer.ggml.bos_token_id"])],
        "eos_token": tokens[int(fields["tokenizer.ggml.eos_token_id"])],
    }
    names["pad_token"] = names["eos_token"]
    (folder / "special_tokens_map.json").write_text(json.dumps(names, indent=2))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 2048,
        "chat_template": fields["tokenizer.chat_template"],
        **names,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2))
