"""ONNX Runtime sessions and tokenizers, as serving needs them: bounded memory, shared tokenizers, no torch."""

import ctypes
import math
import os
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from tokenizers import Tokenizer

from headwater.bundles import Bundle
from headwater.errors import HeadwaterError
from headwater.serving.unigram import UnigramTokenizer, read_unigram

_SPIN_MICROSECONDS = "10"


def open_model(bundle: Bundle, threads: int = 0) -> Any:
    """The session of a bundle's served graph. Bundles with equal word tables share one mapping of it, so that a word is
    resident once a process, not once a model."""
    table = _word_table(bundle)
    session = open_session(bundle.file(bundle.manifest.model), threads, table)
    session.word_table = table  # which is let go with the last session that uses it
    return session


@dataclass(frozen=True)
class WordTable:
    """An initializer that lies in a file of its own: [words, width], mapped; `value` only points into `rows`."""

    initializer: str
    rows: Any
    value: Any


def open_session(path: Path, threads: int = 0, table: WordTable | None = None) -> Any:
    """An onnxruntime.InferenceSession; `threads` 0: one per core. `table` stands for the
    file that the graph names. Raises HeadwaterError naming an unreadable file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or os.cpu_count() or 1
    options.inter_op_num_threads = 1
    # Varied shapes would grow the arena and the pattern cache without end.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    # A thread that sleeps between two operations of one request wakes too late to help (single texts took 1.5 times as
    # long); one that spins for longer takes the processor from the other models of the process.
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry("session.intra_op.spin_duration_us", _SPIN_MICROSECONDS)
    options.log_severity_level = 3
    if table is not None:
        options.add_initializer(table.initializer, table.value)
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise HeadwaterError(f"{path} cannot be loaded as an ONNX model: {error}") from error
    finally:
        _give_back_memory()


def _word_table(bundle: Bundle) -> WordTable | None:
    import onnxruntime

    stated = bundle.manifest.word_table
    if not stated:
        return None
    try:
        name, file, shape = str(stated["initializer"]), str(stated["file"]), tuple(stated["shape"])
        dtype, digest = np.dtype(stated["dtype"]), bundle.manifest.files[file]
    except (KeyError, TypeError) as error:
        raise HeadwaterError(f"{bundle.path}: word_table {stated!r} is not whole; export the bundle again") from error
    path = bundle.file(file)
    if path.stat().st_size != dtype.itemsize * math.prod(shape):
        raise HeadwaterError(
            f"{path} does not hold {dtype} {list(shape)}, as the manifest says; export the bundle again"
        )
    with _LOADING:
        table = _TABLES.get((digest, name))
        if table is None:
            known = next((other for (same, _), other in _TABLES.items() if same == digest), None)
            rows = known.rows if known else np.memmap(path, dtype, "r", shape=shape)
            value = known.value if known else onnxruntime.OrtValue.ortvalue_from_numpy(rows)
            _TABLES[digest, name] = table = WordTable(name, rows, value)
        return table


def _give_back_memory() -> None:
    """What reading a graph left free goes back to the system; glibc would keep it (34 MB after six models)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def open_tokenizer(bundle: Bundle) -> Tokenizer | UnigramTokenizer:
    """The bundle's tokenizer, truncating at its max_length; equal vocabularies are loaded once a process."""
    name = "tokenizer.json"
    return _tokenizer(bundle.file(name), bundle.manifest.files.get(name, ""), bundle.manifest.max_length)


def _tokenizer(path: Path, digest: str, max_length: int) -> Tokenizer | UnigramTokenizer:
    key = digest or str(path)
    with _LOADING:
        if (key, max_length) not in _TOKENIZERS:
            loaded = next((other for (known, _), other in _TOKENIZERS.items() if known == key), None)
            if isinstance(loaded, UnigramTokenizer):
                _TOKENIZERS[key, max_length] = loaded.with_length(max_length)
            else:
                _TOKENIZERS[key, max_length] = read_unigram(path, max_length) or _library_tokenizer(path, max_length)
        return _TOKENIZERS[key, max_length]


def _library_tokenizer(path: Path, max_length: int) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.enable_truncation(max_length)
    tokenizer.no_padding()
    return tokenizer


_TOKENIZERS: dict[tuple[str, int], Tokenizer | UnigramTokenizer] = {}
# By the file's digest and the initializer's name.
_TABLES: WeakValueDictionary[tuple[str, str], WordTable] = WeakValueDictionary()
_LOADING = threading.Lock()
