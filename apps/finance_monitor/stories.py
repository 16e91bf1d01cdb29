"""Which articles tell the same story: near-duplicates by MinHash-LSH, confirmed by the encoder, inside a time window.

MinHash: Broder 1997. An article is judged against several members of a story, not the nearest alone: no chains.
"""

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finance_monitor.companies import fold
from finance_monitor.domain import StoryPlace

_PERMUTATIONS = 64
_SCHEME: Any = "affine32"
# Low, so that cut reprints are found; the decision below confirms.
_LSH_THRESHOLD = 0.3
_COSINE_CANDIDATES = 12
_LEAST_COSINE = 0.55
_MEMBERS = 6
_TEXT = 2_000
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_WORD = re.compile(r"[^\W_]+")
_HAN = re.compile(r"[\u3400-\u9fff]")
_REPRINT_JACCARD, _REPRINT_COSINE = 0.55, 0.965
_UPDATE_JACCARD = 0.2


@dataclass(frozen=True)
class Weights:
    """Logistic weights of the evidence that two articles tell one story, fitted on 3,431 pairs of the sample world."""

    bias: float = -3.28
    jaccard: float = 5.88
    cosine: float = 0.91
    companies: float = 1.57
    numbers: float = 0.61
    days: float = -4.11
    threshold: float = 0.4


@dataclass
class _Member:
    article_id: str
    story_id: str
    published: datetime
    signature: NDArray[np.uint32]
    vector: NDArray[np.float32]
    companies: frozenset[str]
    numbers: frozenset[str]
    language: str


@dataclass
class _Language:
    """The members of one language, and the matrix of their vectors [rows, dimension] that is searched."""

    lsh: Any
    members: dict[str, _Member] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    vectors: NDArray[np.float32] | None = None


class StoryIndex:
    """Places articles into stories; holds what was published within `window_days`. Not for several threads at once."""

    def __init__(self, window_days: float = 4.0, weights: Weights | None = None) -> None:
        self._window = timedelta(days=window_days)
        self._weights = weights or Weights()
        self._languages: dict[str, _Language] = {}
        self._stories: dict[str, list[_Member]] = {}

    def place(
        self,
        article_id: str,
        title: str,
        text: str,
        vector: NDArray[np.float32],
        companies: frozenset[str],
        published: datetime,
        language: str,
        former: str = "",
    ) -> StoryPlace:
        """The story of an article, which is taken in. `vector`: unit [dimension] of title and lead.

        An article that comes again (a correction) is judged anew in place of its former self and stays in its story:
        `former`, where the index has forgotten it.
        """
        vector = np.float16(vector).astype(np.float32)  # what `restore` gives: a restart must change nothing
        member = _member(article_id, title, text, vector, companies, published, language)
        former = self._remove(article_id) or former
        candidates = self._candidates(member)
        stories: dict[str, list[tuple[float, float, _Member]]] = {}
        for other in candidates:
            jaccard = float((member.signature == other.signature).mean())
            cosine = float(member.vector @ other.vector)
            score = self._score(member, other, jaccard, cosine)
            stories.setdefault(other.story_id, []).append((score, max(jaccard, _from_cosine(cosine)), other))
        best_story, best = "", 0.0
        for story_id, pairs in stories.items():
            members = sorted(self._stories[story_id], key=lambda m: (m.published, m.article_id))[-_MEMBERS:]
            known = {other.article_id: score for score, _, other in pairs}
            scores = [known[m.article_id] if m.article_id in known else self._compare(member, m) for m in members]
            strength = (max([*scores, *known.values()]) + sum(scores) / len(scores)) / 2
            if strength > best:
                best_story, best = story_id, strength
        joined = best >= self._weights.threshold
        story_id = former or (best_story if joined else _story_id(article_id))
        near = max((pair for pairs in stories.values() for pair in pairs), key=lambda pair: pair[1], default=None)
        likeness = near[1] if near is not None and joined else 0.0
        relation = "first" if story_id == _story_id(article_id) and not joined else _relation(likeness)
        self._add(_with_story(member, story_id))
        return StoryPlace(
            story_id, round(1 - min(1.0, likeness), 4), relation, near[2].article_id if near and joined else ""
        )

    def fingerprint(self, article_id: str) -> bytes:
        """What `restore` needs of an article that was placed: MinHash values, vector, companies, numbers."""
        member = next(known.members[article_id] for known in self._languages.values() if article_id in known.members)
        words = "\x1e".join(("\x1f".join(sorted(member.companies)), "\x1f".join(sorted(member.numbers)))).encode()
        return member.signature.tobytes() + np.float16(member.vector).tobytes() + b"\x00" + words

    def restore(self, article_id: str, story_id: str, published: datetime, language: str, data: bytes) -> None:
        """Take in an article from its fingerprint, as after a restart."""
        head = 4 * _PERMUTATIONS
        # Companies and numbers are printable, and vectors have 384 or 768 halves: the zero byte is found from the end.
        at = data.rindex(b"\x00")
        companies, _, numbers = data[at + 1 :].decode().partition("\x1e")
        vector = np.frombuffer(data[head:at], np.float16).astype(np.float32)
        self._add(
            _Member(
                article_id,
                story_id,
                published,
                np.frombuffer(data[:head], np.uint32),
                vector,
                frozenset(filter(None, companies.split("\x1f"))),
                frozenset(filter(None, numbers.split("\x1f"))),
                language,
            )
        )

    def forget(self, before: datetime) -> None:
        """Drop what was published before `before`, so that memory stays bounded."""
        for known in self._languages.values():
            for article_id in [m.article_id for m in known.members.values() if m.published < before]:
                self._remove(article_id)

    def __len__(self) -> int:
        return sum(len(known.members) for known in self._languages.values())

    def _candidates(self, member: _Member) -> list[_Member]:
        known = self._languages.get(member.language)
        if known is None or not known.order or known.vectors is None:
            return []
        found = set(known.lsh.query(_minhash(member.signature)))
        cosines = known.vectors[: len(known.order)] @ member.vector
        top = min(_COSINE_CANDIDATES, len(cosines))
        for row in np.argpartition(-cosines, top - 1)[:top]:
            if cosines[row] >= _LEAST_COSINE and known.order[row]:
                found.add(known.order[row])
        members = (known.members[article_id] for article_id in sorted(found) if article_id in known.members)
        return [other for other in members if abs(other.published - member.published) <= self._window]

    def _compare(self, member: _Member, other: _Member) -> float:
        jaccard = float((member.signature == other.signature).mean())
        return self._score(member, other, jaccard, float(member.vector @ other.vector))

    def _score(self, a: _Member, b: _Member, jaccard: float, cosine: float) -> float:
        w = self._weights
        value = w.bias + w.jaccard * jaccard + w.cosine * cosine
        if a.companies and b.companies:
            value += w.companies if a.companies & b.companies else -w.companies
        if a.numbers and b.numbers:
            value += w.numbers * (2 * len(a.numbers & b.numbers) / min(len(a.numbers), len(b.numbers)) - 1)
        value += w.days * abs((a.published - b.published).total_seconds()) / 86_400
        return 1 / (1 + math.exp(-max(-30.0, min(30.0, value))))

    def _add(self, member: _Member) -> None:
        from datasketch import MinHashLSH

        known = self._languages.get(member.language)
        if known is None:
            lsh = MinHashLSH(threshold=_LSH_THRESHOLD, num_perm=_PERMUTATIONS)
            known = self._languages[member.language] = _Language(lsh)
        known.members[member.article_id] = member
        known.lsh.insert(member.article_id, _minhash(member.signature))
        if known.vectors is None or len(known.order) == len(known.vectors):
            grown = np.zeros((max(1024, 2 * len(known.order)), len(member.vector)), np.float32)
            grown[: len(known.order)] = 0 if known.vectors is None else known.vectors
            known.vectors = grown
        known.vectors[len(known.order)] = member.vector
        known.order.append(member.article_id)
        self._stories.setdefault(member.story_id, []).append(member)

    def _remove(self, article_id: str) -> str:
        """Take an article out; returns the story that it was in, "" when it is unknown."""
        for known in self._languages.values():
            member = known.members.pop(article_id, None)
            if member is None or known.vectors is None:
                continue
            known.lsh.remove(article_id)
            row = known.order.index(article_id)
            last = len(known.order) - 1
            known.order[row], known.vectors[row] = known.order[last], known.vectors[last]
            known.order.pop()
            own = [m for m in self._stories[member.story_id] if m.article_id != article_id]
            if own:
                self._stories[member.story_id] = own
            else:
                del self._stories[member.story_id]
            return member.story_id
        return ""


def _member(
    article_id: str,
    title: str,
    text: str,
    vector: NDArray[np.float32],
    companies: frozenset[str],
    published: datetime,
    language: str,
) -> _Member:
    whole = f"{title}\n{text}"[:_TEXT]
    numbers = frozenset(n for n in _NUMBER.findall(whole) if len(n) > 1)
    return _Member(article_id, "", published, _signature(whole), vector, companies, numbers, language)


def _with_story(member: _Member, story_id: str) -> _Member:
    member.story_id = story_id
    return member


def _signature(text: str) -> NDArray[np.uint32]:
    """MinHash values uint32 [64] over shingles: three words, or four characters where Chinese is written."""
    from datasketch import MinHash

    folded = fold(text)
    pieces: Sequence[str]
    if len(_HAN.findall(folded)) * 4 > len(folded):
        dense = "".join(_WORD.findall(folded))
        pieces = [dense[i : i + 4] for i in range(max(1, len(dense) - 3))]
    else:
        words = _WORD.findall(folded)
        pieces = [" ".join(words[i : i + 3]) for i in range(max(1, len(words) - 2))]
    made = MinHash(num_perm=_PERMUTATIONS, seed=1, scheme=_SCHEME)
    made.update_batch([piece.encode() for piece in sorted(set(pieces))])
    return np.asarray(made.hashvalues, np.uint32)


def _minhash(signature: NDArray[np.uint32]) -> Any:
    from datasketch import MinHash

    return MinHash(num_perm=_PERMUTATIONS, seed=1, hashvalues=signature, scheme=_SCHEME)


def _story_id(article_id: str) -> str:
    return hashlib.sha256(f"story {article_id}".encode()).hexdigest()[:16]


def _from_cosine(cosine: float) -> float:
    """Likeness 0-1 from the encoder: .5 and below say nothing."""
    return max(0.0, min(1.0, 2 * cosine - 1))


def _relation(likeness: float) -> str:
    if likeness >= min(_REPRINT_JACCARD, _from_cosine(_REPRINT_COSINE)):
        return "reprint"
    return "update" if likeness >= _UPDATE_JACCARD else "related"
