"""A finance database of any size for benchmarks: random articles with all that the pipeline would have made of them.

Everything comes from one seed but the dates, which end now, as a running monitor's do. Moments are written as texts in
UTC, which both databases read.
"""

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from finance_monitor import tables, trends
from finance_monitor.wording import topic_keys

DAYS = 400
COMPANIES = 1_000
SOURCES = 40
SEED = 11
_KINDS = ("news", "news", "news", "comment", "filing")
_LABELS = ("negative", "neutral", "positive", "")
_SHARES = (0.25, 0.45, 0.25, 0.05)
_INCIDENTS = 600
_CRAWLS = 300
_BATCH = 50_000
_WORDS = (
    "profit loss margin quarter outlook cut raises wins order sued recall plant strike merger bid stake board chief "
    "steps down fine probe rating debt bond buyback dividend factory launch delay export tariff demand prices shares"
).split()


class World:
    """`size` articles over the last 400 days; `tables()` gives each table's columns and rows."""

    def __init__(self, size: int, end: datetime) -> None:
        self.size = size
        self.end = end
        self.start = end - timedelta(days=DAYS)
        random = np.random.default_rng(SEED)
        seconds = np.sort(random.uniform(0, DAYS * trends.DAY, size))
        self.epoch = seconds + self.start.timestamp()
        # Some companies are in the news far more than others.
        weights = 1 / np.arange(1, COMPANIES + 1) ** 0.7
        draw = weights / weights.sum()
        companies = random.choice(COMPANIES, size=(size, 2), p=draw).tolist()
        several = (random.random(size) < 0.2).tolist()
        topics = random.integers(0, len(topic_keys()), size=(size, 2)).tolist()
        two_topics = (random.random(size) < 0.3).tolist()
        self.sources = random.integers(0, SOURCES, size).tolist()
        self.labels = random.choice(len(_LABELS), size=(size, 2), p=_SHARES).tolist()
        words = random.integers(0, len(_WORDS), size=(size, 6)).tolist()
        # A tenth are reprints of the article before.
        self.first = np.where(random.random(size) < 0.1, np.arange(size) - 1, np.arange(size)).clip(0).tolist()
        # As lists of texts: single elements of arrays are slow.
        self._moments = {later: _written_all(self.epoch + later) for later in (0, 60, 90, 91)}
        self._ids = [identity(number) for number in range(size)]
        self._titles = [
            f"{company_name(named[0])} {' '.join(_WORDS[word] for word in said)} {number}"
            for number, (named, said) in enumerate(zip(companies, words, strict=True))
        ]
        names, keys = [company(number) for number in range(COMPANIES)], topic_keys()
        everything = ("all", "all", 0)
        self._entities = []
        for named, more, about, two in zip(companies, several, topics, two_topics, strict=True):
            found = [everything, ("company", names[named[0]], 0)]
            if more and named[1] != named[0]:
                found.append(("company", names[named[1]], 1))
            found.append(("topic", keys[about[0]], 0))
            if two and about[1] != about[0]:
                found.append(("topic", keys[about[1]], 0))
            self._entities.append(found)

    def moment(self, number: int, later: int = 0) -> str:
        return self._moments[later][number]

    def title(self, number: int) -> str:
        return self._titles[number]

    def kind(self, number: int) -> str:
        return _KINDS[self.sources[number] % len(_KINDS)]

    def entities(self, number: int) -> list[tuple[str, str, int]]:
        """(kind, entity, number of the label) that the article counts for."""
        return self._entities[number]

    # --- rows ---------------------------------------------------------------------------------------------------------

    def tables(self) -> Iterator[tuple[sa.Table, tuple[str, ...], Iterable[Sequence[Any]]]]:
        for table, rows in (
            (tables.articles, self._articles()),
            (tables.revisions, self._revisions()),
            (tables.stories, self._stories()),
            (tables.mentions, self._mentions()),
            (tables.article_topics, self._article_topics()),
            (tables.contributions, self._contributions()),
            (tables.captures, self._captures()),
            (tables.journal, ((n + 1, self.moment(n, 90), n + 1) for n in range(self.size))),
            (tables.judged, ((n + 1, self.moment(n, 91)) for n in range(self.size))),
            (tables.progress, [("pipeline", self.size, self.moment(self.size - 1), None)]),
            (tables.windows, self._windows()),
            (tables.crawls, self._crawls()),
            (tables.incidents, self._incidents()),
            (tables.incident_changes, self._changes()),
            (tables.alerts, self._alerts()),
        ):
            yield table, tuple(column.name for column in table.columns), rows

    def _scores(self, number: int, which: int = 0) -> tuple[Any, ...]:
        label = _LABELS[self.labels[number][which]]
        shares = {"negative": (0.1, 0.2, 0.7), "neutral": (0.1, 0.8, 0.1), "positive": (0.8, 0.1, 0.1)}
        return (label, *shares.get(label, (0.35, 0.34, 0.31)))

    def _articles(self) -> Iterator[Sequence[Any]]:
        for n in range(self.size):
            about = (source(self.sources[n]), self.kind(n), "en" if n % 3 else "zh", f"https://e.example/{n}")
            times = (self.moment(n), self.moment(n, 60), self.moment(n, 90))
            story = (1.0, self._ids[self.first[n]], 1.0, "same" if self.first[n] != n else "new")
            yield (self._ids[n], *about, self.title(n), 1, *times, *story, *self._scores(n))

    def _revisions(self) -> Iterator[Sequence[Any]]:
        for n in range(self.size):
            said = (self.title(n), "", f"{self.title(n)}. Nothing else was said.", "", "", "", "", "{}")
            yield (self._ids[n], 1, n + 1, self.moment(n, 90), *said)

    def _stories(self) -> Iterator[Sequence[Any]]:
        for n in range(self.size):
            if self.first[n] == n:
                yield (self._ids[n], self._ids[n], self.title(n), "en", self.moment(n), self.moment(n), 1)

    def _mentions(self) -> Iterator[Sequence[Any]]:
        for n in range(self.size):
            for kind, entity, which in self.entities(n):
                if kind == "company":
                    about = (self.moment(n), entity, 80 - 40 * which, "title")
                    yield (self._ids[n], entity, *about, *self._scores(n, which), self.title(n))

    def _article_topics(self) -> Iterator[Sequence[Any]]:
        for n in range(self.size):
            for kind, entity, _ in self.entities(n):
                if kind == "topic":
                    yield (self._ids[n], entity, self.moment(n), 0.9)

    def _contributions(self) -> Iterator[Sequence[Any]]:
        for n in range(self.size):
            if self.first[n] == n:
                for kind, entity, which in self.entities(n):
                    label = _LABELS[self.labels[n][which]]
                    yield (self._ids[n], kind, entity, self._ids[n], self.moment(n), self.kind(n), label, 1.0)

    def _captures(self) -> Iterator[Sequence[Any]]:
        for n in range(self.size):
            address = f"https://e.example/{n}"
            yield (
                *(n + 1, source(self.sources[n]), "c", self._ids[n], self._ids[n], address, address),
                *("{}", "{}", "", "", "text/html", self.moment(n, 60), "{}"),
            )

    def _windows(self) -> Iterator[Sequence[Any]]:
        """Counts as `trends.count` adds them up, summed by numpy."""
        names: dict[tuple[str, str, str], int] = {}
        codes, moments, negative, positive, stories = [], [], [], [], []
        for n in range(self.size):
            for kind, entity, which in self.entities(n):
                codes.append(names.setdefault((kind, entity, self.kind(n)), len(names)))
                moments.append(self.epoch[n])
                new = self.first[n] == n
                stories.append(new)
                negative.append(new and self.labels[n][which] == 0)
                positive.append(new and self.labels[n][which] == 2)
        listed = list(names)
        counts = np.array([stories, negative, positive], dtype=np.int32)
        for width in trends.WIDTHS:
            starts = (np.array(moments) // width).astype(np.int64)
            keys = starts * len(listed) + np.array(codes)
            found, place = np.unique(keys, return_inverse=True)
            articles = np.bincount(place)
            sums = [np.bincount(place, weights=row).astype(int) for row in counts]
            yield from _window_rows(found, width, listed, articles, sums)

    def _crawls(self) -> Iterator[Sequence[Any]]:
        figures = json.dumps({"requests": 12, "new": 3, "not_modified": 4, "errors": 0, "pages": 3})
        for number in range(SOURCES):
            for back in range(_CRAWLS):
                at = written(self.end - timedelta(minutes=10 * back + number / 10))
                outcome = "failed" if back == 5 else "done"
                yield (f"c{number}-{back}", source(number), at, at, outcome, "", figures, None)

    def _incidents(self) -> Iterator[Sequence[Any]]:
        for number in range(_INCIDENTS):
            kind, entity, moment = self._about(number)
            state = "open" if number < 20 else "closed"
            end = None if state == "open" else written(moment + timedelta(days=2))
            times = (written(moment), written(moment + timedelta(days=1)), end)
            yield (f"i{number:05d}", kind, entity, state, "high", 3, *times, self._reason(number), "[]", "{}")

    def _changes(self) -> Iterator[Sequence[Any]]:
        for number in range(_INCIDENTS):
            _, _, moment = self._about(number)
            for revision, change in enumerate(("opened", "grew", "closed")[: 2 if number < 20 else 3], 1):
                at = written(moment + timedelta(hours=6 * revision))
                yield (f"i{number:05d}", revision, change, at, "high", self._reason(number), "[]")

    def _alerts(self) -> Iterator[Sequence[Any]]:
        for number in range(_INCIDENTS):
            kind, entity, moment = self._about(number)
            incident = {"id": f"i{number:05d}", "entity_kind": kind, "entity": entity, "state": "open"}
            incident |= {"severity": "high", "revision": 1, "opened": moment.isoformat(), "closed": None}
            content = {"change": "opened", "incident": incident, "subscription": {"id": "s", "name": "all"}}
            said = json.dumps({**content, "moment": moment.isoformat(), "reason": json.loads(self._reason(number))})
            yield (f"a{number:05d}", "shop", "s", f"i{number:05d}", 1, written(moment), said, "", written(moment))

    def _about(self, number: int) -> tuple[str, str, datetime]:
        moment = self.end - timedelta(hours=1 + 15 * number)
        if number % 5 == 4:
            keys = topic_keys()
            return "topic", keys[number % len(keys)], moment
        return "company", company(number % COMPANIES), moment

    def _reason(self, number: int) -> str:
        """As the pipeline writes it, twelve stories long."""
        stories = [
            {
                "id": self._ids[n],
                "story_id": self._ids[n],
                "title": self.title(n),
                "url": f"https://e.example/{n}",
                "source": source(self.sources[n]),
                "kind": self.kind(n),
                "published": self.end.isoformat(),
                "language": "en",
                "label": "negative",
                "probability": 0.9,
                "sentence": self.title(n),
                "novelty": 1.0,
            }
            for n in range(number, number + 12)
        ]
        window = {"start": self.start.isoformat(), "end": self.end.isoformat(), "width_seconds": 21_600}
        said = {"text": {"en": "bad news", "zh": "负面"}, "entity_name": "", "window": window, "topics": ["litigation"]}
        figures = {"observed": 9.0, "expected": 0.3, "p_value": 1e-9, "p_share": 1e-4, "score": 9.0, "threshold": 3.5}
        kinds = {"languages": ["en"], "source_kinds": ["news"], "models": {}, "baseline": {"days": 60.0}}
        return json.dumps({**said, **figures, **kinds, "stories": stories})


def _window_rows(
    found: NDArray[np.int64],
    width: int,
    listed: Sequence[tuple[str, str, str]],
    articles: NDArray[np.int64],
    sums: Sequence[NDArray[np.int64]],
) -> Iterator[Sequence[Any]]:
    starts = _written_all((found // len(listed) * width).astype(float))
    codes = (found % len(listed)).tolist()
    for code, start, *counts in zip(codes, starts, articles.tolist(), *(row.tolist() for row in sums), strict=True):
        kind, entity, source_kind = listed[code]
        yield (kind, entity, width, start, source_kind, *counts, *counts[1:])


def company(number: int) -> str:
    return f"company-{number:04d}"


def company_name(number: int) -> str:
    return f"Name{number:04d} Group"


def source(number: int) -> str:
    return f"source-{number:02d}"


def identity(number: int) -> str:
    """32 hexadecimal digits in no order, as hashes are."""
    return f"{(int(number) * 0x9E3779B97F4A7C15F39CC0605CEDC835 + 0x2545F491) % 2**128:032x}"


def _written_all(epoch: NDArray[np.float64]) -> list[str]:
    texts = (epoch * 1e6).astype("datetime64[us]").astype(str)
    return list(np.char.replace(texts, "T", " ").tolist())


def written(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")


# --- into a database --------------------------------------------------------------------------------------------------


def fill(engine: sa.Engine, world: World) -> None:
    """Into migrated, empty tables: indexes are made afterwards, which is many times faster."""
    for table, names, rows in world.tables():
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        with engine.begin() as connection:
            for index in indexes:
                index.drop(connection)
        if engine.dialect.name == "postgresql":
            _copy(engine, table, names, rows)
        else:
            _insert(engine, table, names, rows)
        with engine.begin() as connection:
            for index in indexes:
                index.create(connection)
    if engine.dialect.name == "postgresql":
        # What its autovacuum does by itself within minutes.
        engine.dispose()
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")


def _insert(engine: sa.Engine, table: sa.Table, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    marks = ", ".join("?" * len(names))
    with engine.begin() as connection:
        raw: Any = connection.connection.driver_connection
        raw.executemany(f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({marks})", rows)


def _copy(engine: sa.Engine, table: sa.Table, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with engine.begin() as connection:
        cursor = connection.connection.cursor()
        lines: list[str] = []
        for row in rows:
            lines.append(
                "\t".join("\\N" if value is None else str(value).replace("\\", "\\\\") for value in row) + "\n"
            )
            if len(lines) == _BATCH:
                _send(cursor, table, names, lines)
        _send(cursor, table, names, lines)


def _send(cursor: Any, table: sa.Table, names: Sequence[str], lines: list[str]) -> None:
    stream = io.BytesIO("".join(lines).encode())
    cursor.execute(f"COPY {table.name} ({', '.join(names)}) FROM STDIN", stream=stream)
    lines.clear()
