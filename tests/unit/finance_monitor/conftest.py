"""A monitor in small: the real pipeline on real tables, with models that go by words."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from numpy.typing import NDArray

from finance_monitor import channels, subscriptions
from finance_monitor.companies import Company, Gazetteer
from finance_monitor.crawling.record import Record, entry_digest
from finance_monitor.domain import DateFound, FeedEntry, Mention, Page, Sentiment, Source
from finance_monitor.journaling import take_up
from finance_monitor.models import Reading
from finance_monitor.pipeline import Applied, Pipeline
from finance_monitor.subscriptions import Rule
from finance_monitor.worker import apply_pending
from headwater.settings import Settings
from headwater.storage.engine import open_engine
from headwater.storage.migrations import migrate

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
_BAD = ("falls", "sued", "recall", "fire", "breach", "loss")
COMPANIES = [
    Company("halden", "Halden Group", "HLD", "LSE"),
    Company("orwell", "Orwell Air", "ORW", "LSE"),
]


class WordModels:
    """Judges by words, and puts texts of the same words at the same place."""

    def vector(self, title: str, text: str, language: str) -> NDArray[np.float32]:
        total = np.zeros(384, np.float32)
        for word in sorted(set(f"{title} {text}".lower().split())):
            seed = int(hashlib.sha256(word.encode()).hexdigest()[:8], 16)
            total += np.random.default_rng(seed).standard_normal(384).astype(np.float32)
        return total / max(1e-6, float(np.linalg.norm(total)))

    def read(self, title: str, text: str, mentions: Sequence[Mention], language: str) -> Reading:
        bad = any(word in title.lower() for word in _BAD)
        judged = Sentiment("negative", 0.02, 0.08, 0.9, title) if bad else Sentiment("neutral", 0.1, 0.8, 0.1, title)
        topics = (("recall-safety", 0.9),) if "recall" in title.lower() else ()
        return Reading(judged, tuple((mention, judged) for mention in mentions), topics, self.ids())

    def ids(self) -> dict[str, str]:
        return {"sentiment": "words-1"}


@dataclass
class Desk:
    """The monitor of a test: `publish` captures, `run` takes up and applies."""

    settings: Settings
    engine: sa.Engine
    pipeline: Pipeline
    make: Callable[..., Pipeline]
    models: Any = field(default_factory=WordModels)
    gazetteer: Gazetteer = field(default_factory=lambda: Gazetteer(COMPANIES))
    source: Source = field(default_factory=lambda: Source("wire", "The Wire", "https://wire.example/feed"))

    def publish(self, number: int | str, title: str, text: str = "", *, at: datetime = NOON, **entry: Any) -> bool:
        url = entry.pop("url", f"https://wire.example/news/{number}")
        found = FeedEntry(
            url=url,
            guid=entry.pop("guid", f"guid-{number}"),
            title=title,
            published=DateFound(at.isoformat(), "feed published", at),
            language="en",
            **entry,
        )
        page = Page(title, text or f"{title}. Nothing else was said about number {number}.", method="test")
        record = Record(self.engine, self.source, "crawl")
        return record.keep(found, entry_digest(found), page, feed_blob="", page_blob="", content_type="text/html")

    def run(self, moment: datetime = NOON) -> list[Applied]:
        take_up(self.engine, moment)
        applied: list[Applied] = []
        while some := apply_pending(self.engine, self.pipeline, 10_000):
            applied += some
        return applied

    def rows(self, table: sa.Table) -> list[dict[str, Any]]:
        with self.engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(sa.select(table))]


@pytest.fixture
def desk(database_settings: Settings) -> Iterator[Desk]:
    """On SQLite and on PostgreSQL."""
    engine = open_engine(database_settings, "finance")
    migrate(engine, "finance")
    with engine.begin() as connection:
        address = {"url": "http://127.0.0.1:9/inbox"}
        channels.save(connection, "shop", "inbox", "inbox", address, actor="test", moment=NOON)
        rule = Rule(channels=("inbox",))
        subscriptions.save(connection, "shop", "all", rule, actor="test", moment=NOON, subscription_id="all")

    made: list[Pipeline] = []

    def make(alert_age: timedelta = timedelta(days=30)) -> Pipeline:
        models: Any = WordModels()
        made.append(Pipeline(engine, models, Gazetteer(COMPANIES), alert_age=alert_age, readers=2))
        return made[-1]

    yield Desk(database_settings, engine, make(), make)
    for pipeline in made:
        pipeline.close()
    engine.dispose()
