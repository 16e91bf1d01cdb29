"""What is kept of an article to compare it with others (MinHash, vector, words, names), and how alike two of them are.

MinHash: Broder 1997. Words weigh by their rarity among the articles in the window, so that the boilerplate of a source
soon counts for nothing (inverse document frequency: Sparck Jones 1972).
"""

import functools
import itertools
import math
import re
import struct
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finance_monitor.companies import fold

PERMUTATIONS = 64
_SCHEME: Any = "affine32"
_TEXT = 2_000
# Of the words in reading order, so that a fingerprint stays below 3 KB.
_WORDS, _TITLE_WORDS = 240, 30
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_WORD = re.compile(r"[^\W_]+")
_HAN = re.compile(r"[\u3400-\u9fff]")
# Stands before fingerprints with words; those before it began with the MinHash values.
_MAGIC = b"story-2\n"
_COUNTS = struct.Struct("<HHH")

FEATURES = (
    "bias",
    "jaccard",
    "cosine",
    "shared",
    "union",
    "title_in",
    "same_company",
    "other_company",
    "numbers",
    "other_numbers",
    "days",
    "length",
)


@dataclass
class Member:
    """An article of the index. `words` and `title`: CRC-32 of folded words, pairs of characters in Chinese."""

    article_id: str
    story_id: str
    published: datetime
    signature: NDArray[np.uint32]
    vector: NDArray[np.float32]
    companies: frozenset[str]
    numbers: frozenset[str]
    language: str
    words: frozenset[int] = frozenset()
    title: frozenset[int] = frozenset()


class Rarity:
    """In how many articles of the window each word is."""

    def __init__(self) -> None:
        self._articles = 0
        self._counts: Counter[int] = Counter()
        # Both until an article comes or goes: the weight of a word that is in so many, and sums over sets of words.
        self._by_count: dict[int, float] = {}
        self._totals: dict[frozenset[int], float] = {}

    def add(self, words: frozenset[int]) -> None:
        self._articles += 1
        self._counts.update(words)
        self._changed()

    def remove(self, words: frozenset[int]) -> None:
        self._articles -= 1
        self._counts.subtract(words)
        for word in words:
            if not self._counts[word]:
                del self._counts[word]
        self._changed()

    def _changed(self) -> None:
        self._by_count.clear()
        self._totals.clear()

    def total(self, words: frozenset[int]) -> float:
        """The summed weight of the words; `fsum`, since a restart must give the same digits in any order."""
        # The words of an article are summed up once, however many it is compared with.
        if (known := self._totals.get(words)) is not None:
            return known
        counts = list(map(self._counts.get, words, itertools.repeat(0)))
        for count in set(counts):
            if count not in self._by_count:
                # The 50 keep the first articles of an empty index from being judged by words seen twice.
                self._by_count[count] = math.log(1 + (self._articles + 50) / (count + 1))
        self._totals[words] = math.fsum(map(self._by_count.__getitem__, counts))
        return self._totals[words]


def read_member(
    article_id: str,
    title: str,
    text: str,
    vector: NDArray[np.float32],
    companies: frozenset[str],
    published: datetime,
    language: str,
) -> Member:
    """Read an article. The vector is rounded to what a fingerprint keeps: a restart must change nothing."""
    whole = f"{title}\n{text}"[:_TEXT]
    return Member(
        article_id,
        "",
        published,
        signature_of(whole),
        np.float16(vector).astype(np.float32),
        companies,
        frozenset(n for n in _NUMBER.findall(whole) if len(n) > 1),
        language,
        _hashed(whole, _WORDS),
        _hashed(title, _TITLE_WORDS),
    )


def pack(member: Member) -> bytes:
    """What `unpack` needs of an article: about 2 KB."""
    words, title = sorted(member.words), sorted(member.title)
    names = "\x1e".join(("\x1f".join(sorted(member.companies)), "\x1f".join(sorted(member.numbers)))).encode()
    return b"".join(
        (
            _MAGIC,
            _COUNTS.pack(len(member.vector), len(words), len(title)),
            member.signature.astype("<u4").tobytes(),
            member.vector.astype("<f2").tobytes(),
            np.array(words + title, "<u4").tobytes(),
            names,
        )
    )


def unpack(article_id: str, story_id: str, published: datetime, language: str, data: bytes) -> Member:
    """An article from its fingerprint. One of an earlier version has no words and is compared by what it has."""
    if data.startswith(_MAGIC):
        at = len(_MAGIC) + _COUNTS.size
        dimension, count, titles = _COUNTS.unpack_from(data, len(_MAGIC))
        signature = np.frombuffer(data, "<u4", PERMUTATIONS, at)
        at += 4 * PERMUTATIONS
        vector = np.frombuffer(data, "<f2", dimension, at)
        at += 2 * dimension
        hashes = np.frombuffer(data, "<u4", count + titles, at).tolist()
        names = data[at + 4 * (count + titles) :]
    else:
        signature = np.frombuffer(data, "<u4", PERMUTATIONS)
        # Companies and numbers are printable, and vectors have 384 or 768 halves: the zero byte is found from the end.
        at = data.rindex(b"\x00")
        vector = np.frombuffer(data[4 * PERMUTATIONS : at], "<f2")
        hashes, count, names = [], 0, data[at + 1 :]
    companies, _, numbers = names.decode().partition("\x1e")
    return Member(
        article_id,
        story_id,
        published,
        signature.astype(np.uint32),
        vector.astype(np.float32),
        frozenset(filter(None, companies.split("\x1f"))),
        frozenset(filter(None, numbers.split("\x1f"))),
        language,
        frozenset(hashes[:count]),
        frozenset(hashes[count:]),
    )


def jaccard(a: Member, b: Member) -> float:
    return float((a.signature == b.signature).mean())


def evidence(a: Member, b: Member, rarity: Rarity) -> list[float]:
    """What speaks for and against that two articles tell one story, in the order of FEATURES."""
    same, cosine = jaccard(a, b), float(a.vector @ b.vector)
    shared = union = title_in = same
    if a.words and b.words:
        one, other = rarity.total(a.words), rarity.total(b.words)
        both = rarity.total(a.words & b.words)
        shared, union = both / min(one, other), both / (one + other - both)
        title_in = _titles(a, b, rarity)
    known = bool(a.companies and b.companies)
    named = bool(a.companies & b.companies)
    numbers = len(a.numbers & b.numbers) / max(1, min(len(a.numbers), len(b.numbers)))
    length = math.log1p(min(len(a.words), len(b.words))) / 5
    return [
        1.0,
        same,
        cosine,
        shared,
        union,
        title_in,
        float(named),
        float(known and not named),
        numbers,
        float(bool(a.numbers and b.numbers) and not a.numbers & b.numbers),
        abs((a.published - b.published).total_seconds()) / 86_400,
        length,
    ]


def _titles(a: Member, b: Member, rarity: Rarity) -> float:
    """How much of one title the other article holds, where it holds more."""
    one, other = rarity.total(a.title), rarity.total(b.title)
    if not one or not other:
        return 0.0
    return max(rarity.total(a.title & b.words) / one, rarity.total(b.title & a.words) / other)


def probability(features: Sequence[float], weights: Mapping[str, float]) -> float:
    """Logistic."""
    value = math.fsum(weights[name] * x for name, x in zip(FEATURES, features, strict=True))
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, value))))


def _pieces(text: str, size: int) -> list[str]:
    """Runs of `size` words in reading order, or of characters where Chinese is written."""
    folded = fold(text)
    if len(_HAN.findall(folded)) * 4 > len(folded):
        dense, size = "".join(_WORD.findall(folded)), size + 1
        return [dense[i : i + size] for i in range(max(1, len(dense) - size + 1))]
    words = _WORD.findall(folded)
    return [" ".join(words[i : i + size]) for i in range(max(1, len(words) - size + 1))]


def _hashed(text: str, limit: int) -> frozenset[int]:
    return frozenset(zlib.crc32(piece.encode()) for piece in list(dict.fromkeys(_pieces(text, 1)))[:limit] if piece)


def signature_of(text: str) -> NDArray[np.uint32]:
    """MinHash values uint32 [64] over shingles: three words, or four characters where Chinese is written."""
    made = _empty()
    made.update_batch([piece.encode() for piece in sorted(set(_pieces(text, 3)))])
    return np.asarray(made.hashvalues, np.uint32)


def _empty() -> Any:
    from datasketch import MinHash

    return MinHash(num_perm=PERMUTATIONS, seed=1, permutations=_permutations(), scheme=_SCHEME)


def minhash(signature: NDArray[np.uint32]) -> Any:
    from datasketch import MinHash

    return MinHash(seed=1, hashvalues=signature, permutations=_permutations(), scheme=_SCHEME)


@functools.cache
def _permutations() -> Any:
    """Of the seed; drawing them anew took longer than all else that is done with a signature."""
    from datasketch import MinHash

    return MinHash(num_perm=PERMUTATIONS, seed=1, scheme=_SCHEME).permutations
