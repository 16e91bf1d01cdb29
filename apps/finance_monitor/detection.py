"""Incidents: an entity's stories are tested as of a moment, and what changes is written and routed to the alerts."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import sqlalchemy as sa

from finance_monitor import alerting, surges, trends
from finance_monitor.companies import Gazetteer
from finance_monitor.domain import Incident
from finance_monitor.models import Models
from finance_monitor.tables import (
    article_topics,
    articles,
    contributions,
    incident_changes,
    incidents,
    mentions,
    windows,
)
from finance_monitor.wording import LANGUAGES, topic_name

_RHYTHM_DAYS = 60
_SHOWN = 12
_NO_DAY = -1


class Detector:
    """Tests entities and keeps their incidents. `alert_age`: how old an incident may be when it becomes known, and
    still be told. Writes in the caller's transaction; reads no clock."""

    def __init__(self, models: Models, gazetteer: Gazetteer, alert_age: timedelta, settings: surges.Settings) -> None:
        self._models = models
        self._gazetteer = gazetteer
        self._alert_age = alert_age
        self._settings = settings
        self._rhythm: tuple[int, surges.Rhythm] = (_NO_DAY, surges.Rhythm())
        self._kept_day = _NO_DAY

    def restore(self, rhythm: Any) -> None:
        """Go on with the rhythm that `to_keep` gave: one that a restart fitted anew would know of later news."""
        day, hours = rhythm or (_NO_DAY, surges.Rhythm().hours)
        self._rhythm, self._kept_day = (day, surges.Rhythm(tuple(hours))), day

    def to_keep(self) -> dict[str, Any]:
        """What has to be kept with the watermark: {"rhythm": [day, hours]} on the first call of a day, else nothing."""
        if self._rhythm[0] == self._kept_day:
            return {}
        self._kept_day = self._rhythm[0]
        return {"rhythm": [self._rhythm[0], self._rhythm[1].hours]}

    def tick(self, connection: sa.Connection, clock: datetime, known_at: datetime) -> tuple[tuple[str, str], ...]:
        """Look at every open incident again, and escalate what nobody has answered."""
        query = sa.select(incidents.c.entity_kind, incidents.c.entity).where(incidents.c.state == "open")
        rows = sorted((row.entity_kind, row.entity) for row in connection.execute(query))
        changes = [change for kind, entity in rows for change in self.look(connection, kind, entity, clock, known_at)]
        alerting.escalate(connection, known_at)
        return tuple(changes)

    def look(
        self, connection: sa.Connection, kind: str, entity: str, clock: datetime, known_at: datetime
    ) -> list[tuple[str, str]]:
        """Test one entity as of `clock`, and write what changed: (incident, opened | grew | closed)."""
        former = connection.execute(
            sa.select(incidents)
            .where(incidents.c.entity_kind == kind, incidents.c.entity == entity)
            .order_by(incidents.c.opened.desc())
            .limit(1)
        ).first()
        state = surges.State.from_json(former.memory) if former is not None else surges.State()
        history = _history(connection, kind, entity, clock)
        evaluation = surges.evaluate(history, clock.timestamp(), self._rhythm_of(connection, clock))
        after, change, severity = surges.step(state, evaluation, self._settings)
        if not change:
            if former is not None and after != state:
                connection.execute(incidents.update().where(incidents.c.id == former.id).values(memory=after.to_json()))
            return []
        incident = self._incident(connection, kind, entity, former, change, severity, evaluation, clock)
        _store(connection, incident, change, after)
        if known_at - clock <= self._alert_age:
            alerting.route(connection, incident, change, known_at)
        return [(incident.id, change)]

    def _rhythm_of(self, connection: sa.Connection, clock: datetime) -> surges.Rhythm:
        """Fitted once a day of the clock, on what was counted before that day."""
        day = int(clock.timestamp() // surges.DAY)
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
        clock: datetime,
    ) -> Incident:
        told = _negative_stories(connection, kind, entity, found.span, clock)
        reason = self._reason(kind, entity, change, found, clock, told)
        if former is None or change == "opened":
            opened, revision = clock, 1
            identity = hashlib.sha256(f"{kind}\x1f{entity}\x1f{opened.isoformat()}".encode()).hexdigest()[:24]
        else:
            opened, revision, identity = former.opened, former.revision + 1, former.id
        closed = clock if change == "closed" else None
        state = "closed" if closed else "open"
        ids = [story["story_id"] for story in told] or (list(former.story_ids) if former is not None else [])
        return Incident(identity, kind, entity, state, severity, revision, opened, clock, closed, reason, tuple(ids))

    def _reason(
        self,
        kind: str,
        entity: str,
        change: str,
        found: surges.Evaluation,
        clock: datetime,
        told: list[dict[str, Any]],
    ) -> dict[str, Any]:
        """Everything that an alert explains itself by."""
        names = self._names(kind, entity)
        seen = sorted({topic for story in told for topic in story.pop("topics")})
        return {
            "text": {language: surges.explain(found, names[language], change)[language] for language in LANGUAGES},
            "entity_name": names["en"],
            "window": {
                "start": datetime.fromtimestamp(found.moment - found.span, UTC).isoformat(),
                "end": clock.isoformat(),
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

    def _names(self, kind: str, entity: str) -> Mapping[str, str]:
        if kind == "topic":
            return {language: topic_name(entity, language) for language in LANGUAGES}
        return dict.fromkeys(LANGUAGES, self._gazetteer.name_of(entity))


def _history(connection: sa.Connection, kind: str, entity: str, clock: datetime) -> surges.History:
    c = contributions.c
    since = clock - timedelta(days=surges.HISTORY_DAYS)
    rows = connection.execute(
        sa.select(c.moment, c.label, c.weight)
        .where(c.entity_kind == kind, c.entity == entity, c.moment > since, c.moment <= clock)
        .order_by(c.moment)
    ).all()
    begun = connection.scalar(sa.select(articles.c.published).order_by(articles.c.published).limit(1))
    moments = np.array([row.moment.timestamp() for row in rows])
    negative = np.array([1.0 if row.label == "negative" else 0.0 for row in rows])
    weights = np.array([row.weight for row in rows])
    return surges.History(moments, negative, weights, begun.timestamp() if begun else 0.0)


def _negative_stories(
    connection: sa.Connection, kind: str, entity: str, span: float, clock: datetime
) -> list[dict[str, Any]]:
    """The negative stories of the span, newest first, with the sentence that speaks of the entity."""
    c = contributions.c
    query = (
        sa.select(contributions, articles)
        .join(articles, articles.c.id == c.article_id)
        .where(c.entity_kind == kind, c.entity == entity, c.label == "negative")
        .where(c.moment > clock - timedelta(seconds=span), c.moment <= clock)
        .order_by(c.moment.desc(), c.story_id)
        .limit(100)
    )
    rows = connection.execute(query).all()
    ids = [row.article_id for row in rows]
    own = sa.select(mentions).where(mentions.c.article_id.in_(ids), mentions.c.company_id == entity)
    sentences = {row.article_id: row for row in connection.execute(own)}
    topics: dict[str, list[str]] = {}
    named = sa.select(article_topics.c.article_id, article_topics.c.topic).where(article_topics.c.article_id.in_(ids))
    for article_id, topic in connection.execute(named):
        topics.setdefault(article_id, []).append(topic)
    told = []
    for row in rows:
        judged = sentences.get(row.article_id, row)
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
                "label": judged.label,
                "probability": judged.negative,
                "sentence": getattr(judged, "sentence", row.title),
                "novelty": row.novelty,
                "topics": topics.get(row.article_id, []),
            }
        )
    return told


def _store(connection: sa.Connection, incident: Incident, change: str, memory: surges.State) -> None:
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
