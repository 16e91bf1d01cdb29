"""The finance monitor over HTTP, under /finance/v1."""

import io
import threading
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from pydantic import BaseModel, Field

from finance_monitor import alerting, channels, exports, outbox, queries, sources, subscriptions, trends, watchlists
from finance_monitor.companies import Gazetteer
from finance_monitor.models import Models
from finance_monitor.scoring import score_texts
from finance_monitor.tables import corrections
from finance_monitor.worker import gazetteer_path, open_gazetteer
from headwater.errors import HeadwaterError, NotFound
from headwater.storage import jobs
from headwater.storage.columns import now
from headwater.storage.users import User
from headwater.web import AllowedJob, Context, require

Viewer = Annotated[User, Depends(require("viewer"))]
Analyst = Annotated[User, Depends(require("analyst"))]
Editor = Annotated[User, Depends(require("editor"))]
Word = Annotated[str, Query(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Limit = Annotated[int, Query(ge=1, le=500)]
_SHEET = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_LABELS = ("positive", "neutral", "negative")


class Texts(BaseModel):
    """Texts of your own; the first line of each counts as its title."""

    texts: list[Annotated[str, Field(max_length=20_000)]] = Field(min_length=1, max_length=100)


class Reason(BaseModel):
    reason: str = Field(max_length=2_000)


class SubscriptionBody(BaseModel):
    """A rule under a name; the fields of `rule` are those of docs/finance-monitor.md."""

    name: str = Field(max_length=200)
    rule: dict[str, Any]
    enabled: bool = True


class RuleBody(BaseModel):
    rule: dict[str, Any]
    days: int = Field(30, ge=1, le=90)


class ChannelBody(BaseModel):
    kind: str = Field(max_length=16)
    options: dict[str, Any]
    enabled: bool = True


class SilenceBody(BaseModel):
    companies: list[str] = []
    topics: list[str] = []
    severities: list[str] = []
    hours: float = Field(gt=0, le=24 * 90)
    reason: str = Field(max_length=2_000)


class CorrectionBody(BaseModel):
    """A better label: `company_id` empty for the text as a whole; `value` a sentiment, or topics divided by |."""

    article_id: str = Field(max_length=32)
    company_id: str = Field("", max_length=64)
    field: str = Field("sentiment", pattern="^(sentiment|topics)$")
    value: str = Field(max_length=400)


class WatchlistBody(BaseModel):
    companies: list[str] = Field(max_length=10_000)


class Monitor:
    """What the routes share: the database, and models and companies that are opened when they are first asked for."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.settings = context.settings
        self._lock = threading.Lock()
        self._models: Models | None = None
        self._gazetteer: tuple[float, Gazetteer] | None = None

    @property
    def engine(self) -> Any:
        return self.context.engine("finance")

    @property
    def site(self) -> str:
        return self.settings.site

    def models(self) -> Models:
        """Raises Unavailable, with the way out, before the first set-up."""
        with self._lock:
            if self._models is None:
                models = Models(self.context.registry, self.settings.threads)
                models.load()
                self._models = models
            return self._models

    def gazetteer(self) -> Gazetteer:
        path = gazetteer_path(self.settings)
        stamp = path.stat().st_mtime if path.is_file() else 0.0
        with self._lock:
            if self._gazetteer is None or self._gazetteer[0] != stamp:
                self._gazetteer = (stamp, open_gazetteer(self.settings))
            return self._gazetteer[1]


def build_router(context: Context) -> APIRouter:
    """The app's routes; nothing is loaded before it is asked for."""
    monitor = Monitor(context)
    context.allowed_jobs.append(AllowedJob(("finance", "crawl"), "editor"))
    router = APIRouter(prefix="/finance/v1", tags=["finance"])
    _reading_routes(router, monitor)
    _incident_routes(router, monitor)
    _export_routes(router, monitor)
    _silence_routes(router, monitor)
    _rule_routes(router, monitor)
    _channel_routes(router, monitor)
    _source_routes(router, monitor)
    _label_routes(router, monitor)
    return router


def _reading_routes(router: APIRouter, monitor: Monitor) -> None:
    @router.get("/overview")
    def overview(user: Viewer) -> dict[str, Any]:
        """What is happening now."""
        gazetteer = monitor.gazetteer()
        with monitor.engine.connect() as connection:
            found = queries.overview(connection, now())
            found["backlog"] = queries.backlog(connection)
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
        limit: Limit = 50,
        before: datetime | None = None,
    ) -> list[dict[str, Any]]:
        """Articles, newest first."""
        with monitor.engine.connect() as connection:
            return queries.search_articles(
                connection,
                text=text,
                company=company,
                topic=topic,
                source=source,
                language=language,
                label=label,
                limit=limit,
                before=_utc(before),
            )

    @router.get("/articles/{article_id}")
    def article(article_id: str, user: Viewer) -> dict[str, Any]:
        with monitor.engine.connect() as connection:
            return queries.article(connection, article_id)

    @router.get("/stories/{story_id}")
    def story(story_id: str, user: Viewer) -> dict[str, Any]:
        with monitor.engine.connect() as connection:
            return queries.story(connection, story_id)

    @router.get("/companies")
    def companies(user: Viewer, days: Annotated[int, Query(ge=1, le=3650)] = 60) -> list[dict[str, Any]]:
        """Companies with stories, most first."""
        gazetteer = monitor.gazetteer()
        with monitor.engine.connect() as connection:
            found = queries.active_companies(connection, now() - timedelta(days=days))
        return [{**row, "name": gazetteer.name_of(row["entity"])} for row in found]

    @router.get("/trends")
    def trend(
        user: Viewer,
        entity_kind: Annotated[str, Query(pattern="^(company|topic|all)$")],
        entity: Word,
        since: datetime | None = None,
        until: datetime | None = None,
        width: Annotated[int, Query(ge=900, le=30 * trends.DAY)] = trends.DAY,
    ) -> dict[str, Any]:
        """The timeline of an entity: counts a window, stories, incidents."""
        end = _utc(until) or now()
        start = _utc(since) or end - timedelta(days=60)
        if width % trends.QUARTER or (end - start).total_seconds() / width > 5_000:
            raise HeadwaterError(f"width {width} must be a multiple of 900 seconds that gives at most 5,000 windows")
        with monitor.engine.connect() as connection:
            found = queries.entity(connection, entity_kind, entity, start, end, width)
        company = monitor.gazetteer().by_id.get(entity) if entity_kind == "company" else None
        return {**found, "name": company.name if company else entity, "ticker": company.ticker if company else ""}

    @router.post("/score")
    def score(body: Texts, user: Analyst) -> list[dict[str, Any]]:
        """Sentiment, companies and topics of your own texts."""
        return score_texts(body.texts, monitor.models(), monitor.gazetteer())


def _incident_routes(router: APIRouter, monitor: Monitor) -> None:
    @router.get("/incidents")
    def incidents(user: Viewer, state: Word = "", limit: Limit = 50) -> list[dict[str, Any]]:
        with monitor.engine.connect() as connection:
            return queries.open_incidents(connection, limit, state)

    @router.get("/incidents/{incident_id}")
    def incident(incident_id: str, user: Viewer) -> dict[str, Any]:
        with monitor.engine.connect() as connection:
            return queries.incident(connection, incident_id)

    @router.post("/incidents/{incident_id}/acknowledgement", status_code=204)
    def acknowledge(incident_id: str, body: Reason, user: Analyst) -> None:
        """Say that you take care of it: escalation ends, and so do messages of growth until severity rises."""
        with monitor.engine.begin() as connection:
            alerting.acknowledge(
                connection, monitor.site, incident_id, actor=user.name, reason=body.reason, moment=now()
            )

    @router.get("/alerts")
    def alerts(user: Viewer, limit: Limit = 50) -> list[dict[str, Any]]:
        return queries.recent_alerts(monitor.engine, monitor.site, limit)


def _export_routes(router: APIRouter, monitor: Monitor) -> None:
    @router.get("/exports/{name}")
    def export(name: str, user: Viewer, days: Annotated[int, Query(ge=1, le=3650)] = 90) -> Response:
        """alerts.csv, alerts.xlsx, incidents.csv, incidents.xlsx."""
        what, _, kind = name.partition(".")
        if what not in ("alerts", "incidents") or kind not in ("csv", "xlsx"):
            raise NotFound(f"there is no export {name!r}; there are: alerts and incidents as .csv and .xlsx")
        until = now()
        since = until - timedelta(days=days)
        with monitor.engine.connect() as connection:
            if what == "alerts":
                table = exports.alert_table(connection, monitor.site, since, until)
            else:
                table = exports.incident_table(connection, since, until)
            if kind == "csv":
                content, media = exports.to_csv(table), "text/csv; charset=utf-8"
            else:
                buffer = io.BytesIO()
                exports.to_xlsx(table, buffer)
                content, media = buffer.getvalue(), _SHEET
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(content, media_type=media, headers=headers)


def _silence_routes(router: APIRouter, monitor: Monitor) -> None:
    @router.get("/silences")
    def silences(user: Viewer) -> list[dict[str, Any]]:
        with monitor.engine.connect() as connection:
            return alerting.silences(connection, monitor.site, now())

    @router.post("/silences", status_code=201)
    def silence(body: SilenceBody, user: Analyst) -> dict[str, str]:
        matcher = alerting.Matcher(tuple(body.companies), tuple(body.topics), tuple(body.severities))
        starts = now()
        with monitor.engine.begin() as connection:
            identity = alerting.silence(
                connection,
                monitor.site,
                matcher,
                starts=starts,
                ends=starts + timedelta(hours=body.hours),
                reason=body.reason,
                actor=user.name,
            )
        return {"id": identity}

    @router.delete("/silences/{silence_id}", status_code=204)
    def end_silence(silence_id: str, user: Analyst) -> None:
        with monitor.engine.begin() as connection:
            alerting.end_silence(connection, monitor.site, silence_id, now())


def _rule_routes(router: APIRouter, monitor: Monitor) -> None:
    def shown(one: subscriptions.Subscription) -> dict[str, Any]:
        return {
            "id": one.id,
            "name": one.name,
            "enabled": one.enabled,
            "problem": one.problem,
            "rule": subscriptions.rule_to_json(one.rule),
        }

    @router.get("/subscriptions")
    def listed(user: Viewer) -> list[dict[str, Any]]:
        with monitor.engine.connect() as connection:
            return [shown(one) for one in subscriptions.subscriptions(connection, monitor.site)]

    def store(body: SubscriptionBody, user: User, subscription_id: str = "") -> dict[str, Any]:
        rule = subscriptions.rule_from_json(body.rule)
        with monitor.engine.begin() as connection:
            one = subscriptions.save(
                connection,
                monitor.site,
                body.name,
                rule,
                actor=user.name,
                moment=now(),
                subscription_id=subscription_id,
                enabled=body.enabled,
            )
        return shown(one)

    @router.post("/subscriptions", status_code=201)
    def subscribe(body: SubscriptionBody, user: Editor) -> dict[str, Any]:
        return store(body, user)

    @router.put("/subscriptions/{subscription_id}")
    def change(subscription_id: str, body: SubscriptionBody, user: Editor) -> dict[str, Any]:
        with monitor.engine.connect() as connection:
            subscriptions.get(connection, monitor.site, subscription_id)
        return store(body, user, subscription_id)

    @router.delete("/subscriptions/{subscription_id}", status_code=204)
    def unsubscribe(subscription_id: str, user: Editor) -> None:
        with monitor.engine.begin() as connection:
            subscriptions.delete(connection, monitor.site, subscription_id)

    @router.post("/subscriptions/dry-run")
    def dry_run(body: RuleBody, user: Viewer) -> dict[str, Any]:
        """What a rule would have sent over the last days, by the code that sends."""
        until = now()
        with monitor.engine.connect() as connection:
            rule = subscriptions.rule_from_json(body.rule)
            since = until - timedelta(days=body.days)
            found = subscriptions.dry_run(connection, rule, since, until, site_id=monitor.site)
        return {"alerts": found.alerts, "messages": found.messages, "held": found.held}

    @router.get("/watchlists")
    def lists(user: Viewer) -> dict[str, list[str]]:
        with monitor.engine.connect() as connection:
            return {name: list(ids) for name, ids in watchlists.watchlists(connection, monitor.site).items()}


def _channel_routes(router: APIRouter, monitor: Monitor) -> None:
    @router.get("/channels")
    def channel_list(user: Viewer) -> dict[str, Any]:
        with monitor.engine.connect() as connection:
            states = queries.channel_states(connection, monitor.site)
            return {"channels": states, "messages": queries.outbox_rows(connection, monitor.site)}

    @router.put("/channels/{name}")
    def put_channel(name: str, body: ChannelBody, user: Editor) -> dict[str, str]:
        with monitor.engine.begin() as connection:
            channels.save(
                connection,
                monitor.site,
                name,
                body.kind,
                body.options,
                actor=user.name,
                moment=now(),
                enabled=body.enabled,
            )
        return {"name": name}

    @router.delete("/channels/{name}", status_code=204)
    def drop_channel(name: str, user: Editor) -> None:
        with monitor.engine.begin() as connection:
            channels.delete(connection, monitor.site, name)

    @router.post("/channels/{name}/test")
    def try_channel(name: str, user: Editor) -> dict[str, Any]:
        """Send a message that says it is a test."""
        with monitor.engine.connect() as connection:
            outcome = outbox.try_out(connection, monitor.site, name, outbox.installation(monitor.settings))
        return {"state": outcome.state, "reason": outcome.reason}


def _source_routes(router: APIRouter, monitor: Monitor) -> None:
    def path() -> Any:
        return sources.sources_path(monitor.settings)

    @router.get("/sources")
    def listed(user: Viewer) -> list[dict[str, Any]]:
        """Sources with their health."""
        if not path().exists():
            return []
        found = sources.load_sources(path())
        with monitor.engine.connect() as connection:
            health = queries.source_health(connection, [source.id for source in found], now())
        return [{**sources.as_values(source), "health": health[source.id]} for source in found]

    @router.put("/sources")
    def put(values: dict[str, Any], user: Editor) -> dict[str, Any]:
        """Add a source, or change the one with the same id; only `url` is needed."""
        return sources.as_values(sources.put_source(path(), values))

    @router.delete("/sources/{source_id}", status_code=204)
    def remove(source_id: str, user: Editor) -> None:
        sources.remove_source(path(), source_id)

    @router.post("/sources/{source_id}/crawl", status_code=202)
    def crawl(source_id: str, user: Editor) -> dict[str, str]:
        """Crawl a source now, as a job."""
        if source_id not in {source.id for source in sources.load_sources(path())}:
            raise NotFound(f"there is no source {source_id!r}")
        house = monitor.context.engine("house")
        return {"job": jobs.submit(house, "finance", ("finance", "crawl", source_id), actor=user.name).id}


def _label_routes(router: APIRouter, monitor: Monitor) -> None:
    @router.get("/to-label")
    def to_label(user: Viewer, limit: Limit = 20) -> list[dict[str, Any]]:
        """What the model is least sure of."""
        with monitor.engine.connect() as connection:
            return queries.to_label(connection, limit)

    @router.post("/corrections", status_code=201)
    def correct(body: CorrectionBody, user: Analyst) -> dict[str, str]:
        """Keep a better label for the next tuning."""
        if body.field == "sentiment" and body.value not in _LABELS:
            raise HeadwaterError(f"value: one of {', '.join(_LABELS)}, found {body.value!r}")
        with monitor.engine.begin() as connection:
            queries.article(connection, body.article_id)
            connection.execute(
                corrections.insert().values(site_id=monitor.site, actor=user.name, moment=now(), **body.model_dump())
            )
        return {"article_id": body.article_id}


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
