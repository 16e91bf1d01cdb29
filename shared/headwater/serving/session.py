"""ONNX Runtime sessions and tokenizers, as serving needs them: bounded memory, shared tokenizers, no torch."""

import os
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from headwater.bundles import Bundle
from headwater.errors import HeadwaterError


def open_session(path: Path, threads: int = 0) -> Any:
    """An onnxruntime.InferenceSession; `threads` 0: one per core. Raises HeadwaterError naming an unreadable file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or os.cpu_count() or 1
    options.inter_op_num_threads = 1
    # Varied shapes would grow the arena and the pattern cache without end.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    # Threads that spin between requests would take the processor from the other models of the process.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise HeadwaterError(f"{path} cannot be loaded as an ONNX model: {error}") from error


def open_tokenizer(bundle: Bundle) -> Tokenizer:
    """The bundle's tokenizer, truncating at its max_length; equal tokenizers are loaded once a process."""
    name = "tokenizer.json"
    return _tokenizer(str(bundle.file(name)), bundle.manifest.files.get(name, ""), bundle.manifest.max_length)


def _tokenizer(path: str, digest: str, max_length: int) -> Tokenizer:
    key = digest or path
    if (key, max_length) not in _TOKENIZERS:
        tokenizer = Tokenizer.from_file(path)
        tokenizer.enable_truncation(max_length)
        tokenizer.no_padding()
        _TOKENIZERS[key, max_length] = tokenizer
    return _TOKENIZERS[key, max_length]


_TOKENIZERS: dict[tuple[str, int], Tokenizer] = {}
