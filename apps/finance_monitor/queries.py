"""What the API and the command line read; every answer is limited and comes from an index."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from finance_monitor import trends
from finance_monitor.subscriptions import SEVERITIES
from finance_monitor.tables import (
    acknowledgements,
    alerts,
    article_topics,
    articles,
    captures,
    channels,
    contributions,
    incident_changes,
    incidents,
    journal,
    mentions,
    outbox,
    progress,
    revisions,
    stories,
    windows,
)
from headwater.errors import NotFound

_DAY = timedelta(days=1)
# How many articles a search looks at between two looks at the clock, and how long it looks.
_STRETCH = 20_000
_SEARCH_SECONDS = 0.5
# Greater than every id: those are hexadecimal.
_LAST_ID = "g"


def rows(connection: sa.Connection, query: sa.Select[Any]) -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in connection.execute(query)]


def recent_alerts(engine: sa.Engine, site: str, limit: int) -> list[dict[str, Any]]:
    """The latest alerts of a site, newest first; one that tells of an end has the `peak` of its incident."""
    query = (
        sa.select(alerts).where(alerts.c.site_id == site).order_by(alerts.c.created.desc(), alerts.c.id).limit(limit)
    )
    with engine.connect() as connection:
        found = rows(connection, query)
        ended = {row["incident_id"] for row in found if row["content"]["change"] == "closed"}
        worst = _worst_changes(connection, sorted(ended))
    return [{**row, "peak": worst.get(row["incident_id"])} for row in found]


def open_incidents(connection: sa.Connection, limit: int = 50, state: str = "") -> list[dict[str, Any]]:
    """Incidents, the open ones and the latest first, without the detector's memory."""
    query = sa.select(incidents).order_by(incidents.c.state.desc(), incidents.c.updated.desc()).limit(limit)
    if state:
        query = query.where(incidents.c.state == state)
    return with_peaks(connection, [{k: v for k, v in row.items() if k != "memory"} for row in rows(connection, query)])


def incident(connection: sa.Connection, incident_id: str) -> dict[str, Any]:
    """An incident with its changes. Raises NotFound."""
    found = rows(connection, sa.select(incidents).where(incidents.c.id == incident_id))
    if not found:
        raise NotFound(f"no incident {incident_id!r}")
    changes = sa.select(incident_changes).where(incident_changes.c.incident_id == incident_id)
    (one,) = with_peaks(connection, [{k: v for k, v in found[0].items() if k != "memory"}])
    return {**one, "changes": rows(connection, changes.order_by(incident_changes.c.revision))}


@dataclass(frozen=True)
class Filters:
    """What to search articles for; empty fields take everything. `text`: words of the title, all of them."""

    text: str = ""
    company: str = ""
    topic: str = ""
    source: str = ""
    language: str = ""
    label: str = ""
    since: datetime | None = None


# A place in the order newest first: what follows it was published before, or at that moment under a greater id.
Cursor = tuple[datetime, str]


def search_articles(
    connection: sa.Connection, wanted: Filters, *, limit: int = 50, after: Cursor | None = None
) -> tuple[list[dict[str, Any]], Cursor | None]:
    """Articles, newest first, and where to go on (None: nothing is left). With a company its own judgement comes along.

    Rare words are looked for in stretches of time until `limit` are found or half a second is over, so that a search
    among millions answers at once; it goes on from the cursor, also when nothing has been found so far.
    """
    query, at, identity = _articles_query(wanted)
    deadline = time.monotonic() + _SEARCH_SECONDS
    found: list[dict[str, Any]] = []
    while True:
        edge = connection.execute(_edge(wanted, after)).scalar()
        part = query if after is None else query.where(_follows(at, identity, after))
        part = part if edge is None else part.where(at >= edge)
        found += rows(connection, part.order_by(at.desc(), identity).limit(limit + 1 - len(found)))
        if len(found) > limit:
            return found[:limit], (found[limit - 1]["published"], found[limit - 1]["id"])
        if edge is None:
            return found, None
        after = (edge, _LAST_ID)
        if time.monotonic() > deadline:
            return found, after


def all_articles(connection: sa.Connection, wanted: Filters, most: int) -> Iterator[dict[str, Any]]:
    """What `search_articles` finds, to its end or until there are `most`."""
    after: Cursor | None = None
    while most > 0:
        found, after = search_articles(connection, wanted, limit=min(most, 1_000), after=after)
        yield from found
        most -= len(found)
        if after is None:
            return


def _driver(wanted: Filters) -> tuple[sa.Table, sa.ColumnElement[str], list[sa.ColumnElement[bool]]]:
    """The table whose index by time is walked, its article id, and what its index narrows down."""
    if wanted.company:
        return mentions, mentions.c.article_id, [mentions.c.company_id == wanted.company]
    if wanted.topic:
        return article_topics, article_topics.c.article_id, [article_topics.c.topic == wanted.topic]
    return articles, articles.c.id, [articles.c.source_id == wanted.source] if wanted.source else []


def _articles_query(wanted: Filters) -> tuple[sa.Select[Any], sa.ColumnElement[datetime], sa.ColumnElement[str]]:
    driver, identity, narrowed = _driver(wanted)
    query = sa.select(articles).where(*narrowed)
    if driver is not articles:
        query = query.select_from(driver).join(articles, articles.c.id == identity)
    if wanted.company:
        m = mentions.c
        judged = (m.label, m.positive, m.neutral, m.negative)
        query = query.add_columns(m.sentence, m.relevance, m.role, *(c.label(f"company_{c.name}") for c in judged))
        if wanted.topic:
            query = query.join(article_topics, article_topics.c.article_id == articles.c.id)
            query = query.where(article_topics.c.topic == wanted.topic)
    if wanted.label:
        # "unsure" is where the model abstains.
        label = (mentions if wanted.company else articles).c.label
        query = query.where(label == ("" if wanted.label == "unsure" else wanted.label))
    if wanted.source:
        query = query.where(articles.c.source_id == wanted.source)
    if wanted.language:
        query = query.where(articles.c.language == wanted.language)
    for word in wanted.text.split():
        query = query.where(articles.c.title.ilike(f"%{_escaped(word)}%", escape="\\"))
    if wanted.since is not None:
        query = query.where(driver.c.published >= wanted.since)
    return query, driver.c.published, identity


def _edge(wanted: Filters, after: Cursor | None) -> sa.Select[Any]:
    """Where the next stretch ends, read from the index alone; nothing when fewer articles are left."""
    driver, _, narrowed = _driver(wanted)
    at = driver.c.published
    query = sa.select(at).where(*narrowed)
    if after is not None:
        # The last one counted may be of the very moment: strictly before, so that each stretch gets on.
        query = query.where(at < after[0])
    if wanted.since is not None:
        query = query.where(at >= wanted.since)
    return query.order_by(at.desc()).limit(1).offset(_STRETCH)


def _follows(at: sa.ColumnElement[datetime], identity: sa.ColumnElement[str], after: Cursor) -> sa.ColumnElement[bool]:
    moment, last = after
    return sa.and_(at <= moment, sa.or_(at < moment, identity > last))


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
    """Entities with most negative stories in the last 24 hours, with the change to the 24 hours before.

    Read from the windows of 15 minutes, so that a day among years of articles is a few thousand rows.
    """
    c = windows.c
    query = (
        sa.select(c.entity, *_two_days(moment))
        .where(c.width == trends.QUARTER, c.start >= moment - 2 * _DAY, c.start <= moment, c.entity_kind == kind)
        .group_by(c.entity)
        .order_by(sa.literal_column("negative").desc(), sa.literal_column("before"), c.entity)
        .limit(limit)
    )
    return [row for row in rows(connection, query) if row["negative"]]


def _two_days(moment: datetime) -> list[sa.ColumnElement[Any]]:
    """Negative stories and stories of the last 24 hours and of the 24 hours before."""
    c = windows.c
    last, former = c.start > moment - _DAY, c.start <= moment - _DAY
    sums = {"negative": (c.negative, last), "before": (c.negative, former)}
    sums |= {"stories": (c.stories, last), "stories_before": (c.stories, former)}
    return [
        sa.func.coalesce(sa.func.sum(sa.case((when, column), else_=0)), 0).label(name)
        for name, (column, when) in sums.items()
    ]


def by_source_kind(connection: sa.Connection, moment: datetime) -> list[dict[str, Any]]:
    """Stories of the last 24 hours by kind of source, with those of the 24 hours before."""
    c = windows.c
    query = (
        sa.select(c.source_kind, *_two_days(moment))
        .where(c.width == trends.QUARTER, c.start >= moment - 2 * _DAY, c.start <= moment, c.entity_kind == "all")
        .group_by(c.source_kind)
        .order_by(c.source_kind)
    )
    return rows(connection, query)


def overview(connection: sa.Connection, site: str, moment: datetime) -> dict[str, Any]:
    """What is happening now: incidents, most negative companies and topics, counts of the day."""
    kinds = by_source_kind(connection, moment)
    return {
        "moment": moment,
        "incidents": with_acknowledgements(connection, site, open_incidents(connection)),
        "companies": movers(connection, "company", moment),
        "topics": movers(connection, "topic", moment),
        "source_kinds": kinds,
        "day": {name: sum(row[name] for row in kinds) for name in ("negative", "before", "stories", "stories_before")},
        "backlog": backlog(connection),
    }


def with_peaks(connection: sa.Connection, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Incidents with `peak`: of a closed one, whose own reason says that it is over, {moment, severity, reason} of the
    change with the highest severity and score; None of an open one."""
    worst = _worst_changes(connection, [row["id"] for row in found if row["state"] == "closed"])
    return [{**row, "peak": worst.get(row["id"])} for row in found]


def _worst_changes(connection: sa.Connection, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    c = incident_changes.c
    query = sa.select(c.incident_id, c.moment, c.severity, c.reason).order_by(c.revision)
    worst: dict[str, dict[str, Any]] = {}
    for row in rows(connection, query.where(c.incident_id.in_(ids), c.change != "closed")):
        identity = row.pop("incident_id")
        if identity not in worst or _badness(row) >= _badness(worst[identity]):
            worst[identity] = row
    return worst


def _badness(change: dict[str, Any]) -> tuple[int, float]:
    return SEVERITIES.index(change["severity"]), change["reason"].get("score") or 0.0


def with_acknowledgements(connection: sa.Connection, site: str, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Incidents with `acknowledged`: who took care last, why and when; None where nobody has."""
    c = acknowledgements.c
    query = (
        sa.select(c.incident_id, c.actor, c.reason, c.severity, c.moment)
        .where(c.site_id == site, c.incident_id.in_([row["id"] for row in found]))
        .order_by(c.moment)
    )
    latest = {row["incident_id"]: row for row in rows(connection, query)}
    return [{**row, "acknowledged": latest.get(row["id"])} for row in found]


def entity(
    connection: sa.Connection,
    kind: str,
    name: str,
    since: datetime,
    until: datetime,
    width: int,
    source_kind: str = "",
) -> dict[str, Any]:
    """The timeline of a company or topic: counts a window, its latest stories, its incidents."""
    c = contributions.c
    query = (
        sa.select(c.story_id, c.moment, c.label, c.weight, articles.c.title, articles.c.url, articles.c.source_id)
        .join(articles, articles.c.id == c.article_id)
        .where(c.entity_kind == kind, c.entity == name, c.moment >= since, c.moment <= until)
        .order_by(c.moment.desc())
        .limit(500)
    )
    if source_kind:
        query = query.where(c.source_kind == source_kind)
    return {
        "series": trends.series(connection, kind, name, since, until, width, source_kind),
        "stories": rows(connection, query),
        "incidents": incidents_of(connection, kind, name),
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


def company(connection: sa.Connection, company_id: str, since: datetime, until: datetime) -> dict[str, Any]:
    """A company's days, incidents and topics in that time, and its latest articles with sentence and probabilities."""
    m = mentions.c
    recent = (
        sa.select(m.article_id, m.label)
        .where(m.company_id == company_id, m.published >= since, m.published <= until)
        .order_by(m.published.desc())
        .limit(2_000)
        .subquery()
    )
    negative = sa.func.sum(sa.case((recent.c.label == "negative", 1), else_=0)).label("negative")
    topics = (
        sa.select(article_topics.c.topic, sa.func.count().label("articles"), negative)
        .join(recent, recent.c.article_id == article_topics.c.article_id)
        .group_by(article_topics.c.topic)
        .order_by(sa.func.count().desc(), article_topics.c.topic)
        .limit(12)
    )
    latest, _ = search_articles(connection, Filters(company=company_id, since=since), limit=50)
    return {
        "series": trends.series(connection, "company", company_id, since, until),
        "articles": latest,
        "incidents": incidents_of(connection, "company", company_id),
        "topics": rows(connection, topics),
    }


def incidents_of(connection: sa.Connection, kind: str, name: str, limit: int = 50) -> list[dict[str, Any]]:
    """The incidents of a company or topic, the latest first."""
    own = sa.select(incidents).where(incidents.c.entity_kind == kind, incidents.c.entity == name)
    found = rows(connection, own.order_by(incidents.c.opened.desc()).limit(limit))
    return with_peaks(connection, [{k: v for k, v in row.items() if k != "memory"} for row in found])


def backlog(connection: sa.Connection) -> dict[str, int]:
    """Captures in all, those taken up and those judged, and articles: what is left to do while a history comes in."""

    def one(query: sa.Select[Any]) -> int:
        return int(connection.execute(query).scalar() or 0)

    done = one(sa.select(progress.c.sequence).where(progress.c.name == "pipeline"))
    entries = sa.select(sa.func.count()).select_from(journal).where(journal.c.capture_id.is_not(None))
    taken_up = one(entries)
    c = windows.c
    total = sa.select(sa.func.sum(c.articles)).where(c.entity_kind == "all", c.entity == "all", c.width == trends.DAY)
    return {
        "captures": one(sa.select(sa.func.count()).select_from(captures)),
        "taken_up": taken_up,
        "judged": taken_up - one(entries.where(journal.c.sequence > done)),
        "articles": one(total),
    }


def channel_states(connection: sa.Connection, site: str) -> list[dict[str, Any]]:
    """Channels with their last outcome; options hold names of secrets, never secrets."""
    return rows(connection, sa.select(channels).where(channels.c.site_id == site).order_by(channels.c.name))


def outbox_rows(connection: sa.Connection, site: str, limit: int = 100) -> list[dict[str, Any]]:
    """The latest messages with their states."""
    c = outbox.c
    query = sa.select(c.key, c.incident_id, c.channel, c.revision, c.state, c.attempts, c.due, c.reason, c.created)
    return rows(connection, query.where(c.site_id == site).order_by(c.created.desc()).limit(limit))


def outbox_summary(connection: sa.Connection, site: str) -> list[dict[str, Any]]:
    """How many messages of each channel are in which state."""
    c = outbox.c
    query = sa.select(c.channel, c.state, sa.func.count().label("messages")).where(c.site_id == site)
    return rows(connection, query.group_by(c.channel, c.state).order_by(c.channel, c.state))
