"""The journal's entries applied in order: capture → article → story → scores → counts → incident → queued alerts.

Each entry is one transaction that also moves the watermark, so that a crash loses nothing and does nothing twice.
Nothing here reads a clock: the same journal, models and gazetteer give the same rows, byte for byte.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import sqlalchemy as sa

from finance_monitor import alerting, surges, trends
from finance_monitor.articles import Identified, identify
from finance_monitor.companies import Gazetteer
from finance_monitor.domain import Article, Incident, Mention, Scored, Sentiment, StoryPlace
from finance_monitor.models import Models
from finance_monitor.stories import StoryIndex
from finance_monitor.tables import (
    article_topics,
    articles,
    captures,
    contributions,
    fingerprints,
    incident_changes,
    incidents,
    journal,
    mentions,
    progress,
    revisions,
    stories,
    windows,
)
from headwater.errors import NotFound

NAME = "pipeline"
STORY_DAYS = 4.0
_RHYTHM_DAYS = 60
_SHOWN = 12
_START = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Applied:
    """What one entry of the journal did: the article, if any, and the incidents that it changed."""

    sequence: int
    article_id: str = ""
    state: str = "tick"
    changes: tuple[tuple[str, str], ...] = ()


class Pipeline:
    """One writer at a time. `alert_age`: how old an incident may be when it becomes known, and still be told."""

    def __init__(
        self,
        engine: sa.Engine,
        models: Models,
        gazetteer: Gazetteer,
        *,
        alert_age: timedelta = timedelta(days=3),
        settings: surges.Settings | None = None,
    ) -> None:
        self._engine = engine
        self._models = models
        self._gazetteer = gazetteer
        self._alert_age = alert_age
        self._settings = settings or surges.Settings()
        self._rhythm: tuple[int, surges.Rhythm] = (-1, surges.Rhythm())
        self._kept_day = -1
        self._clock = _START
        self._index = StoryIndex(STORY_DAYS)
        self._recover()

    @property
    def clock(self) -> datetime:
        """The latest moment that was taken into account: an article's date while catching up, else the present."""
        return self._clock

    def apply(self, entry: Mapping[str, Any]) -> Applied:
        """Apply one row of the journal: {sequence, moment, capture_id}. Applying it again changes nothing."""
        try:
            with self._engine.begin() as connection:
                done = connection.execute(sa.select(progress).where(progress.c.name == NAME)).first()
                if done is not None and done.sequence >= entry["sequence"]:
                    return Applied(entry["sequence"], state="known")
                if entry["capture_id"] is None:
                    self._clock = max(self._clock, entry["moment"])
                    applied = Applied(entry["sequence"], changes=self._tick(connection, entry["moment"]))
                else:
                    applied = self._capture(connection, entry)
                values: dict[str, Any] = {"sequence": entry["sequence"], "moment": self._clock}
                if self._rhythm[0] != self._kept_day:
                    values["rhythm"] = [self._rhythm[0], self._rhythm[1].hours]
                    self._kept_day = self._rhythm[0]
                if done is None:
                    connection.execute(progress.insert().values(name=NAME, **values))
                else:
                    connection.execute(progress.update().where(progress.c.name == NAME).values(values))
            return applied
        except BaseException:
            self._recover()  # what memory holds may be ahead of what was kept
            raise

    def _recover(self) -> None:
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(progress).where(progress.c.name == NAME)).first()
            self._clock = row.moment if row is not None and row.moment else _START
            day, hours = row.rhythm if row is not None and row.rhythm else (-1, surges.Rhythm().hours)
            self._rhythm, self._kept_day = (day, surges.Rhythm(tuple(hours))), day
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

    def _capture(self, connection: sa.Connection, entry: Mapping[str, Any]) -> Applied:
        row = connection.execute(sa.select(captures).where(captures.c.id == entry["capture_id"])).first()
        if row is None:
            raise NotFound(f"the journal names capture {entry['capture_id']}, which is gone; restore the backup")
        capture = dict(row._mapping)
        found = identify(connection, capture, capture["page"], entry["moment"])
        if found is None or found.state == "known":
            return Applied(entry["sequence"], found.article.id if found else "", "known" if found else "empty")
        scored = self._score(connection, found.article)
        self._store(connection, found, scored, entry["capture_id"])
        # Dates of old articles must not turn the clock back, and one that was just found counts as of now.
        self._clock = max(self._clock, found.article.published)
        changed = trends.count(connection, scored)
        changes = [
            change
            for kind, entity in sorted(changed)
            if kind != "all"
            for change in self._look(connection, kind, entity, entry["moment"])
        ]
        return Applied(entry["sequence"], found.article.id, found.state, tuple(changes))

    def _score(self, connection: sa.Connection, article: Article) -> Scored:
        found = self._gazetteer.mentions(article.title, article.text, article.published)
        reading = self._models.read(article.title, article.text, found, article.language)
        companies = frozenset(mention.company_id for mention in found if mention.relevance >= 25)
        vector = self._models.vector(article.title, article.text, article.language)
        # Before, so that the index holds what `_recover` would restore, and the article itself whatever its date.
        self._index.forget(self._clock - timedelta(days=2 * STORY_DAYS))
        former = connection.scalar(sa.select(articles.c.story_id).where(articles.c.id == article.id)) or ""
        place = self._index.place(
            article.id, article.title, article.text, vector, companies, article.published, article.language, former
        )
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
            connection.execute(articles.insert().values(id=article.id, **values))
        else:
            for table in (mentions, article_topics, fingerprints):
                connection.execute(table.delete().where(table.c.article_id == article.id))
            connection.execute(articles.update().where(articles.c.id == article.id).values(values))
        connection.execute(
            revisions.insert().values(
                article_id=article.id,
                number=article.revision,
                capture_id=capture_id,
                known_at=article.known_at,
                title=article.title,
                summary=article.summary,
                text=article.text,
                author=article.author[:300],
                digest=found.digest,
                date_raw=found.date_raw[:200],
                date_method=found.date_method[:64],
                models=scored.models,
            )
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
        connection.execute(
            fingerprints.insert().values(
                article_id=article.id, published=article.published, data=self._index.fingerprint(article.id)
            )
        )

    def _store_story(self, connection: sa.Connection, article: Article, place: StoryPlace, new: bool) -> None:
        is_story = stories.c.id == place.story_id
        row = connection.execute(sa.select(stories).where(is_story)).first()
        if row is None:
            connection.execute(
                stories.insert().values(
                    id=place.story_id,
                    first_article=article.id,
                    title=article.title,
                    language=article.language,
                    opened=article.published,
                    updated=article.published,
                    size=1,
                )
            )
        else:
            later = max(row.updated, article.published)
            connection.execute(stories.update().where(is_story).values(size=row.size + new, updated=later))

    # --- incidents ----------------------------------------------------------------------------------------------------

    def _tick(self, connection: sa.Connection, moment: datetime) -> tuple[tuple[str, str], ...]:
        query = sa.select(incidents.c.entity_kind, incidents.c.entity).where(incidents.c.state == "open")
        rows = sorted((row.entity_kind, row.entity) for row in connection.execute(query))
        changes = [change for kind, entity in rows for change in self._look(connection, kind, entity, moment)]
        alerting.escalate(connection, moment)
        return tuple(changes)

    def _look(self, connection: sa.Connection, kind: str, entity: str, known_at: datetime) -> list[tuple[str, str]]:
        """Test one entity now, and write what changed."""
        former = connection.execute(
            sa.select(incidents)
            .where(incidents.c.entity_kind == kind, incidents.c.entity == entity)
            .order_by(incidents.c.opened.desc())
            .limit(1)
        ).first()
        state = surges.State.from_json(former.memory) if former is not None else surges.State()
        moment = self._clock.timestamp()
        history = self._history(connection, kind, entity)
        evaluation = surges.evaluate(history, moment, self._rhythm_now(connection))
        after, change, severity = surges.step(state, evaluation, self._settings)
        if not change:
            if former is not None and after != state:
                connection.execute(incidents.update().where(incidents.c.id == former.id).values(memory=after.to_json()))
            return []
        incident = self._incident(connection, kind, entity, former, change, severity, evaluation)
        self._store_incident(connection, incident, change, after)
        if known_at - self._clock <= self._alert_age:
            alerting.route(connection, incident, change, known_at)
        return [(incident.id, change)]

    def _history(self, connection: sa.Connection, kind: str, entity: str) -> surges.History:
        c = contributions.c
        since = self._clock - timedelta(days=surges.HISTORY_DAYS)
        rows = connection.execute(
            sa.select(c.moment, c.label, c.weight)
            .where(c.entity_kind == kind, c.entity == entity, c.moment > since, c.moment <= self._clock)
            .order_by(c.moment)
        ).all()
        begun = connection.execute(sa.select(sa.func.min(articles.c.published))).scalar()
        moments = np.array([row.moment.timestamp() for row in rows])
        negative = np.array([1.0 if row.label == "negative" else 0.0 for row in rows])
        weights = np.array([row.weight for row in rows])
        return surges.History(moments, negative, weights, _as_moment(begun).timestamp() if begun else 0.0)

    def _rhythm_now(self, connection: sa.Connection) -> surges.Rhythm:
        """Fitted once a day of the pipeline's clock, on what was counted before that day."""
        day = int(self._clock.timestamp() // surges.DAY)
        if self._rhythm[0] != day:
            start = datetime.fromtimestamp(day * surges.DAY, UTC)
            c = windows.c
            rows = connection.execute(
                sa.select(c.start, c.stories)
                .where(c.entity_kind == "all", c.width == trends.QUARTER)
                .where(c.start >= start - timedelta(days=_RHYTHM_DAYS), c.start < start)
                .order_by(c.start, c.source_kind)
            ).all()
            moments = np.repeat([row.start.timestamp() for row in rows], [max(0, row.stories) for row in rows])
            self._rhythm = (day, surges.fit_rhythm(moments))
        return self._rhythm[1]

    def _incident(
        self,
        connection: sa.Connection,
        kind: str,
        entity: str,
        former: Any,
        change: str,
        severity: str,
        found: surges.Evaluation,
    ) -> Incident:
        name = self._gazetteer.name_of(entity) if kind == "company" else entity
        told = self._stories(connection, kind, entity, found.span)
        seen = sorted({topic for story in told for topic in story.pop("topics")})
        reason = {
            "text": surges.explain(found, name, change),
            "entity_name": name,
            "window": {
                "start": datetime.fromtimestamp(found.moment - found.span, UTC).isoformat(),
                "end": self._clock.isoformat(),
                "width_seconds": int(found.span),
            },
            "observed": round(found.observed, 3),
            "stories_negative": int(found.support),
            "expected": round(found.expected, 4),
            "negative_share": round(found.observed / found.total, 4) if found.total else 0.0,
            "baseline": found.baseline,
            "p_value": float(f"{found.p_volume:.4g}"),
            "p_share": float(f"{found.p_share:.4g}"),
            "score": round(found.score, 3),
            "threshold": self._settings.open_score,
            "stories": told[:_SHOWN],
            "topics": seen,
            "languages": sorted({story["language"] for story in told}),
            "source_kinds": sorted({story["kind"] for story in told}),
            "models": self._models.ids(),
        }
        if former is None or change == "opened":
            opened, revision = self._clock, 1
            identity = hashlib.sha256(f"{kind}\x1f{entity}\x1f{opened.isoformat()}".encode()).hexdigest()[:24]
        else:
            opened, revision, identity = former.opened, former.revision + 1, former.id
        closed = self._clock if change == "closed" else None
        state = "closed" if closed else "open"
        ids = [story["story_id"] for story in told] or (list(former.story_ids) if former is not None else [])
        return Incident(
            identity, kind, entity, state, severity, revision, opened, self._clock, closed, reason, tuple(ids)
        )

    def _store_incident(self, connection: sa.Connection, incident: Incident, change: str, memory: surges.State) -> None:
        values = {
            "entity_kind": incident.entity_kind,
            "entity": incident.entity,
            "state": incident.state,
            "severity": incident.severity,
            "revision": incident.revision,
            "opened": incident.opened,
            "updated": incident.updated,
            "closed": incident.closed,
            "reason": incident.reason,
            "story_ids": list(incident.story_ids),
            "memory": memory.to_json(),
        }
        if change == "opened":
            connection.execute(incidents.insert().values(id=incident.id, **values))
        else:
            connection.execute(incidents.update().where(incidents.c.id == incident.id).values(values))
        connection.execute(
            incident_changes.insert().values(
                incident_id=incident.id,
                revision=incident.revision,
                change=change,
                moment=incident.updated,
                severity=incident.severity,
                reason=incident.reason,
                story_ids=list(incident.story_ids),
            )
        )

    def _stories(self, connection: sa.Connection, kind: str, entity: str, span: float) -> list[dict[str, Any]]:
        """The negative stories of the span, newest first, with the sentence that speaks of the entity."""
        c = contributions.c
        query = (
            sa.select(contributions, articles)
            .join(articles, articles.c.id == c.article_id)
            .where(c.entity_kind == kind, c.entity == entity, c.label == "negative")
            .where(c.moment > self._clock - timedelta(seconds=span), c.moment <= self._clock)
            .order_by(c.moment.desc(), c.story_id)
            .limit(100)
        )
        rows = connection.execute(query).all()
        ids = [row.article_id for row in rows]
        sentences = {
            row.article_id: row
            for row in connection.execute(
                sa.select(mentions).where(mentions.c.article_id.in_(ids), mentions.c.company_id == entity)
            )
        }
        topics: dict[str, list[str]] = {}
        named = sa.select(article_topics.c.article_id, article_topics.c.topic).where(
            article_topics.c.article_id.in_(ids)
        )
        for article_id, topic in connection.execute(named):
            topics.setdefault(article_id, []).append(topic)
        told = []
        for row in rows:
            own = sentences.get(row.article_id, row)
            told.append(
                {
                    "id": row.article_id,
                    "story_id": row.story_id,
                    "title": row.title,
                    "url": row.url,
                    "source": row.source_id,
                    "kind": row.kind,
                    "published": row.published.isoformat(),
                    "language": row.language,
                    "label": own.label,
                    "probability": own.negative,
                    "sentence": getattr(own, "sentence", row.title),
                    "novelty": row.novelty,
                    "topics": topics.get(row.article_id, []),
                }
            )
        return told


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


def _as_moment(value: Any) -> datetime:
    """SQLite's min() gives the text that is stored."""
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def pending(engine: sa.Engine, limit: int) -> list[dict[str, Any]]:
    """Journal entries that have not been applied, in order."""
    with engine.connect() as connection:
        done = connection.execute(sa.select(progress.c.sequence).where(progress.c.name == NAME)).scalar() or 0
        rows = connection.execute(
            sa.select(journal).where(journal.c.sequence > done).order_by(journal.c.sequence).limit(limit)
        )
        return [dict(row._mapping) for row in rows]
