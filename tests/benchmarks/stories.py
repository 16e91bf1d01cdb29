"""stories: articles into stories as they arrive, on news streams whose stories are known (news_stream.py).

Rivals of the same run, each tuned on the fit seeds: MinHash alone (datasketch, 128 permutations, run length of the
shingles and threshold; each signature is compared with all in the window, so it loses nothing that LSH would miss), and
the encoder alone (threshold of the cosine). Both join the nearest article in the same window of four days, or open a
story. Adjusted Rand index: Hubert and Arabie 1985; low and high are the least and the best seed.

Cost: 50,000 articles in the window, made from the test streams by turning vectors and signatures alike, so that each
copy of a stream is as dense in itself and far from the others.
"""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
from harness import QUICK, Benchmark, Row
from news_stream import FIT_SEEDS, TEST_SEEDS
from numpy.typing import NDArray
from retrieval_quality import KeptEncoder
from stories_fit import Arrival, arrivals, run
from story_cases import Case, cases, fingerprint

from finance_monitor.likeness import PERMUTATIONS, Member, minhash, pack, signature_of
from finance_monitor.pipeline import STORY_DAYS
from finance_monitor.stories import StoryIndex

WINDOW = timedelta(days=STORY_DAYS)
RUNS, THRESHOLDS = (1, 2, 3), np.arange(0.2, 0.7, 0.025)
COSINES = np.arange(0.5, 0.95, 0.025)
HELD, TIMED = (2_000, 50) if QUICK else (50_000, 300)


def index_of(truth: Sequence[str], found: Sequence[Any]) -> float:
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(truth, found))


def truth(stream: Sequence[Case]) -> list[str]:
    return [case.item.story for case in stream]


def signatures(stream: Sequence[Case], size: int) -> NDArray[np.uint32]:
    """MinHash values [articles, 128] of runs of `size` words."""
    from datasketch import MinHash

    rows = []
    for case in stream:
        words = re.findall(r"\w+", f"{case.item.title} {case.item.text}".lower())
        pieces = {" ".join(words[i : i + size]) for i in range(max(1, len(words) - size + 1))}
        made = MinHash(num_perm=128, seed=1, scheme="affine32")
        made.update_batch([piece.encode() for piece in sorted(pieces)])
        rows.append(np.asarray(made.hashvalues, np.uint32))
    return np.stack(rows)


def nearest(stream: Sequence[Case], rows: NDArray[Any], cosine: bool) -> list[tuple[int, float]]:
    """For each article the likest before it within the window (-1: none), and how like it is."""
    found, start = [], 0
    for number, case in enumerate(stream):
        while case.item.published - stream[start].item.published > WINDOW:
            start += 1
        if start == number:
            found.append((-1, 0.0))
            continue
        before = rows[start:number]
        alike = before @ rows[number] if cosine else (before == rows[number]).mean(axis=1)
        best = int(alike.argmax())
        found.append((start + best, float(alike[best])))
    return found


def joined(near: Sequence[tuple[int, float]], threshold: float) -> list[int]:
    stories: list[int] = []
    for number, (other, alike) in enumerate(near):
        stories.append(stories[other] if other >= 0 and alike >= threshold else number)
    return stories


def tuned(
    streams: Sequence[Sequence[Case]], near: Sequence[Any], thresholds: NDArray[np.float64]
) -> tuple[float, float]:
    """(mean index, threshold), the best on these streams."""

    def mean(threshold: float) -> float:
        pairs = zip(streams, near, strict=True)
        return float(np.mean([index_of(truth(stream), joined(n, threshold)) for stream, n in pairs]))

    return max((mean(float(threshold)), float(threshold)) for threshold in thresholds)


def kinds(streams: Sequence[Sequence[Case]], found: Sequence[Sequence[str]]) -> Iterator[tuple[str, float]]:
    """How often an article is with the first of its story, and a first one in a story that was not there before."""
    right: dict[str, list[bool]] = {}
    for stream, stories in zip(streams, found, strict=True):
        own: dict[str, str] = {}
        seen: set[str] = set()
        for case, story in zip(stream, stories, strict=True):
            if case.item.story not in own:
                own[case.item.story] = story
                right.setdefault("first", []).append(story not in seen)
            else:
                right.setdefault(case.item.kind, []).append(story == own[case.item.story])
            seen.add(story)
    for kind, values in sorted(right.items()):
        yield kind, float(np.mean(values))


def crowd(stream: Sequence[Arrival], count: int) -> Iterator[Member]:
    """Members of one window, made from the stream (see above)."""
    last = stream[-1].member.published
    for number in range(count):
        copy, place = divmod(number, len(stream))
        rng = np.random.default_rng(copy)
        signs = rng.choice(np.array([-1, 1], np.float32), len(stream[0].member.vector)) if copy else np.float32(1)
        mask = int(rng.integers(1, 2**32)) if copy else 0
        member = stream[place].member
        yield replace(
            member,
            article_id=f"c{number}",
            story_id=f"s{copy}-{stream[place].story}",
            published=last - WINDOW * (1 - number / count),
            signature=member.signature ^ np.uint32(mask),
            vector=member.vector * signs,
            words=frozenset(word ^ mask if word % 4 else word for word in member.words),
            title=frozenset(word ^ mask if word % 4 else word for word in member.title),
        )


def costs(stream: Sequence[Arrival], later: Sequence[Case]) -> tuple[float, float]:
    """Milliseconds an article: the index, and MinHash-LSH alone over the same signatures."""
    from datasketch import MinHashLSH

    index, lsh = StoryIndex(STORY_DAYS), MinHashLSH(threshold=0.4, num_perm=PERMUTATIONS)
    for member in crowd(stream, HELD):
        index.restore(member.article_id, member.story_id, member.published, "en", pack(member))
        lsh.insert(member.article_id, minhash(member.signature))
    ours, rival = [], []
    last = stream[-1].member.published
    for case in later[:TIMED]:
        began = time.perf_counter()
        index.place(case.item.id, case.item.title, case.item.text, case.vector, case.companies, last, "en")
        ours.append(time.perf_counter() - began)
        began = time.perf_counter()
        signature = minhash(signature_of(f"{case.item.title}\n{case.item.text}"[:2000]))
        lsh.query(signature)
        lsh.insert(case.item.id, signature)
        rival.append(time.perf_counter() - began)
    return float(np.median(ours)) * 1000, float(np.median(rival)) * 1000


def main() -> None:
    encoder = KeptEncoder("minilm")
    fit, test = cases("fit", encoder), cases("test", encoder)
    bench = Benchmark(
        "stories",
        f"news streams of 40 days; rivals tuned on fit seeds {FIT_SEEDS}, the index's weights by stories_fit.py on "
        "those and the sample world; test seeds of other base texts; adjusted Rand index, low and high: least and "
        "best seed",
        f"test: {fingerprint(test)}; fit: {fingerprint(fit)}",
        TEST_SEEDS,
    )
    tried = []
    for size in RUNS:
        near = [nearest(stream, signatures(stream, size), False) for stream in fit]
        tried.append((*tuned(fit, near, THRESHOLDS), size))
    fit_minhash, threshold, size = max(tried)
    near = [nearest(stream, signatures(stream, size), False) for stream in test]
    by_minhash = [index_of(truth(s), joined(n, threshold)) for s, n in zip(test, near, strict=True)]
    near = [nearest(stream, vectors(stream), True) for stream in fit]
    fit_cosine, least = tuned(fit, near, COSINES)
    near = [nearest(stream, vectors(stream), True) for stream in test]
    by_cosine = [index_of(truth(s), joined(n, least)) for s, n in zip(test, near, strict=True)]

    own = [run(arrivals(stream, "en")) for stream in fit]
    fit_own = [index_of(truth(s), f) for s, f in zip(fit, own, strict=True)]
    own = [run(arrivals(stream, "en")) for stream in test]
    by_own = [index_of(truth(s), f) for s, f in zip(test, own, strict=True)]
    rival = f"MinHash alone, runs of {size}, from {threshold:.3g}"
    bench.add(row("adjusted Rand index", by_own, rival=rival, rival_value=float(np.mean(by_minhash)), must=0.90))
    bench.add(row(f"adjusted Rand index, encoder alone, from {least:.3g}", by_cosine))
    bench.add(row("adjusted Rand index, MinHash alone", by_minhash))
    bench.add(row("fit seeds: adjusted Rand index", fit_own, rival="MinHash alone", rival_value=fit_minhash))
    bench.add(Row("fit seeds: adjusted Rand index, encoder alone", fit_cosine))
    for kind, value in kinds(test, own):
        bench.add(Row(f"in the right story: {kind}", value))
    ours, theirs = costs(arrivals(test[0], "en"), fit[0])
    bench.add(
        Row(f"an article at {HELD:,} in the window", ours, "ms", "lower", rival="MinHash-LSH alone", rival_value=theirs)
    )
    bench.write()


def vectors(stream: Sequence[Case]) -> NDArray[np.float32]:
    return np.stack([case.vector for case in stream])


def row(metric: str, values: Sequence[float], **more: Any) -> Row:
    return Row(metric, float(np.mean(values)), low=min(values), high=max(values), **more)


if __name__ == "__main__":
    main()
