"""The finance monitor over HTTP, under /finance/v1."""

import io
import json
from collections import deque
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi import Path as PathParameter
from fastapi.responses import Response
from pydantic import BaseModel, Field

from finance_monitor import (
    alerting,
    api_rules,
    calendars,
    exports,
    labelling,
    privacy,
    queries,
    trends,
)
from finance_monitor.models import ENCODERS, SENTIMENT, TOPICS
from finance_monitor.monitor import VISIBLE, Admin, Analyst, Id, Limit, Monitor, Viewer, Word, clamped, utc
from finance_monitor.scoring import score_texts
from finance_monitor.setup import world_folder
from finance_monitor.tables import corrections
from finance_monitor.wording import topic_keys, topic_name
from headwater.errors import HeadwaterError, NotFound
from headwater.storage.columns import now
from headwater.web import AllowedJob, Context

_EXAMPLES = {f"{field}.csv": field for field in labelling.FIELDS}
# Articles that an export holds at most.
_EXPORTED = 10_000
# Companies without stories that a list names at most.
_SILENT = 5_000
_CSV = "text/csv; charset=utf-8"
_SHEET = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


class Texts(BaseModel):
    """Texts of your own; the first line of each counts as its title."""

    texts: list[Annotated[str, Field(max_length=20_000)]] = Field(min_length=1, max_length=100)


class Reason(BaseModel):
    reason: str = Field(max_length=2_000)


class CorrectionBody(BaseModel):
    """A better label: `company_id` empty for the text as a whole; `value` a sentiment, or topics divided by |."""

    article_id: str = Field(max_length=32, pattern=VISIBLE)
    company_id: str = Field("", max_length=64, pattern=VISIBLE)
    field: str = "sentiment"
    value: str = Field(max_length=400, pattern=VISIBLE)


def build_router(context: Context) -> APIRouter:
    """The app's routes; nothing is loaded before it is asked for."""
    monitor = Monitor(context)
    context.allowed_jobs.append(AllowedJob(("finance", "crawl"), "editor"))
    context.allowed_jobs.append(AllowedJob(("finance", "tune"), "editor", heavy=True))
    router = APIRouter(prefix="/finance/v1", tags=["finance"])
    _reading_routes(router, monitor)
    _entity_routes(router, monitor)
    _session_routes(router, monitor)
    _incident_routes(router, monitor)
    _export_routes(router, monitor)
    api_rules.add_routes(router, monitor)
    _label_routes(router, monitor)
    _house_routes(router, monitor)
    return router


def _reading_routes(router: APIRouter, monitor: Monitor) -> None:
    @router.get("/overview")
    def overview(user: Viewer) -> dict[str, Any]:
        """What is happening now."""
        gazetteer = monitor.gazetteer()
        with monitor.engine.connect() as connection:
            found = queries.overview(connection, monitor.site, now())
        for row in found["companies"]:
            row["name"] = gazetteer.name_of(row["entity"])
        return found

    @router.get("/articles")
    def articles(
        user: Viewer,
        text: Word = "",
        company: Word = "",
        topic: Word = "",
        source: Word = "",
        language: Word = "",
        label: Word = "",
        since: datetime | None = None,
        limit: Limit = 50,
        before: datetime | None = None,
        before_id: Word = "",
    ) -> dict[str, Any]:
        """{articles, next}: articles, newest first; `next` holds the `before` and `before_id` to go on with, or null.

        `label` is positive, neutral, negative or unsure, and the company's own where one is named. `text` are words of
        the title. A search among many articles may stop early; with `next` it goes on.
        """
        wanted = queries.Filters(text, company, topic, source, language, label, utc(since))
        after = (clamped(before), before_id) if before is not None else None
        with monitor.engine.connect() as connection:
            found, cursor = queries.search_articles(connection, wanted, limit=limit, after=after)
        following = {"before": cursor[0], "before_id": cursor[1]} if cursor else None
        return {"articles": found, "next": following}

    @router.get("/articles/{article_id}")
    def article(article_id: Id, user: Viewer) -> dict[str, Any]:
        with monitor.engine.connect() as connection:
            return queries.article(connection, article_id)

    @router.get("/stories/{story_id}")
    def story(story_id: Id, user: Viewer) -> dict[str, Any]:
        with monitor.engine.connect() as connection:
            return queries.story(connection, story_id)


def _session_routes(router: APIRouter, monitor: Monitor) -> None:
    @router.get("/trends/sessions")
    def sessions(
        user: Viewer,
        entity_kind: Annotated[str, Query(pattern="^(company|topic|all)$")],
        entity: Word,
        market: Word = "",
        since: datetime | None = None,
        until: datetime | None = None,
        source_kind: Annotated[str, Query(pattern="^(news|comment|filing|)$")] = "",
    ) -> dict[str, Any]:
        """Counts by market session and by the time between; of the company's own exchange unless `market` is given."""
        end = utc(until) or now()
        start = utc(since) or end - timedelta(days=30)
        if not timedelta() < end - start <= timedelta(days=1100):
            raise HeadwaterError(f"{start:%Y-%m-%d} to {end:%Y-%m-%d} must be a time of at most 1,100 days")
        company = monitor.gazetteer().by_id.get(entity) if entity_kind == "company" else None
        name = calendars.market_of(market or (company.exchange if company else ""))
        with monitor.engine.connect() as connection:
            bounds = calendars.session_windows(name, start, end)
            found = trends.in_windows(connection, entity_kind, entity, bounds, source_kind)
        return {"market": name, "windows": found}


def _entity_routes(router: APIRouter, monitor: Monitor) -> None:
    @router.get("/companies")
    def companies(
        user: Viewer, days: Annotated[int, Query(ge=1, le=366)] = 60, silent: bool = False
    ) -> list[dict[str, Any]]:
        """Companies with stories, most first; with `silent` those without stories after them."""
        gazetteer = monitor.gazetteer()
        with monitor.engine.connect() as connection:
            found = queries.active_companies(connection, now() - timedelta(days=days))
        if silent:
            spoken = {row["entity"] for row in found}
            found += [{"entity": key, "stories": 0} for key in gazetteer.by_id if key not in spoken][:_SILENT]
        return [{**row, "name": gazetteer.name_of(row["entity"])} for row in found]

    @router.get("/companies/{company_id}")
    def company(company_id: Id, user: Viewer, days: Annotated[int, Query(ge=1, le=3650)] = 60) -> dict[str, Any]:
        """Who it is, its days, topics, incidents, and its latest articles with sentence and probabilities."""
        until = now()
        with monitor.engine.connect() as connection:
            found = queries.company(connection, company_id, until - timedelta(days=days), until)
        known = monitor.gazetteer().by_id.get(company_id)
        if known is None and not found["articles"] and not found["incidents"]:
            raise NotFound(f"there is no company {company_id!r}; GET /finance/v1/companies?silent=true lists them")
        who = {} if known is None else asdict(known)
        return {"id": company_id, "name": company_id, **who, **found}

    @router.get("/topics")
    def topics(user: Viewer) -> list[dict[str, str]]:
        """The event types that a text can report."""
        return [{"topic": t, "en": topic_name(t, "en"), "zh": topic_name(t, "zh")} for t in topic_keys()]

    @router.get("/trends")
    def trend(
        user: Viewer,
        entity_kind: Annotated[str, Query(pattern="^(company|topic|all)$")],
        entity: Word,
        since: datetime | None = None,
        until: datetime | None = None,
        width: Annotated[int, Query(ge=900, le=30 * trends.DAY)] = trends.DAY,
        source_kind: Annotated[str, Query(pattern="^(news|comment|filing|)$")] = "",
    ) -> dict[str, Any]:
        """The timeline of an entity: counts a window, stories, incidents."""
        end = utc(until) or now()
        start = utc(since) or end - timedelta(days=60)
        if width % trends.QUARTER or (end - start).total_seconds() / width > 5_000:
            raise HeadwaterError(f"width {width} must be a multiple of 900 seconds that gives at most 5,000 windows")
        with monitor.engine.connect() as connection:
            found = queries.entity(connection, entity_kind, entity, start, end, width, source_kind)
        company = monitor.gazetteer().by_id.get(entity) if entity_kind == "company" else None
        return {
            **found,
            "until": end,
            "name": company.name if company else entity,
            "ticker": company.ticker if company else "",
        }

    @router.post("/score")
    def score(body: Texts, user: Analyst) -> list[dict[str, Any]]:
        """Sentiment, companies and topics of your own texts."""
        return score_texts(body.texts, monitor.models(), monitor.gazetteer())


def _incident_routes(router: APIRouter, monitor: Monitor) -> None:
    @router.get("/incidents")
    def incidents(user: Viewer, state: Word = "", limit: Limit = 50) -> list[dict[str, Any]]:
        """Open ones first, then the latest; with who acknowledged them."""
        with monitor.engine.connect() as connection:
            found = queries.open_incidents(connection, limit, state)
            return queries.with_acknowledgements(connection, monitor.site, found)

    @router.get("/incidents/{incident_id}")
    def incident(incident_id: Id, user: Viewer) -> dict[str, Any]:
        with monitor.engine.connect() as connection:
            (found,) = queries.with_acknowledgements(
                connection, monitor.site, [queries.incident(connection, incident_id)]
            )
        return found

    @router.post("/incidents/{incident_id}/acknowledgement", status_code=204)
    def acknowledge(incident_id: Id, body: Reason, user: Analyst) -> None:
        """Say that you take care of it: escalation ends, and so do messages of growth until severity rises."""
        with monitor.engine.begin() as connection:
            alerting.acknowledge(
                connection, monitor.site, incident_id, actor=user.name, reason=body.reason, moment=now()
            )

    @router.get("/alerts")
    def alerts(user: Viewer, limit: Limit = 50) -> list[dict[str, Any]]:
        """What the rules raised, newest first, with why it was held back where it was."""
        return queries.recent_alerts(monitor.engine, monitor.site, limit)

    @router.get("/inbox")
    def inbox(user: Viewer, limit: Limit = 50) -> list[dict[str, Any]]:
        """What was delivered to the sample world's inbox on this machine, newest first; nothing without the world."""
        path = world_folder(monitor.settings) / "inbox.jsonl"
        if not path.is_file():
            return []
        with path.open(encoding="utf-8") as lines:
            newest = list(deque(lines, maxlen=limit))
        # The last line may be half written.
        return [json.loads(line) for line in reversed(newest) if line.endswith("\n")]


def _export_routes(router: APIRouter, monitor: Monitor) -> None:
    @router.get("/exports/articles.{kind}")
    def export_articles(
        kind: Annotated[str, PathParameter(pattern="^(csv|xlsx)$")],
        user: Viewer,
        text: Word = "",
        company: Word = "",
        topic: Word = "",
        source: Word = "",
        language: Word = "",
        label: Word = "",
        days: Annotated[int | None, Query(ge=1, le=3650)] = None,
    ) -> Response:
        """articles.csv, articles.xlsx: what the same search finds, newest first, at most 10,000."""
        since = now() - timedelta(days=days) if days else None
        wanted = queries.Filters(text, company, topic, source, language, label, since)
        with monitor.engine.connect() as connection:
            found = queries.all_articles(connection, wanted, _EXPORTED)
            return _sheet(exports.article_table(found, company=bool(company)), kind)

    @router.get("/exports/{name}")
    def export(name: Id, user: Viewer, days: Annotated[int, Query(ge=1, le=3650)] = 90) -> Response:
        """alerts.csv, alerts.xlsx, incidents.csv, incidents.xlsx, and sentiment.csv and topics.csv: corrections as
        examples for `headwater tune classify`."""
        if name in _EXAMPLES:
            with monitor.engine.connect() as connection:
                content = labelling.training_csv(connection, monitor.site, _EXAMPLES[name], monitor.gazetteer())
            return _file(name, content, _CSV)
        what, _, kind = name.partition(".")
        if what not in ("alerts", "incidents") or kind not in ("csv", "xlsx"):
            raise NotFound(
                f"there is no export {name!r}; there are: alerts, incidents and articles as .csv and .xlsx, and "
                f"{', '.join(_EXAMPLES)}"
            )
        until = now()
        since = until - timedelta(days=days)
        with monitor.engine.connect() as connection:
            if what == "alerts":
                table = exports.alert_table(connection, monitor.site, since, until)
            else:
                table = exports.incident_table(connection, since, until)
            return _sheet(table, kind)


def _label_routes(router: APIRouter, monitor: Monitor) -> None:
    @router.get("/to-label")
    def to_label(user: Viewer, limit: Limit = 20, language: Word = "") -> list[dict[str, Any]]:
        """What the model is least sure of, from all sources and languages in turn."""
        with monitor.engine.connect() as connection:
            return labelling.to_label(connection, monitor.site, limit, language)

    @router.get("/corrections")
    def made(user: Viewer, limit: Limit = 100) -> list[dict[str, Any]]:
        """Labels that people gave, the latest first, beside the model's."""
        with monitor.engine.connect() as connection:
            return labelling.corrections_made(connection, monitor.site, limit)

    @router.post("/corrections", status_code=201)
    def correct(body: CorrectionBody, user: Analyst) -> dict[str, str]:
        """Keep a better label for the next tuning."""
        labelling.check_value(body.field, body.value, body.company_id, frozenset(topic_keys()))
        with monitor.engine.begin() as connection:
            found = queries.article(connection, body.article_id)
            if body.company_id and body.company_id not in {row["company_id"] for row in found["companies"]}:
                raise HeadwaterError(f"company_id: the article does not name {body.company_id!r}")
            connection.execute(
                corrections.insert().values(site_id=monitor.site, actor=user.name, moment=now(), **body.model_dump())
            )
        return {"article_id": body.article_id}


def _house_routes(router: APIRouter, monitor: Monitor) -> None:
    @router.get("/models")
    def models(user: Viewer) -> list[dict[str, Any]]:
        """The models in use and their candidates; `production` is null for what is not prepared."""
        registry = monitor.context.registry
        cards = []
        for use, names in (("encoder", ENCODERS), ("sentiment", SENTIMENT), ("topics", TOPICS)):
            for language, name in names.items():
                version = registry.production(name)
                card = {"name": name, "use": use, "language": language, "production": version and version.version}
                if version is not None:
                    card["metrics"] = json.loads(registry.open(version).manifest.to_text()).get("metrics")
                cards.append({**card, "versions": [asdict(one) for one in registry.versions(name)]})
        return cards

    @router.get("/subjects/{subject}")
    def export(subject: Id, user: Admin) -> dict[str, list[dict[str, Any]]]:
        """Everything that a user wrote here."""
        return privacy.export(monitor.engine, monitor.site, subject)

    @router.delete("/subjects/{subject}")
    def erase(subject: Id, user: Admin) -> dict[str, int]:
        """Forget a user: their name and reasons go, what they decided stays."""
        return {"erased": privacy.erase(monitor.engine, monitor.site, subject)}


def _sheet(table: exports.Table, kind: str) -> Response:
    """The table's rows are read here, while its connection is open."""
    if kind == "csv":
        return _file(f"{table.name}.csv", exports.to_csv(table), _CSV)
    buffer = io.BytesIO()
    exports.to_xlsx(table, buffer)
    return _file(f"{table.name}.xlsx", buffer.getvalue(), _SHEET)


def _file(name: str, content: bytes, media: str) -> Response:
    return Response(content, media_type=media, headers={"Content-Disposition": f'attachment; filename="{name}"'})
