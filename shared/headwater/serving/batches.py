"""Texts → padded id batches of like length, and the rows back in order."""

import threading
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from headwater.serving.unigram import UnigramTokenizer

# On a CPU small batches of equal length beat large padded ones: about this many tokens fill two cores' caches.
_BATCH_TOKENS = 2048

Run = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]


class TruncationCount:
    """How many texts lost their end to the model's length; safe to add to from several threads."""

    def __init__(self) -> None:
        self.value = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self.value += count


def run_in_batches(
    tokenizer: Tokenizer | UnigramTokenizer,
    texts: Sequence[str],
    run: Run,
    width: int,
    truncations: TruncationCount | None = None,
) -> NDArray[np.float32]:
    """Apply `run(input_ids [b, s], attention_mask [b, s]) -> [b, width]` to all texts; rows in the order of `texts`.

    Texts longer than the tokenizer's limit are cut, and counted in `truncations`.
    """
    result = np.zeros((len(texts), width), np.float32)
    if not texts:
        return result
    encodings = tokenizer.encode_batch(list(texts)) if len(texts) > 1 else [tokenizer.encode(texts[0])]
    if truncations is not None:
        truncations.add(sum(bool(encoding.overflowing) for encoding in encodings))
    ids = [encoding.ids for encoding in encodings]
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    start = 0
    while start < len(order):
        end = start + 1
        # Sorted by length, so the last row is the longest: stop when padding to it would exceed the budget.
        while end < len(order) and (end + 1 - start) * len(ids[order[end]]) <= _BATCH_TOKENS:
            end += 1
        rows = order[start:end]
        length = max(1, len(ids[rows[-1]]))
        batch = np.zeros((len(rows), length), np.int64)
        mask = np.zeros((len(rows), length), np.int64)
        for position, row in enumerate(rows):
            batch[position, : len(ids[row])] = ids[row]
            mask[position, : len(ids[row])] = 1
        result[rows] = run(batch, mask)
        start = end
    return result
