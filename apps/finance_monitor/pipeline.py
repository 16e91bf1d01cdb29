"""The journal's entries applied in order: capture → article → story → scores → counts → incident → queued alerts.

Each entry is one transaction that also moves the watermark, so that a crash loses nothing and does nothing twice.
Nothing here reads a clock: the same journal, models and gazetteer give the same rows, byte for byte.
"""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from finance_monitor import surges, trends
from finance_monitor.articles import Identified, add_keys, identify
from finance_monitor.companies import Gazetteer
from finance_monitor.detection import Detector
from finance_monitor.domain import Article, Mention, Scored, Sentiment, StoryPlace
from finance_monitor.models import Models, Reading
from finance_monitor.stories import StoryIndex
from finance_monitor.tables import (
    article_topics,
    articles,
    captures,
    fingerprints,
    journal,
    mentions,
    progress,
    revisions,
    stories,
    unjudged,
)
from headwater.errors import Conflict, HeadwaterError, NotFound, Unavailable

NAME = "pipeline"
STORY_DAYS = 4.0
# So many captures in a row that cannot be judged are no fault of theirs.
MOST_ASIDE = 5
_log = logging.getLogger("headwater.finance")
_START = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Applied:
    """What one entry of the journal did: the article, if any, and the incidents that it changed."""

    sequence: int
    article_id: str = ""
    state: str = "tick"
    changes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class _Read:
    """What gazetteer and models say of an article: a function of its title, text, language and date."""

    mentions: list[Mention]
    reading: Reading
    vector: NDArray[np.float32]


# The ids of the models that read, and what they found: None where there is nothing to read.
_Ahead = tuple[dict[str, str], Future[tuple[Article, _Read] | None]]


class Pipeline:
    """One writer at a time. `alert_age`: how old an incident may be when it becomes known, and still be told.

    `readers`: threads that read the articles of the next entries while one is applied (`read_ahead`).
    """

    def __init__(
        self,
        engine: sa.Engine,
        models: Models,
        gazetteer: Gazetteer,
        *,
        alert_age: timedelta = timedelta(days=3),
        settings: surges.Settings | None = None,
        readers: int = 0,
    ) -> None:
        self._engine = engine
        self._models = models
        self._gazetteer = gazetteer
        self._detector = Detector(models, gazetteer, alert_age, settings or surges.Settings())
        self._clock = _START
        self._index = StoryIndex(STORY_DAYS)
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="read") if readers > 1 else None
        self._most_ahead = 2 * readers
        self._ahead: dict[int, _Ahead] = {}  # by capture
        self._recover()

    @property
    def clock(self) -> datetime:
        """The latest moment that was taken into account: an article's date while catching up, else the present."""
        return self._clock

    def read_ahead(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Have the models read what comes next, in other threads; `apply` then finds it done. Changes no result."""
        if self._readers is None:
            return
        for entry in entries[: self._most_ahead]:
            capture = entry["capture_id"]
            if capture is not None and capture not in self._ahead:
                future = self._readers.submit(self._read_capture, entry)
                self._ahead[capture] = self._models.ids(), future

    def close(self) -> None:
        """Nothing more is read ahead."""
        self._forget_ahead()
        if self._readers is not None:
            self._readers.shutdown(wait=False, cancel_futures=True)

    def _forget_ahead(self) -> None:
        for _, future in self._ahead.values():
            future.cancel()
        self._ahead.clear()

    def _read_capture(self, entry: Mapping[str, Any]) -> tuple[Article, _Read] | None:
        with self._engine.connect() as connection:
            row = connection.execute(_CAPTURE, {"of_capture": entry["capture_id"]}).first()
            if row is None:
                return None
            found = identify(connection, row._mapping, row.page, entry["moment"])
        return None if found is None or found.state == "known" else (found.article, self._read(found.article))

    def _was_read(self, article: Article, ahead: _Ahead | None) -> _Read | None:
        """What was read ahead, where it was of these words and by the present models."""
        if ahead is None:
            return None
        models, future = ahead
        # What failed is read again, and fails where failures are dealt with.
        if future.cancelled() or future.exception() is not None or models != self._models.ids():
            return None
        found = future.result()
        return None if found is None or _words(found[0]) != _words(article) else found[1]

    def apply(self, entry: Mapping[str, Any]) -> Applied:
        """Apply one row of the journal: {sequence, moment, capture_id}. Applying it again changes nothing."""
        ahead = self._ahead.pop(entry["capture_id"], None)
        try:
            found, scored = None, None
            # The models take most of the time, and SQLite has one writer: crawls must get their turn meanwhile.
            with self._engine.connect() as connection:
                before = _progress(connection)
                if before >= entry["sequence"]:
                    return Applied(entry["sequence"], state="known")
                if entry["capture_id"] is not None:
                    found, scored = self._judge(connection, entry, ahead)
            with self._engine.begin() as connection:
                if _progress(connection) != before:
                    raise Conflict("another worker applied the journal meanwhile; this one reads its memory anew")
                if entry["capture_id"] is None:
                    self._clock = max(self._clock, entry["moment"])
                    changes = self._detector.tick(connection, self._clock, entry["moment"])
                    applied = Applied(entry["sequence"], changes=changes)
                else:
                    applied = self._keep(connection, entry, found, scored)
                self._move_on(connection, entry, before < 0)
            return applied
        except BaseException:
            self._recover()  # what memory holds may be ahead of what was kept
            raise

    def advance(self, entry: Mapping[str, Any]) -> Applied:
        """`apply`, and what no attempt can judge is put aside with its reason, so that it never stops what follows.

        Raises what another attempt may mend: the database, the disk, memory, a model that is not there; and Unavailable
        where the captures before it were put aside too, for then the fault is ours or the model's.
        """
        try:
            return self.apply(entry)
        except (sa.exc.OperationalError, sa.exc.InterfaceError, OSError, MemoryError, HeadwaterError):
            raise
        except Exception as error:
            _log.exception("capture %s cannot be judged and is put aside", entry["capture_id"])
            reason = f"{type(error).__name__}: {error}"[:1000]
            with self._engine.begin() as connection:
                first = _progress(connection) < 0
                if _aside_in_a_row(connection, entry["sequence"]) >= MOST_ASIDE:
                    raise Unavailable(
                        f"the last {MOST_ASIDE} articles could not be judged, and capture {entry['capture_id']} cannot "
                        f"either ({reason[:200]}); judging waits. Go back to the former model or version, "
                        "then run: headwater finance judge-again"
                    ) from error
                connection.execute(
                    unjudged.insert().values(
                        sequence=entry["sequence"],
                        capture_id=entry["capture_id"],
                        moment=entry["moment"],
                        reason=reason,
                    )
                )
                self._move_on(connection, entry, first)
            return Applied(entry["sequence"], state="unjudged")

    def _move_on(self, connection: sa.Connection, entry: Mapping[str, Any], first: bool) -> None:
        """The watermark, in the transaction of the entry's effects."""
        values = {"sequence": entry["sequence"], "moment": self._clock, **self._detector.to_keep()}
        if first:
            connection.execute(progress.insert(), {"name": NAME, **values})
        else:
            connection.execute(_MOVE_ON, values)

    def _recover(self) -> None:
        self._forget_ahead()
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(progress).where(progress.c.name == NAME)).first()
            self._clock = row.moment if row is not None and row.moment else _START
            self._detector.restore(row.rhythm if row is not None else None)
            self._index = StoryIndex(STORY_DAYS)
            query = (
                sa.select(fingerprints, articles.c.story_id, articles.c.language)
                .join(articles, articles.c.id == fingerprints.c.article_id)
                .where(fingerprints.c.published >= self._clock - timedelta(days=2 * STORY_DAYS))
                .order_by(fingerprints.c.published, fingerprints.c.article_id)
            )
            for found in connection.execute(query):
                self._index.restore(found.article_id, found.story_id, found.published, found.language, found.data)

    # --- one capture --------------------------------------------------------------------------------------------------

    def _judge(
        self, connection: sa.Connection, entry: Mapping[str, Any], ahead: _Ahead | None
    ) -> tuple[Identified | None, Scored | None]:
        """What a capture is and what the models say of it; only reads."""
        row = connection.execute(_CAPTURE, {"of_capture": entry["capture_id"]}).first()
        if row is None:
            raise NotFound(f"the journal names capture {entry['capture_id']}, which is gone; restore the backup")
        capture = dict(row._mapping)
        found = identify(connection, capture, capture["page"], entry["moment"])
        if found is None or found.state == "known":
            return found, None
        read = self._was_read(found.article, ahead) or self._read(found.article)
        return found, self._score(connection, found.article, read)

    def _keep(
        self, connection: sa.Connection, entry: Mapping[str, Any], found: Identified | None, scored: Scored | None
    ) -> Applied:
        if found is None:
            return Applied(entry["sequence"], state="empty")
        add_keys(connection, found)
        if scored is None:
            return Applied(entry["sequence"], found.article.id, "known")
        self._store(connection, found, scored, entry["capture_id"])
        # Dates of old articles must not turn the clock back, and one that was just found counts as of now.
        self._clock = max(self._clock, found.article.published)
        changed = trends.count(connection, scored)
        self._detector.counted(found.article.published)
        changes = [
            change
            for kind, entity in sorted(changed)
            if kind != "all"
            for change in self._detector.look(connection, kind, entity, self._clock, entry["moment"])
        ]
        return Applied(entry["sequence"], found.article.id, found.state, tuple(changes))

    def _read(self, article: Article) -> _Read:
        found = self._gazetteer.mentions(article.title, article.text, article.published)
        reading = self._models.read(article.title, article.text, found, article.language)
        return _Read(found, reading, self._models.vector(article.title, article.text, article.language))

    def _score(self, connection: sa.Connection, article: Article, read: _Read) -> Scored:
        companies = frozenset(mention.company_id for mention in read.mentions if mention.relevance >= 25)
        # Before, so that the index holds what `_recover` would restore, and the article itself whatever its date.
        self._index.forget(self._clock - timedelta(days=2 * STORY_DAYS))
        former = connection.scalar(_PLACED, {"of_article": article.id}) if article.revision > 1 else ""
        place = self._index.place(
            article.id, article.title, article.text, read.vector, companies, article.published, article.language, former
        )
        reading = read.reading
        return Scored(article, place, reading.companies, reading.overall, reading.topics, reading.models)

    def _store(self, connection: sa.Connection, found: Identified, scored: Scored, capture_id: int) -> None:
        article, place, overall = scored.article, scored.place, scored.overall
        values = {
            "source_id": article.source_id,
            "kind": article.kind,
            "language": article.language,
            "url": article.url,
            "title": article.title,
            "revision": article.revision,
            "published": article.published,
            "first_seen": article.first_seen,
            "known_at": article.known_at,
            "weight": article.weight,
            "story_id": place.story_id,
            "novelty": place.novelty,
            "relation": place.relation,
            **_scores(overall),
        }
        new = article.revision == 1
        if new:
            connection.execute(articles.insert(), {"id": article.id, **values})
        else:
            for table in (mentions, article_topics, fingerprints):
                connection.execute(table.delete().where(table.c.article_id == article.id))
            connection.execute(articles.update().where(articles.c.id == article.id).values(values))
        connection.execute(
            revisions.insert(),
            {
                "article_id": article.id,
                "number": article.revision,
                "capture_id": capture_id,
                "known_at": article.known_at,
                "title": article.title,
                "summary": article.summary,
                "text": article.text,
                "author": article.author[:300],
                "digest": found.digest,
                "date_raw": found.date_raw[:200],
                "date_method": found.date_method[:64],
                "models": scored.models,
            },
        )
        self._store_readings(connection, scored)
        self._store_story(connection, article, place, new)

    def _store_readings(self, connection: sa.Connection, scored: Scored) -> None:
        article = scored.article
        rows = [_mention_row(article, mention, sentiment) for mention, sentiment in scored.mentions]
        if rows:
            connection.execute(mentions.insert(), rows)
        named = [
            {"article_id": article.id, "topic": topic, "published": article.published, "probability": probability}
            for topic, probability in scored.topics
        ]
        if named:
            connection.execute(article_topics.insert(), named)
        kept = {"article_id": article.id, "published": article.published, "data": self._index.fingerprint(article.id)}
        connection.execute(fingerprints.insert(), kept)

    def _store_story(self, connection: sa.Connection, article: Article, place: StoryPlace, new: bool) -> None:
        row = connection.execute(_STORY, {"of_story": place.story_id}).first()
        if row is None:
            connection.execute(
                stories.insert(),
                {
                    "id": place.story_id,
                    "first_article": article.id,
                    "title": article.title,
                    "language": article.language,
                    "opened": article.published,
                    "updated": article.published,
                    "size": 1,
                },
            )
        else:
            later = max(row.updated, article.published)
            changed = {"of_story": place.story_id, "size": row.size + new, "updated": later}
            connection.execute(_STORY_CHANGED, changed)


# Built once, and rows go in as parameters: SQLAlchemy takes longer to make a statement than SQLite to run it.
_SEQUENCE = sa.select(progress.c.sequence).where(progress.c.name == NAME)
_MOVE_ON = progress.update().where(progress.c.name == NAME)
_CAPTURE = sa.select(captures).where(captures.c.id == sa.bindparam("of_capture"))
_PLACED = sa.select(articles.c.story_id).where(articles.c.id == sa.bindparam("of_article"))
_STORY = sa.select(stories.c.size, stories.c.updated).where(stories.c.id == sa.bindparam("of_story"))
_STORY_CHANGED = stories.update().where(stories.c.id == sa.bindparam("of_story"))
_PENDING = (
    sa.select(journal)
    .where(journal.c.sequence > sa.bindparam("after"))
    .order_by(journal.c.sequence)
    .limit(sa.bindparam("at_most"))
)


def _words(article: Article) -> tuple[str, str, str, datetime]:
    """All that `_read` depends on."""
    return article.title, article.text, article.language, article.published


def _scores(sentiment: Sentiment) -> dict[str, Any]:
    return {
        "label": sentiment.label,
        "positive": sentiment.positive,
        "neutral": sentiment.neutral,
        "negative": sentiment.negative,
    }


def _mention_row(article: Article, mention: Mention, sentiment: Sentiment) -> dict[str, Any]:
    return {
        "article_id": article.id,
        "company_id": mention.company_id,
        "published": article.published,
        "name": mention.name[:200],
        "relevance": mention.relevance,
        "role": mention.role,
        "sentence": sentiment.sentence,
        **_scores(sentiment),
    }


def _progress(connection: sa.Connection) -> int:
    """The last sequence whose effects are kept, -1 before the first."""
    sequence = connection.scalar(_SEQUENCE)
    return -1 if sequence is None else int(sequence)


def _aside_in_a_row(connection: sa.Connection, sequence: int) -> int:
    """How many of the captures right before an entry were put aside, counted up to MOST_ASIDE."""
    before = (
        sa.select(journal.c.sequence)
        .where(journal.c.sequence < sequence, journal.c.capture_id.is_not(None))
        .order_by(journal.c.sequence.desc())
        .limit(MOST_ASIDE)
    )
    latest = connection.scalars(before).all()
    aside = set(connection.scalars(sa.select(unjudged.c.sequence).where(unjudged.c.sequence.in_(latest))))
    return next((number for number, one in enumerate(latest) if one not in aside), len(latest))


def pending(engine: sa.Engine, limit: int) -> list[dict[str, Any]]:
    """Journal entries that have not been applied, in order."""
    with engine.connect() as connection:
        # Sequences begin at 1.
        rows = connection.execute(_PENDING, {"after": max(0, _progress(connection)), "at_most": limit})
        return [dict(row._mapping) for row in rows]
