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
# The longest span, and an hour more for moments that lie on its edge.
_TESTED = timedelta(seconds=max(surges.SPANS) + surges.HOUR)
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
        # What is usual for entities on the rhythm's day, as long as no story from before the tested ones comes.
        self._usual: dict[tuple[str, str], surges.Baseline] = {}

    def restore(self, rhythm: Any) -> None:
        """Go on with the rhythm that `to_keep` gave: one that a restart fitted anew would know of later news."""
        day, hours = rhythm or (_NO_DAY, surges.Rhythm().hours)
        self._rhythm, self._kept_day = (day, surges.Rhythm(tuple(hours))), day
        self._usual.clear()

    def to_keep(self) -> dict[str, Any]:
        """What has to be kept with the watermark: {"rhythm": [day, hours]} on the first call of a day, else nothing."""
        if self._rhythm[0] == self._kept_day:
            return {}
        self._kept_day = self._rhythm[0]
        return {"rhythm": [self._rhythm[0], self._rhythm[1].hours]}

    def counted(self, moment: datetime) -> None:
        """To be told of each story that was counted, before `look`; an old one changes what was usual."""
        if moment.timestamp() < surges.usual_until(self._rhythm[0] * surges.DAY):
            self._usual.clear()

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
        former = connection.execute(_FORMER, {"of_kind": kind, "of_entity": entity}).first()
        state = surges.State.from_json(former.memory) if former is not None else surges.State()
        rhythm = self._rhythm_of(connection, clock)
        tested = _history(connection, kind, entity, clock - _TESTED, clock)
        if not surges.may_change(state, tested, self._settings):
            return []
        usual = self._usual_of(connection, kind, entity, clock, rhythm)
        evaluation = surges.evaluate(tested, clock.timestamp(), usual=usual)
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
            self._usual.clear()
        return self._rhythm[1]

    def _usual_of(
        self, connection: sa.Connection, kind: str, entity: str, clock: datetime, rhythm: surges.Rhythm
    ) -> surges.Baseline:
        if (kind, entity) not in self._usual:
            begun = connection.scalar(_BEGUN)
            since = begun.timestamp() if begun else 0.0
            history = _history(connection, kind, entity, clock - timedelta(days=surges.HISTORY_DAYS), clock, since)
            self._usual[kind, entity] = surges.baseline(history, clock.timestamp(), rhythm)
        return self._usual[kind, entity]

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


# Built once: SQLAlchemy takes longer to make such statements than SQLite to run them.
_FORMER = (
    sa.select(*(incidents.c[name] for name in ("id", "opened", "revision", "story_ids", "memory")))
    .where(incidents.c.entity_kind == sa.bindparam("of_kind"), incidents.c.entity == sa.bindparam("of_entity"))
    .order_by(incidents.c.opened.desc())
    .limit(1)
)
_BEGUN = sa.select(articles.c.published).order_by(articles.c.published).limit(1)
_COUNTED = (
    sa.select(*(contributions.c[name] for name in ("moment", "label", "weight")))
    .where(contributions.c.entity_kind == sa.bindparam("of_kind"), contributions.c.entity == sa.bindparam("of_entity"))
    .where(contributions.c.moment > sa.bindparam("after"), contributions.c.moment <= sa.bindparam("until"))
    .order_by(contributions.c.moment)
)


def _history(
    connection: sa.Connection, kind: str, entity: str, after: datetime, until: datetime, since: float = 0.0
) -> surges.History:
    place = {"of_kind": kind, "of_entity": entity, "after": after, "until": until}
    rows = connection.execute(_COUNTED, place).all()
    moments, labels, weights = zip(*rows, strict=True) if rows else ((), (), ())
    return surges.History(
        np.array([moment.timestamp() for moment in moments]),
        np.array([float(label == "negative") for label in labels]),
        np.array(weights, float),
        since,
    )


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
