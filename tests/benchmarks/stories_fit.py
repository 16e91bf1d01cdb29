"""Fits what apps/finance_monitor/starter/stories.json holds: the weights by which articles are put into stories.

Evidence of pairs is gathered while the articles arrive in order, each put into its true story. Logistic regression
gives the weights; the share of the likest member and the threshold are those that put most articles right. English: the
first articles of the first fit seed and of the sample world. Other languages: the Chinese half of the sample world.
`--check` prints the adjusted Rand index on a draw of the sample world that nothing was fitted on.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np
from harness import ROOT
from numpy.typing import NDArray
from retrieval_quality import KeptEncoder
from story_cases import Case, cases, world_cases

from finance_monitor.likeness import FEATURES, Member, pack, probability, read_member
from finance_monitor.pipeline import STORY_DAYS
from finance_monitor.stories import StoryIndex, Weights, strengths

PATH = ROOT / "apps" / "finance_monitor" / "starter" / "stories.json"
# Enough for twelve weights; the rest of the fit seeds tunes the rivals and is scored as "fit".
NEWS = 2_000
WORLD_SEED, CHECK_SEED, WORLD_ARTICLES = 7, 101, {"en": 420, "zh": 240}
BEST = (0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0)
THRESHOLDS = (0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75)


@dataclass(frozen=True)
class Arrival:
    """An article as the index reads it, and its true story."""

    member: Member
    story: str


def arrivals(stream: Sequence[Case], language: str) -> list[Arrival]:
    return [
        Arrival(
            read_member(c.item.id, c.item.title, c.item.text, c.vector, c.companies, c.item.published, language),
            c.item.story,
        )
        for c in stream
    ]


def run(stream: Sequence[Arrival], weights: Weights | None = None) -> list[str]:
    """The stories that the index finds as the pipeline asks it: in order, with old articles forgotten."""
    index = StoryIndex(STORY_DAYS, {"*": weights} if weights else None)
    found = []
    for arrival in stream:
        index.forget(arrival.member.published - timedelta(days=2 * STORY_DAYS))
        found.append(index.put(replace(arrival.member)).story_id)
    return found


def score(streams: Sequence[Sequence[Arrival]], weights: Weights | None = None) -> float:
    """Mean adjusted Rand index."""
    from sklearn.metrics import adjusted_rand_score

    values = [adjusted_rand_score([a.story for a in stream], run(stream, weights)) for stream in streams]
    return float(np.mean(values))


@dataclass
class Judged:
    """Evidence [pairs, features] while articles arrive in order, each put into its true story."""

    evidence: list[list[float]] = field(default_factory=list)
    same: list[bool] = field(default_factory=list)
    latest: list[bool] = field(default_factory=list)
    # Which pairs are of which article, and there of which story; whether the article's story was there before it.
    articles: list[dict[str, list[int]]] = field(default_factory=list)
    stories: list[str] = field(default_factory=list)
    new: list[bool] = field(default_factory=list)

    def read(self, stream: Sequence[Arrival]) -> None:
        index = StoryIndex(STORY_DAYS)
        last: dict[str, datetime] = {}
        for arrival in stream:
            moment, story = arrival.member.published, arrival.story
            index.forget(moment - timedelta(days=2 * STORY_DAYS))
            own: dict[str, list[int]] = {}
            for pair in index.compare(arrival.member):
                own.setdefault(pair.member.story_id, []).append(len(self.same))
                self.evidence.append(pair.evidence)
                self.same.append(pair.member.story_id == story)
                self.latest.append(pair.latest)
            self.articles.append(own)
            self.stories.append(story)
            self.new.append(story not in last or moment - last[story] > timedelta(days=STORY_DAYS))
            last[story] = moment
            member = arrival.member
            index.restore(member.article_id, story, moment, member.language, pack(member))

    def right(self, chances: NDArray[np.float64], best: float, threshold: float) -> float:
        """The share of articles that join their story, or none when theirs is new."""
        count = 0
        for own, story, new in zip(self.articles, self.stories, self.new, strict=True):
            strength, chosen = threshold, ""
            for name, rows in own.items():
                likest, mean = strengths([(float(chances[row]), self.latest[row]) for row in rows])
                if (value := best * likest + (1 - best) * mean) >= strength:
                    strength, chosen = value, name
            count += chosen == ("" if new else story)
        return count / len(self.stories)


def judge(streams: Sequence[Sequence[Arrival]]) -> Judged:
    judged = Judged()
    for stream in streams:
        judged.read(stream)
    return judged


def fit(judged: Judged, say: str) -> Weights:
    from sklearn.linear_model import LogisticRegression

    x, y = np.array(judged.evidence), np.array(judged.same)
    print(f"{say}: {len(y)} pairs, {y.mean():.3f} of them of one story", flush=True)
    scale = x.std(axis=0) + 1e-9
    # Strong shrinkage: a tenth of a point on the fit streams, and the signs are those that one expects.
    model = LogisticRegression(C=0.03, max_iter=2000).fit(x[:, 1:] / scale[1:], y)
    values = [float(model.intercept_[0]), *(model.coef_[0] / scale[1:])]
    evidence = {name: round(float(value), 4) for name, value in zip(FEATURES, values, strict=True)}
    chances = np.array([probability(row, evidence) for row in judged.evidence])
    tried = [(judged.right(chances, best, least), -best, least) for best in BEST for least in THRESHOLDS]
    right, best, least = max(tried)
    print(f"  best {-best:g}, threshold {least:g}: {right:.4f} of the articles put right", flush=True)
    return Weights(evidence, -best, least)


def world(language: str, encoder: KeptEncoder, seed: int) -> list[Arrival]:
    """The last articles of a draw: its frames are few, and more of them would outweigh real news."""
    (stream,) = world_cases(language, encoder, (seed,), WORLD_ARTICLES[language])
    return arrivals(stream, language)


def main() -> None:
    minilm, multilingual = KeptEncoder("minilm"), KeptEncoder("multilingual")
    if "--check" in sys.argv:
        for language, encoder in (("en", minilm), ("zh", multilingual)):
            value = score([world(language, encoder, CHECK_SEED)])
            print(f"sample world, seed {CHECK_SEED}, {language}: {value:.4f}")
        return
    news = cases("fit", minilm)[0][:NEWS]
    english = judge([arrivals(news, "en"), world("en", minilm, WORLD_SEED)])
    keep(fit(english, "en"), fit(judge([world("zh", multilingual, WORLD_SEED)]), "*"))


def keep(english: Weights, other: Weights) -> None:
    made = f"tests/benchmarks/stories_fit.py: {NEWS} articles of the news stream, sample world of seed {WORLD_SEED}"
    groups = {"en": asdict(english), "*": asdict(other)}
    PATH.write_text(json.dumps({"made": made, "groups": groups}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
