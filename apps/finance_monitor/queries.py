"""What the API and the command line read; every answer is limited and comes from an index."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from finance_monitor import trends
from finance_monitor.tables import (
    alerts,
    article_topics,
    articles,
    captures,
    channels,
    contributions,
    corrections,
    crawls,
    incident_changes,
    incidents,
    journal,
    mentions,
    outbox,
    revisions,
    stories,
    windows,
)
from headwater.errors import NotFound

_DAY = timedelta(days=1)


def rows(connection: sa.Connection, query: sa.Select[Any]) -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in connection.execute(query)]


def recent_alerts(engine: sa.Engine, site: str, limit: int) -> list[dict[str, Any]]:
    """The latest alerts of a site, newest first."""
    query = (
        sa.select(alerts).where(alerts.c.site_id == site).order_by(alerts.c.created.desc(), alerts.c.id).limit(limit)
    )
    with engine.connect() as connection:
        return rows(connection, query)


def open_incidents(connection: sa.Connection, limit: int = 50, state: str = "") -> list[dict[str, Any]]:
    """Incidents, the open ones and the latest first, without the detector's memory."""
    query = sa.select(incidents).order_by(incidents.c.state.desc(), incidents.c.updated.desc()).limit(limit)
    if state:
        query = query.where(incidents.c.state == state)
    return [{k: v for k, v in row.items() if k != "memory"} for row in rows(connection, query)]


def incident(connection: sa.Connection, incident_id: str) -> dict[str, Any]:
    """An incident with its changes. Raises NotFound."""
    found = rows(connection, sa.select(incidents).where(incidents.c.id == incident_id))
    if not found:
        raise NotFound(f"no incident {incident_id!r}")
    changes = sa.select(incident_changes).where(incident_changes.c.incident_id == incident_id)
    one = {k: v for k, v in found[0].items() if k != "memory"}
    return {**one, "changes": rows(connection, changes.order_by(incident_changes.c.revision))}


def search_articles(
    connection: sa.Connection,
    *,
    text: str = "",
    company: str = "",
    topic: str = "",
    source: str = "",
    language: str = "",
    label: str = "",
    limit: int = 50,
    before: datetime | None = None,
) -> list[dict[str, Any]]:
    """Articles, newest first; `before` pages on. `label` is the company's where one is named."""
    query = sa.select(articles).order_by(articles.c.published.desc(), articles.c.id).limit(limit)
    judged = articles
    if company:
        query = query.join(mentions, mentions.c.article_id == articles.c.id).where(mentions.c.company_id == company)
        query = query.add_columns(
            mentions.c.label.label("company_label"), mentions.c.sentence, mentions.c.relevance, mentions.c.role
        )
        judged = mentions
    if topic:
        query = query.join(article_topics, article_topics.c.article_id == articles.c.id)
        query = query.where(article_topics.c.topic == topic)
    if label:
        query = query.where(judged.c.label == label)
    for column, value in ((articles.c.source_id, source), (articles.c.language, language)):
        if value:
            query = query.where(column == value)
    for word in text.split():
        query = query.where(articles.c.title.ilike(f"%{_escaped(word)}%", escape="\\"))
    if before is not None:
        query = query.where(articles.c.published < before)
    return rows(connection, query)


def _escaped(word: str) -> str:
    return word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def article(connection: sa.Connection, article_id: str) -> dict[str, Any]:
    """An article with its revisions, companies and topics. Raises NotFound."""
    found = rows(connection, sa.select(articles).where(articles.c.id == article_id))
    if not found:
        raise NotFound(f"no article {article_id!r}")
    own = revisions.c.article_id == article_id
    return {
        **found[0],
        "revisions": rows(connection, sa.select(revisions).where(own).order_by(revisions.c.number)),
        "companies": rows(connection, sa.select(mentions).where(mentions.c.article_id == article_id)),
        "topics": rows(connection, sa.select(article_topics).where(article_topics.c.article_id == article_id)),
    }


def story(connection: sa.Connection, story_id: str) -> dict[str, Any]:
    """A story with its articles in the order of time. Raises NotFound."""
    found = rows(connection, sa.select(stories).where(stories.c.id == story_id))
    if not found:
        raise NotFound(f"no story {story_id!r}")
    query = sa.select(articles).where(articles.c.story_id == story_id).order_by(articles.c.published).limit(200)
    return {**found[0], "articles": rows(connection, query)}


def movers(connection: sa.Connection, kind: str, moment: datetime, limit: int = 12) -> list[dict[str, Any]]:
    """Entities with most negative stories in the last 24 hours, with the change to the 24 hours before."""
    c = contributions.c
    last, former = (
        sa.func.sum(sa.case((sa.and_(c.label == "negative", c.moment > start, c.moment <= end), 1), else_=0))
        for start, end in ((moment - _DAY, moment), (moment - 2 * _DAY, moment - _DAY))
    )
    total = sa.func.sum(sa.case((c.moment > moment - _DAY, 1), else_=0))
    query = (
        sa.select(c.entity, last.label("negative"), former.label("before"), total.label("stories"))
        .where(c.entity_kind == kind, c.moment > moment - 2 * _DAY, c.moment <= moment)
        .group_by(c.entity)
        .order_by(last.desc(), c.entity)
        .limit(limit)
    )
    return [row for row in rows(connection, query) if row["negative"]]


def latest_moment(connection: sa.Connection) -> datetime | None:
    """When the newest article was published."""
    return connection.execute(sa.select(articles.c.published).order_by(articles.c.published.desc()).limit(1)).scalar()


def overview(connection: sa.Connection, moment: datetime) -> dict[str, Any]:
    """What is happening now: incidents, most negative companies and topics, counts of the day."""
    (day,) = trends.series(connection, "all", "all", moment, moment + timedelta(seconds=1))
    return {
        "moment": moment,
        "incidents": open_incidents(connection),
        "companies": movers(connection, "company", moment),
        "topics": movers(connection, "topic", moment),
        "today": day,
    }


def entity(
    connection: sa.Connection, kind: str, name: str, since: datetime, until: datetime, width: int
) -> dict[str, Any]:
    """The timeline of a company or topic: counts a window, its stories, its incidents."""
    c = contributions.c
    query = (
        sa.select(c.story_id, c.moment, c.label, c.weight, articles.c.title, articles.c.url, articles.c.source_id)
        .join(articles, articles.c.id == c.article_id)
        .where(c.entity_kind == kind, c.entity == name, c.moment >= since, c.moment <= until)
        .order_by(c.moment.desc())
        .limit(500)
    )
    own = sa.select(incidents).where(incidents.c.entity_kind == kind, incidents.c.entity == name)
    found = rows(connection, own.order_by(incidents.c.opened.desc()).limit(50))
    return {
        "series": trends.series(connection, kind, name, since, until, width),
        "stories": rows(connection, query),
        "incidents": [{k: v for k, v in row.items() if k != "memory"} for row in found],
    }


def active_companies(connection: sa.Connection, since: datetime, limit: int = 2_000) -> list[dict[str, Any]]:
    """Companies with stories since then, with how many, most first."""
    query = (
        sa.select(windows.c.entity, sa.func.sum(windows.c.stories).label("stories"))
        .where(windows.c.entity_kind == "company", windows.c.width == trends.DAY, windows.c.start >= since)
        .group_by(windows.c.entity)
        .order_by(sa.func.sum(windows.c.stories).desc(), windows.c.entity)
        .limit(limit)
    )
    return rows(connection, query)


def source_health(connection: sa.Connection, ids: Sequence[str], moment: datetime) -> dict[str, dict[str, Any]]:
    """For each source its last crawl and what the last 7 days brought: new captures, share of 304, errors."""
    health: dict[str, dict[str, Any]] = {}
    for source_id in ids:
        query = sa.select(crawls).where(crawls.c.source_id == source_id).order_by(crawls.c.started.desc()).limit(50)
        found = [row for row in rows(connection, query) if row["started"] > moment - 7 * _DAY]
        figures = [row["figures"] for row in found]
        requests = sum(f.get("requests", 0) for f in figures)
        unchanged = sum(f.get("not_modified", 0) for f in figures)
        health[source_id] = {
            "last": found[0] if found else None,
            "crawls": len(found),
            "new": sum(f.get("new", 0) for f in figures),
            "errors": sum(f.get("errors", 0) for f in figures),
            "not_modified_share": round(unchanged / requests, 3) if requests else 0.0,
        }
    return health


def backlog(connection: sa.Connection) -> dict[str, int]:
    """Captures in all, those in the journal, and articles: what is left to do while a history comes in."""

    def count(table: sa.Table, *where: sa.ColumnElement[bool]) -> int:
        return int(connection.execute(sa.select(sa.func.count()).select_from(table).where(*where)).scalar() or 0)

    return {
        "captures": count(captures),
        "taken_up": count(journal, journal.c.capture_id.is_not(None)),
        "articles": count(articles),
    }


def channel_states(connection: sa.Connection, site: str) -> list[dict[str, Any]]:
    """Channels with their last outcome; options hold names of secrets, never secrets."""
    return rows(connection, sa.select(channels).where(channels.c.site_id == site).order_by(channels.c.name))


def outbox_rows(connection: sa.Connection, site: str, limit: int = 100) -> list[dict[str, Any]]:
    """The latest messages with their states."""
    c = outbox.c
    query = sa.select(c.key, c.incident_id, c.channel, c.revision, c.state, c.attempts, c.due, c.reason, c.created)
    return rows(connection, query.where(c.site_id == site).order_by(c.created.desc()).limit(limit))


def to_label(connection: sa.Connection, limit: int = 20) -> list[dict[str, Any]]:
    """Mentions that the model is least sure of, not corrected yet, at most a few a source: what to label next."""
    best = sa.case(
        (
            sa.and_(mentions.c.positive >= mentions.c.neutral, mentions.c.positive >= mentions.c.negative),
            mentions.c.positive,
        ),
        (mentions.c.negative >= mentions.c.neutral, mentions.c.negative),
        else_=mentions.c.neutral,
    )
    done = sa.select(corrections.c.article_id)
    query = (
        sa.select(mentions, articles.c.title, articles.c.source_id, articles.c.language, articles.c.url)
        .join(articles, articles.c.id == mentions.c.article_id)
        .where(articles.c.id.not_in(done), best < 0.75)
        .order_by(mentions.c.published.desc())
        .limit(1_000)
    )

    def sureness(row: dict[str, Any]) -> float:
        return max(row["positive"], row["neutral"], row["negative"])

    chosen: list[dict[str, Any]] = []
    taken: dict[str, int] = {}
    for row in sorted(rows(connection, query), key=lambda row: (sureness(row), row["article_id"])):
        if taken.get(row["source_id"], 0) < max(2, limit // 4):
            taken[row["source_id"]] = taken.get(row["source_id"], 0) + 1
            chosen.append(row)
    return chosen[:limit]
