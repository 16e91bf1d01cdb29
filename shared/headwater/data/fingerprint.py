"""A data fingerprint: equal for equal examples in any order."""

import hashlib
import json
from collections.abc import Iterable

from headwater.data.examples import PairExample, TextExample


def fingerprint(examples: Iterable[TextExample | PairExample]) -> str:
    """`sha256:…` over the sorted hashes of the examples; file names and row numbers do not count."""
    digests = sorted(hashlib.sha256(json.dumps(_content(e), ensure_ascii=False).encode()).digest() for e in examples)
    total = hashlib.sha256()
    for digest in digests:
        total.update(digest)
    return f"sha256:{total.hexdigest()}"


def _content(example: TextExample | PairExample) -> list[object]:
    if isinstance(example, TextExample):
        return [example.text, sorted(example.labels)]
    return [example.query, example.positive, sorted(example.negatives)]
