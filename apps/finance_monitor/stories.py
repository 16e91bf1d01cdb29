"""Which articles tell the same story: near-duplicates by MinHash-LSH, confirmed by the encoder, inside a time window.

An article is judged against several members of a story, not the nearest alone: no chains. The weights of the evidence
were fitted by tests/benchmarks/stories_fit.py.
"""

import functools
import hashlib
import heapq
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finance_monitor.domain import StoryPlace
from finance_monitor.likeness import (
    PERMUTATIONS,
    Member,
    Rarity,
    evidence,
    jaccard,
    minhash,
    pack,
    probability,
    read_member,
    unpack,
)

# Low, so that cut reprints are found; the decision below confirms.
_LSH_THRESHOLD = 0.3
# The best by each measure that are looked at more closely: beyond them nothing was gained on the fit streams.
_MINHASH_CANDIDATES, _COSINE_CANDIDATES = 16, 16
_LEAST_COSINE = 0.4
_MEMBERS = 6
_REPRINT_JACCARD, _REPRINT_COSINE = 0.55, 0.965
_UPDATE_JACCARD = 0.2


@dataclass(frozen=True)
class Weights:
    """Logistic weights of the evidence of a pair, by its names; `best`: share of the likest member in a story's
    strength, beside the mean of its latest members; `threshold`: the strength from which an article joins."""

    evidence: dict[str, float]
    best: float
    threshold: float


@dataclass(frozen=True)
class Compared:
    """A member that an article was compared with; `latest`: whether it is among the last of its story."""

    member: Member
    evidence: list[float]
    latest: bool


def strengths(pairs: Sequence[tuple[float, bool]]) -> tuple[float, float]:
    """(probability with the likest member, mean over the latest) of a story, from (probability, latest)."""
    latest = [chance for chance, is_latest in pairs if is_latest]
    return max(chance for chance, _ in pairs), math.fsum(latest) / len(latest)


@functools.cache
def fitted() -> dict[str, Weights]:
    """The weights by language group: "en", and "*" for every other language."""
    text = (files("finance_monitor") / "starter" / "stories.json").read_text(encoding="utf-8")
    return {
        group: Weights(found["evidence"], found["best"], found["threshold"])
        for group, found in json.loads(text)["groups"].items()
    }


@dataclass
class _Language:
    """The members of one language, one row each in the arrays that are searched."""

    lsh: Any
    rarity: Rarity = field(default_factory=Rarity)
    members: dict[str, Member] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    vectors: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    moments: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def add(self, member: Member) -> None:
        row = len(self.order)
        if row == len(self.vectors):
            size = max(1024, 2 * row)
            vectors, moments = np.zeros((size, len(member.vector)), np.float32), np.zeros(size)
            if row:
                vectors[:row], moments[:row] = self.vectors, self.moments
            self.vectors, self.moments = vectors, moments
        self.vectors[row], self.moments[row] = member.vector, member.published.timestamp()
        self.members[member.article_id], self.rows[member.article_id] = member, row
        self.order.append(member.article_id)
        self.lsh.insert(member.article_id, minhash(member.signature))
        self.rarity.add(member.words)

    def remove(self, member: Member) -> None:
        self.lsh.remove(member.article_id)
        self.rarity.remove(member.words)
        del self.members[member.article_id]
        row, moved = self.rows.pop(member.article_id), self.order.pop()
        if moved != member.article_id:  # the last row takes the free place
            last = len(self.order)
            self.order[row], self.rows[moved] = moved, row
            self.vectors[row], self.moments[row] = self.vectors[last], self.moments[last]


class StoryIndex:
    """Places articles into stories; holds what was published within `window_days`. Not for several threads at once."""

    def __init__(self, window_days: float = 4.0, weights: dict[str, Weights] | None = None) -> None:
        self._window = timedelta(days=window_days)
        self._weights = weights or fitted()
        self._languages: dict[str, _Language] = {}
        self._stories: dict[str, list[Member]] = {}
        self._ages: list[tuple[datetime, str]] = []

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
        return self.put(read_member(article_id, title, text, vector, companies, published, language), former)

    def put(self, member: Member, former: str = "") -> StoryPlace:
        """`place` for an article that was read before."""
        article_id = member.article_id
        former = self._remove(article_id) or former
        weights = self._weights.get(member.language) or self._weights["*"]
        best_story, best = "", 0.0
        for story_id, likest, mean in self._judged(member, weights):
            strength = weights.best * likest + (1 - weights.best) * mean
            if strength > best:
                best_story, best = story_id, strength
        joined = best >= weights.threshold
        member.story_id = former or (best_story if joined else _story_id(article_id))
        near = self._nearest(member, best_story) if joined else None
        likeness = _likeness(member, near) if near else 0.0
        relation = "first" if member.story_id == _story_id(article_id) and not joined else _relation(likeness)
        self._add(member)
        return StoryPlace(member.story_id, round(1 - likeness, 4), relation, near.article_id if near else "")

    def compare(self, article: Member) -> list[Compared]:
        """The evidence of each candidate and of the latest members of its story."""
        known = self._languages.get(article.language)
        if known is None:
            return []
        candidates = self._candidates(article)
        latest = {
            m.article_id: m
            for story_id in dict.fromkeys(m.story_id for m in candidates)
            for m in self._latest(story_id, article)
        }
        considered = {m.article_id: m for m in candidates} | latest
        return [Compared(m, evidence(article, m, known.rarity), key in latest) for key, m in considered.items()]

    def fingerprint(self, article_id: str) -> bytes:
        """What `restore` needs of an article that was placed."""
        return pack(
            next(known.members[article_id] for known in self._languages.values() if article_id in known.members)
        )

    def restore(self, article_id: str, story_id: str, published: datetime, language: str, data: bytes) -> None:
        """Take in an article from its fingerprint, as after a restart."""
        self._add(unpack(article_id, story_id, published, language, data))

    def forget(self, before: datetime) -> None:
        """Drop what was published before `before`, so that memory stays bounded."""
        while self._ages and self._ages[0][0] < before:
            published, article_id = heapq.heappop(self._ages)
            for known in self._languages.values():
                member = known.members.get(article_id)
                if member is not None and member.published == published:
                    self._remove(article_id)

    def __len__(self) -> int:
        return sum(len(known.members) for known in self._languages.values())

    def _judged(self, member: Member, weights: Weights) -> list[tuple[str, float, float]]:
        """The stories that come into question: (id, probability with the likest member, mean with the latest)."""
        stories: dict[str, list[tuple[float, bool]]] = {}
        for pair in self.compare(member):
            chance = probability(pair.evidence, weights.evidence)
            stories.setdefault(pair.member.story_id, []).append((chance, pair.latest))
        return [(story_id, *strengths(pairs)) for story_id, pairs in stories.items()]

    def _latest(self, story_id: str, member: Member) -> list[Member]:
        within = [m for m in self._stories[story_id] if self._near(m, member)]
        return sorted(within, key=lambda m: (m.published, m.article_id))[-_MEMBERS:]

    def _near(self, a: Member, b: Member) -> bool:
        return a.language == b.language and abs(a.published - b.published) <= self._window

    def _candidates(self, member: Member) -> list[Member]:
        known = self._languages.get(member.language)
        if known is None or not known.order:
            return []
        alike = [m for key in known.lsh.query(minhash(member.signature)) if self._near(m := known.members[key], member)]
        alike.sort(key=lambda m: (-jaccard(m, member), m.article_id))
        size = len(known.order)
        cosines = known.vectors[:size] @ member.vector
        cosines[np.abs(known.moments[:size] - member.published.timestamp()) > self._window.total_seconds()] = -1.0
        top = min(_COSINE_CANDIDATES, size)
        rows = [row for row in np.argpartition(-cosines, top - 1)[:top] if cosines[row] >= _LEAST_COSINE]
        found = {m.article_id: m for m in alike[:_MINHASH_CANDIDATES]}
        found |= {known.order[row]: known.members[known.order[row]] for row in rows}
        return [found[key] for key in sorted(found)]

    def _nearest(self, member: Member, story_id: str) -> Member:
        within = [m for m in self._stories[story_id] if self._near(m, member)]
        return max(within, key=lambda m: (_likeness(member, m), m.published, m.article_id))

    def _add(self, member: Member) -> None:
        from datasketch import MinHashLSH

        known = self._languages.get(member.language)
        if known is None:
            lsh = MinHashLSH(threshold=_LSH_THRESHOLD, num_perm=PERMUTATIONS)
            known = self._languages[member.language] = _Language(lsh)
        known.add(member)
        self._stories.setdefault(member.story_id, []).append(member)
        heapq.heappush(self._ages, (member.published, member.article_id))

    def _remove(self, article_id: str) -> str:
        """Take an article out; returns the story that it was in, "" when it is unknown."""
        for known in self._languages.values():
            member = known.members.get(article_id)
            if member is None:
                continue
            known.remove(member)
            own = [m for m in self._stories[member.story_id] if m.article_id != article_id]
            if own:
                self._stories[member.story_id] = own
            else:
                del self._stories[member.story_id]
            return member.story_id
        return ""


def _story_id(article_id: str) -> str:
    return hashlib.sha256(f"story {article_id}".encode()).hexdigest()[:16]


def _likeness(a: Member, b: Member) -> float:
    """0-1 from MinHash or the encoder, of which a cosine of .5 and below says nothing."""
    return min(1.0, max(jaccard(a, b), _from_cosine(float(a.vector @ b.vector))))


def _from_cosine(cosine: float) -> float:
    return max(0.0, min(1.0, 2 * cosine - 1))


def _relation(likeness: float) -> str:
    if likeness >= min(_REPRINT_JACCARD, _from_cosine(_REPRINT_COSINE)):
        return "reprint"
    return "update" if likeness >= _UPDATE_JACCARD else "related"
