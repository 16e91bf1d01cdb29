"""What to label next, the labels that people corrected, and these as examples for the next tuning."""

import csv
import io
from typing import Any

import sqlalchemy as sa

from finance_monitor.companies import Gazetteer
from finance_monitor.domain import SENTIMENTS
from finance_monitor.exports import defused
from finance_monitor.marking import mark, mark_names
from finance_monitor.queries import rows
from finance_monitor.tables import articles, corrections, mentions, revisions
from headwater.errors import HeadwaterError

FIELDS = ("sentiment", "topics")
_MOST = 100_000
_LEAD = 300
_HEAD = ("text", "label", "language", "article_id", "company_id", "actor", "moment")


def to_label(connection: sa.Connection, site: str, limit: int = 20, language: str = "") -> list[dict[str, Any]]:
    """What to label next: mentions of the latest 4,000 articles that the model is least sure of and that nobody has
    corrected, in turn by source and language, so that no source has all the places."""
    recent = sa.select(articles).order_by(articles.c.published.desc()).limit(4_000)
    if language:
        recent = recent.where(articles.c.language == language)
    latest = recent.subquery()
    c = corrections.c
    corrected = sa.exists().where(
        c.article_id == mentions.c.article_id,
        c.company_id == mentions.c.company_id,
        c.site_id == site,
        c.field == "sentiment",
    )
    query = (
        sa.select(mentions, latest.c.title, latest.c.story_id, latest.c.source_id, latest.c.language, latest.c.url)
        .join(latest, latest.c.id == mentions.c.article_id)
        .where(~corrected, *(mentions.c[name] < 0.75 for name in SENTIMENTS))
    )

    def unsureness(row: dict[str, Any]) -> tuple[float, str]:
        return max(row[name] for name in SENTIMENTS), row["article_id"]

    found = sorted(rows(connection, query), key=unsureness)
    places: dict[tuple[str, str], int] = {}
    ranked = []
    # A reprint teaches nothing new.
    single = {(row["story_id"], row["company_id"]): row for row in reversed(found)}
    for row in sorted(single.values(), key=unsureness):
        group = (row["source_id"], row["language"])
        places[group] = places.get(group, 0) + 1
        ranked.append((places[group], row))
    # The first of each source, then the second of each; within a round the least sure first.
    return [row for _, row in sorted(ranked, key=lambda pair: pair[0])[:limit]]


def corrections_made(connection: sa.Connection, site: str, limit: int = 200) -> list[dict[str, Any]]:
    """What people corrected, the latest first, with what the model had said."""
    query = (
        sa.select(
            corrections,
            articles.c.title,
            articles.c.language,
            articles.c.published,
            articles.c.label.label("article_label"),
            mentions.c.name,
            mentions.c.sentence,
            mentions.c.label.label("company_label"),
        )
        .join(articles, articles.c.id == corrections.c.article_id)
        .outerjoin(mentions, _of_company())
        .where(corrections.c.site_id == site)
        .order_by(corrections.c.id.desc())
        .limit(limit)
    )
    return rows(connection, query)


def check_value(field: str, value: str, company_id: str, topics: frozenset[str]) -> None:
    """Raises HeadwaterError for a label that the model of that field does not have."""
    if field not in FIELDS:
        raise HeadwaterError(f"field: one of {', '.join(FIELDS)}, found {field!r}")
    if field == "sentiment":
        if value not in SENTIMENTS:
            raise HeadwaterError(f"value: one of {', '.join(SENTIMENTS)}, found {value!r}")
        return
    if company_id:
        raise HeadwaterError("topics are those of the whole text; leave company_id empty")
    unknown = [topic for topic in value.split("|") if topic and topic not in topics]
    if unknown:
        raise HeadwaterError(f"value: no topic {unknown[0]!r}; there are: {', '.join(sorted(topics))}")


def training_csv(connection: sa.Connection, site: str, field: str, gazetteer: Gazetteer) -> bytes:
    """The corrections as a CSV for `headwater tune classify`: texts as the model reads them, the last word of each."""
    query = (
        sa.select(
            corrections,
            articles.c.language,
            articles.c.published,
            revisions.c.title,
            sa.func.substr(revisions.c.text, 1, _LEAD).label("lead"),
            mentions.c.name,
            mentions.c.sentence,
        )
        .join(articles, articles.c.id == corrections.c.article_id)
        .join(revisions, sa.and_(revisions.c.article_id == articles.c.id, revisions.c.number == articles.c.revision))
        .outerjoin(mentions, _of_company())
        .where(corrections.c.site_id == site, corrections.c.field == field)
        .order_by(corrections.c.id)
        .limit(_MOST)
    )
    last = {(row.article_id, row.company_id): row for row in connection.execute(query)}
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(_HEAD)
    for row in last.values():
        if row.company_id and not row.sentence:
            continue  # a later revision does not name the company any more
        text = _topic_text(row) if field == "topics" else _sentiment_text(row, gazetteer)
        kept = (text, row.value or "other", row.language, row.article_id, row.company_id, row.actor)
        writer.writerow([*(defused(value) for value in kept), row.moment.isoformat()])
    return buffer.getvalue().encode("utf-8")


def _topic_text(row: Any) -> str:
    return f"{row.title}. {row.lead}"


def _sentiment_text(row: Any, gazetteer: Gazetteer) -> str:
    if not row.company_id:
        return str(row.title)
    found = gazetteer.mentions(row.sentence, "", row.published)
    own = [span for mention in found if mention.company_id == row.company_id for span in mention.spans]
    if not own:
        return mark_names(row.sentence, row.name, (), row.language)
    others = [span for mention in found if mention.company_id != row.company_id for span in mention.spans]
    return mark(row.sentence, own, others, row.language)


def _of_company() -> sa.ColumnElement[bool]:
    return sa.and_(mentions.c.article_id == corrections.c.article_id, mentions.c.company_id == corrections.c.company_id)
