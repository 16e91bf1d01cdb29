"""What people set up, over HTTP: rules, watchlists, silences, channels, sources."""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, File, UploadFile
from pydantic import BaseModel, Field

from finance_monitor import alerting, channels, health, outbox, queries, sources, subscriptions, watchlists
from finance_monitor.monitor import Analyst, Editor, Id, Monitor, Viewer
from headwater.errors import HeadwaterError, NotFound
from headwater.storage import jobs
from headwater.storage.columns import now
from headwater.storage.users import User


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


class WatchlistBody(BaseModel):
    companies: list[Annotated[str, Field(max_length=200)]] = Field(max_length=10_000)


def add_routes(router: APIRouter, monitor: Monitor) -> None:
    """Everything that changes how the monitor works."""
    _rule_routes(router, monitor)
    _watchlist_routes(router, monitor)
    _silence_routes(router, monitor)
    _channel_routes(router, monitor)
    _source_routes(router, monitor)


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
    def change(subscription_id: Id, body: SubscriptionBody, user: Editor) -> dict[str, Any]:
        with monitor.engine.connect() as connection:
            subscriptions.get(connection, monitor.site, subscription_id)
        return store(body, user, subscription_id)

    @router.delete("/subscriptions/{subscription_id}", status_code=204)
    def unsubscribe(subscription_id: Id, user: Editor) -> None:
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


def _watchlist_routes(router: APIRouter, monitor: Monitor) -> None:
    @router.get("/watchlists")
    def lists(user: Viewer) -> dict[str, list[str]]:
        with monitor.engine.connect() as connection:
            return {name: list(ids) for name, ids in watchlists.watchlists(connection, monitor.site).items()}

    @router.put("/watchlists/{name}")
    def put_list(name: Id, body: WatchlistBody, user: Editor) -> dict[str, Any]:
        """A named list of companies by id, name or ticker; over the one of that name."""
        resolve = monitor.resolver()
        found = [resolve(word) for word in body.companies]
        for word, ids in zip(body.companies, found, strict=True):
            if len(ids) != 1:
                what = f"can be {', '.join(ids)}; write an id" if ids else "is no company that is watched"
                raise HeadwaterError(f"companies: {word!r} {what}")
        return keep_list(name, [ids[0] for ids in found], [], user)

    @router.post("/watchlists/{name}/file")
    def upload_list(name: Id, file: Annotated[UploadFile, File()], user: Editor) -> dict[str, Any]:
        """The list from a file of tickers or names: .csv with a heading, or one a line; `problems` says what was
        left out."""
        file_name = (file.filename or "list.txt").replace("\\", "/").rsplit("/", 1)[-1]
        data = file.file.read(monitor.settings.max_document_bytes + 1)
        return keep_list(name, *watchlists.read_watchlist(data, file_name, monitor.resolver()), user)

    def keep_list(name: str, ids: list[str], problems: list[str], user: User) -> dict[str, Any]:
        with monitor.engine.begin() as connection:
            watchlists.save(connection, monitor.site, name, ids, actor=user.name, moment=now())
        return {"name": name, "companies": ids, "problems": problems}

    @router.delete("/watchlists/{name}", status_code=204)
    def drop_list(name: Id, user: Editor) -> None:
        with monitor.engine.begin() as connection:
            watchlists.delete(connection, monitor.site, name)


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
    def end_silence(silence_id: Id, user: Analyst) -> None:
        with monitor.engine.begin() as connection:
            alerting.end_silence(connection, monitor.site, silence_id, now())


def _channel_routes(router: APIRouter, monitor: Monitor) -> None:
    @router.get("/channels")
    def channel_list(user: Viewer) -> dict[str, Any]:
        with monitor.engine.connect() as connection:
            return {
                "channels": queries.channel_states(connection, monitor.site),
                "messages": queries.outbox_rows(connection, monitor.site),
                "summary": queries.outbox_summary(connection, monitor.site),
            }

    @router.post("/messages/{key}/retry", status_code=204)
    def retry(key: Id, user: Editor) -> None:
        """Send a failed or ambiguous message again."""
        with monitor.engine.begin() as connection:
            outbox.retry(connection, monitor.site, key, now())

    @router.put("/channels/{name}")
    def put_channel(name: Id, body: ChannelBody, user: Editor) -> dict[str, str]:
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
    def drop_channel(name: Id, user: Editor) -> None:
        with monitor.engine.begin() as connection:
            channels.delete(connection, monitor.site, name)

    @router.post("/channels/{name}/test")
    def try_channel(name: Id, user: Editor) -> dict[str, Any]:
        """Send a message that says it is a test."""
        with monitor.engine.connect() as connection:
            outcome = outbox.try_out(connection, monitor.site, name, outbox.installation(monitor.settings))
        return {"state": outcome.state, "reason": outcome.reason}


def _source_routes(router: APIRouter, monitor: Monitor) -> None:
    def path() -> Any:
        return sources.sources_path(monitor.settings)

    @router.get("/sources")
    def listed(user: Viewer, with_health: bool = True) -> list[dict[str, Any]]:
        """Sources, with their health where it is asked for."""
        if not path().exists():
            return []
        found = sources.load_sources(path())
        if not with_health:
            return [sources.as_values(source) for source in found]
        with monitor.engine.connect() as connection:
            states = health.source_health(connection, [source.id for source in found], now())
        return [{**sources.as_values(source), "health": states[source.id]} for source in found]

    @router.put("/sources")
    def put(values: dict[str, Any], user: Editor) -> dict[str, Any]:
        """Add a source, or change the one with the same id; only `url` is needed."""
        return sources.as_values(sources.put_source(path(), values))

    @router.delete("/sources/{source_id}", status_code=204)
    def remove(source_id: Id, user: Editor) -> None:
        sources.remove_source(path(), source_id)

    @router.post("/sources/{source_id}/crawl", status_code=202)
    def crawl(source_id: Id, user: Editor) -> dict[str, str]:
        """Crawl a source now, as a job."""
        if source_id not in {source.id for source in sources.load_sources(path())}:
            raise NotFound(f"there is no source {source_id!r}")
        house = monitor.context.engine("house")
        return {"job": jobs.submit(house, "finance", ("finance", "crawl", source_id), actor=user.name).id}
