"""The news streams as the monitor's story index sees them: with companies and vectors, kept under build/."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from harness import QUICK, ROOT
from news_stream import FIT_SEEDS, TEST_SEEDS, Item, base_events, build_stream, gazetteer
from numpy.typing import NDArray
from retrieval_quality import KeptEncoder

from finance_monitor.companies import Gazetteer, read_gazetteer
from finance_monitor.world import build_world
from finance_monitor.world_bank import FOLDER

KEPT = ROOT / "build" / "bench" / "streams"
# As Models.vector and Pipeline._score take them.
_LEAD, _RELEVANCE = 600, 25
WORLD_ANCHOR = datetime(2026, 3, 2, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Case:
    """An article with what the pipeline knows of it before it asks for its story."""

    item: Item
    companies: frozenset[str]
    vector: NDArray[np.float32]


def cases(part: str, encoder: KeptEncoder) -> list[list[Case]]:
    """The streams of "fit" or "test", one for each seed."""
    streams = _streams(part)
    texts = [f"{item.title}. {item.text[:_LEAD]}" for stream in streams for item, _ in stream]
    encoder.encode_all(texts, "query")
    found = []
    for stream in streams:
        vectors = encoder.encode([f"{item.title}. {item.text[:_LEAD]}" for item, _ in stream], "query")
        found.append([Case(item, names, vector) for (item, names), vector in zip(stream, vectors, strict=True)])
    return found


def _streams(part: str) -> list[list[tuple[Item, frozenset[str]]]]:
    seeds = FIT_SEEDS if part == "fit" else TEST_SEEDS
    seeds = seeds[:1] if QUICK else seeds
    paths = [KEPT / f"{part}-{seed}-{_generator()}.json" for seed in seeds]
    if not all(path.exists() for path in paths):
        _generate()
    return [_read(path) for path in paths]


def _generator() -> str:
    """A stream that was kept counts while the generator's own text is the same."""
    names = ("news_stream.py", "news_wording.py")
    return hashlib.sha256(b"".join((Path(__file__).parent / name).read_bytes() for name in names)).hexdigest()[:12]


def _generate() -> None:
    known = gazetteer()
    pools = base_events(known)
    KEPT.mkdir(parents=True, exist_ok=True)
    for part, seeds in (("fit", FIT_SEEDS), ("test", TEST_SEEDS)):
        for seed in seeds:
            rows = []
            for item in build_stream(pools[part], seed):
                mentions = known.mentions(item.title, item.text, item.published)
                names = sorted(m.company_id for m in mentions if m.relevance >= _RELEVANCE)
                rows.append({**asdict(item), "published": item.published.isoformat(), "companies": names})
            (KEPT / f"{part}-{seed}-{_generator()}.json").write_text(json.dumps(rows))


def _read(path: Path) -> list[tuple[Item, frozenset[str]]]:
    found = []
    for row in json.loads(path.read_text()):
        names = frozenset(row.pop("companies"))
        item = Item(**row)
        found.append((replace(item, published=datetime.fromisoformat(row["published"])), names))
    return found


def fingerprint(streams: Iterable[Sequence[Case]]) -> str:
    """A digest of the streams, so that a result names what it was scored on."""
    digest = hashlib.sha256()
    for stream in streams:
        for case in stream:
            digest.update(f"{case.item.story}\x1f{case.item.title}\x1f{case.item.text}\x1e".encode())
    return f"{sum(map(len, streams))} articles, sha256:{digest.hexdigest()[:16]}"


def world_cases(language: str, encoder: KeptEncoder, seeds: Iterable[int], last: int) -> list[list[Case]]:
    """Draws of the sample world in one language; an article's event is its story, corrections are left out."""
    known = Gazetteer(read_gazetteer(FOLDER / "gazetteer.csv"))
    found = []
    for seed in seeds:
        written = [a for a in build_world(WORLD_ANCHOR, seed).articles if a.language.startswith(language)]
        written = sorted((a for a in written if not a.revision_of), key=lambda a: (a.published, a.guid))[-last:]
        encoder.encode_all([f"{a.title}. {a.text[:_LEAD]}" for a in written], "query")
        stream = []
        for number, article in enumerate(written):
            vector = encoder.encode([f"{article.title}. {article.text[:_LEAD]}"], "query")[0]
            mentions = known.mentions(article.title, article.text, article.published)
            names = frozenset(m.company_id for m in mentions if m.relevance >= _RELEVANCE)
            kind = article.mode or article.kind
            item = Item(f"{seed}-{number:05d}", article.title, article.text, article.published, article.event, kind)
            stream.append(Case(item, names, vector))
        found.append(stream)
    return found
