"""Sends what is queued. A row is claimed and the claim committed before anything is sent, so that no row is sent by two
workers, and a worker that dies between sending and recording leaves a row that says so.

pending → sending → sent, or back to pending (retry, limited), or failed, or ambiguous: nobody knows whether it arrived.
An ambiguous row is tried again only on a channel whose receiver drops second copies by their Idempotency-Key.
"""

import logging
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from finance_monitor.channels import Channel, channel_kind
from finance_monitor.channels.message import Installation, Message, Outcome
from finance_monitor.channels.rendering import alert_message, digest_message
from finance_monitor.tables import alerts, channels, outbox
from headwater.errors import HeadwaterError, NotFound
from headwater.settings import Settings
from headwater.storage.columns import now

_log = logging.getLogger(__name__)
# Seconds until the next attempt, by how many there were; after the last one it has failed.
SCHEDULE = (30, 120, 600, 1_800, 3_600, 7_200, 14_400)
MAX_ATTEMPTS = len(SCHEDULE) + 1
# Longer than any channel takes for one message; a row that is `sending` for longer lost its worker.
SENDING_LIMIT = timedelta(minutes=5)
# What could not be sent by then is of no use any more.
GIVE_UP = timedelta(days=3)
_LIMITED_SECONDS = 60.0
_THREADS = 8
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Delivered:
    """How many rows of one call ended as what: sent, pending (to be tried again), failed, ambiguous."""

    counts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Claim:
    key: str
    kind: str
    options: dict[str, Any]
    attempts: int
    message: Message | None
    problem: str = ""


def installation(settings: Settings, dashboard: str = "") -> Installation:
    """What these settings allow the channels; `dashboard` is the address that links in messages start with."""
    return Installation(settings.allow_private_urls, settings.home / "secrets", dashboard)


def deliver(
    engine: sa.Engine,
    place: Installation,
    moment: datetime | None = None,
    *,
    kinds: Callable[[str], Channel] = channel_kind,
    site_id: str | None = None,
) -> Delivered:
    """Send everything that is due at `moment` (now), the channels side by side, each one's rows in order.

    Several workers may call it at once. Returns when each channel has nothing more to send, or has to wait.
    """
    started = time.monotonic()
    first = moment or now()

    def clock() -> datetime:
        return first + timedelta(seconds=time.monotonic() - started)

    _settle(engine, clock())
    waiting = _channels_with_work(engine, clock(), site_id, kinds)
    if not waiting:
        return Delivered()
    worker = secrets.token_hex(8)
    counts: dict[str, int] = {}
    with ThreadPoolExecutor(min(_THREADS, len(waiting)), thread_name_prefix="deliver") as pool:
        work = [pool.submit(_drain, engine, site, name, worker, place, kinds, clock) for site, name in waiting]
    for done in work:
        for state, number in done.result().items():
            counts[state] = counts.get(state, 0) + number
    return Delivered(counts)


def after_attempt(attempts: int) -> timedelta | None:
    """The pause after that many attempts; None when there is no further one."""
    return timedelta(seconds=SCHEDULE[attempts - 1]) if attempts < MAX_ATTEMPTS else None


# --- one channel ------------------------------------------------------------------------------------------------------


def _drain(
    engine: sa.Engine,
    site_id: str,
    name: str,
    worker: str,
    place: Installation,
    kinds: Callable[[str], Channel],
    clock: Callable[[], datetime],
) -> dict[str, int]:
    counts: dict[str, int] = {}
    while (claim := _claim(engine, site_id, name, worker, place, kinds, clock())) is not None:
        outcome = _send(claim, place, kinds)
        state = _record(engine, site_id, name, worker, claim, outcome, clock())
        counts[state] = counts.get(state, 0) + 1
    return counts


def _send(claim: _Claim, place: Installation, kinds: Callable[[str], Channel]) -> Outcome:
    if claim.message is None:
        return Outcome("failed", claim.problem)
    try:
        return kinds(claim.kind).send(claim.options, claim.message, place)
    except Exception as error:  # noqa: BLE001 - a defect of one channel must not stop the others; it is logged
        # Whether it had sent is not known.
        _log.exception("channel kind %s", claim.kind)
        return Outcome("ambiguous", f"{type(error).__name__}: {error}")


def _claim(
    engine: sa.Engine,
    site_id: str,
    name: str,
    worker: str,
    place: Installation,
    kinds: Callable[[str], Channel],
    moment: datetime,
) -> _Claim | None:
    """The channel's next due row, marked `sending` and committed; None when there is none or the channel must wait."""
    mine = (outbox.c.site_id == site_id, outbox.c.channel == name)
    with engine.begin() as connection:
        query = sa.select(channels).where(channels.c.site_id == site_id, channels.c.name == name).with_for_update()
        channel = connection.execute(query).first()
        if channel is None or not channel.enabled or (channel.retry_at is not None and channel.retry_at > moment):
            return None
        kind = kinds(channel.kind)
        if _limit_reached(connection, kind, channel, moment):
            return None
        ready = outbox.c.state == "pending"
        if kind.IDEMPOTENT:
            ready |= (outbox.c.state == "ambiguous") & (outbox.c.attempts < MAX_ATTEMPTS)
        query = sa.select(outbox).where(*mine, ready, outbox.c.due <= moment)
        row = connection.execute(query.order_by(outbox.c.due, outbox.c.key).limit(1).with_for_update()).first()
        if row is None:
            return None
        connection.execute(
            outbox.update()
            .where(outbox.c.key == row.key)
            .values(state="sending", worker=worker, attempts=row.attempts + 1, updated=moment)
        )
        message, problem = _message(connection, row, place)
    return _Claim(row.key, channel.kind, channel.options, row.attempts + 1, message, problem)


def _limit_reached(connection: sa.Connection, kind: Channel, channel: sa.Row[Any], moment: datetime) -> bool:
    """Whether the messenger's own limit a minute is used up; the channel then waits until it is not."""
    if not kind.PER_MINUTE:
        return False
    query = sa.select(outbox.c.updated).where(
        outbox.c.site_id == channel.site_id,
        outbox.c.channel == channel.name,
        outbox.c.attempts > 0,
        outbox.c.updated > moment - _MINUTE,
    )
    times = list(connection.execute(query.order_by(outbox.c.updated.desc()).limit(kind.PER_MINUTE)).scalars())
    if len(times) < kind.PER_MINUTE:
        return False
    reason = f"its limit of {kind.PER_MINUTE} messages a minute is used up"
    _note(connection, channel.site_id, channel.name, "limited", reason, times[-1] + _MINUTE, moment)
    return True


def _message(connection: sa.Connection, row: sa.Row[Any], place: Installation) -> tuple[Message | None, str]:
    try:
        if row.content["kind"] == "digest":
            return digest_message(row.key, row.content, place.dashboard), ""
        query = (
            sa.select(alerts.c.content).where(alerts.c.id.in_(row.alert_ids)).order_by(alerts.c.created, alerts.c.id)
        )
        contents = list(connection.execute(query).scalars())
        if not contents:
            return None, "its alerts are not stored any more"
        return alert_message(row.key, row.content, contents, place.dashboard), ""
    except (KeyError, TypeError, ValueError, HeadwaterError) as error:
        # A reason of an unexpected shape must not hold up the channel.
        _log.exception("message %s", row.key)
        return None, f"no text could be made of it: {type(error).__name__} {error}"


def _record(
    engine: sa.Engine, site_id: str, name: str, worker: str, claim: _Claim, outcome: Outcome, moment: datetime
) -> str:
    """Write what came of a claim, and the channel's state; returns the row's new state."""
    state, due = _next(claim, outcome, moment)
    with engine.begin() as connection:
        # In the order of `_claim`: the channel first.
        query = sa.select(channels.c.name).where(channels.c.site_id == site_id, channels.c.name == name)
        connection.execute(query.with_for_update()).first()
        values: dict[str, Any] = {"state": state, "reason": outcome.reason, "updated": moment}
        if due is not None:
            values["due"] = due
        if outcome.state == "limited":
            # Being asked to wait says nothing against the message.
            values["attempts"] = claim.attempts - 1
        # Known late is better than ambiguous for ever: its worker may have been given up in between.
        still_mine = (outbox.c.worker == worker, outbox.c.state.in_(("sending", "ambiguous")))
        connection.execute(outbox.update().where(outbox.c.key == claim.key, *still_mine).values(values))
        if claim.message is not None:
            if outcome.state == "sent":
                _note(connection, site_id, name, "ok", outcome.reason, None, moment)
            else:
                waits = due if outcome.state in ("retry", "limited", "ambiguous") and state != "failed" else None
                kind = "limited" if outcome.state == "limited" else "failing"
                _note(connection, site_id, name, kind, outcome.reason, waits, moment)
    return state


def _next(claim: _Claim, outcome: Outcome, moment: datetime) -> tuple[str, datetime | None]:
    """The row's state after an outcome, and when it is due again."""
    if outcome.state in ("sent", "failed"):
        return outcome.state, None
    if outcome.state == "limited":
        return "pending", moment + timedelta(seconds=outcome.retry_after or _LIMITED_SECONDS)
    pause = after_attempt(claim.attempts)
    if outcome.state == "ambiguous":
        return "ambiguous", moment + pause if pause else None
    if pause is None:
        return "failed", None
    return "pending", moment + max(pause, timedelta(seconds=outcome.retry_after or 0))


def _note(
    connection: sa.Connection,
    site_id: str,
    name: str,
    state: str,
    reason: str,
    retry_at: datetime | None,
    moment: datetime,
) -> None:
    connection.execute(
        channels.update()
        .where(channels.c.site_id == site_id, channels.c.name == name)
        .values(state=state, reason=reason, retry_at=retry_at)
    )


# --- what is left over ------------------------------------------------------------------------------------------------


def _settle(engine: sa.Engine, moment: datetime) -> None:
    """Rows whose worker died become ambiguous; rows that nobody could send for days, or whose channel is gone, fail."""
    lost = (outbox.c.state == "sending", outbox.c.updated < moment - SENDING_LIMIT)
    there = sa.exists().where(channels.c.site_id == outbox.c.site_id, channels.c.name == outbox.c.channel)
    old = outbox.c.planned < moment - GIVE_UP
    with engine.connect() as connection:
        query = sa.select(outbox.c.key).where(
            sa.or_(sa.and_(*lost), sa.and_(outbox.c.state == "pending", sa.or_(old, ~there)))
        )
        if connection.execute(query.limit(1)).first() is None:
            return
    with engine.begin() as connection:
        reason = "its worker ended between sending and recording"
        connection.execute(outbox.update().where(*lost).values(state="ambiguous", reason=reason, updated=moment))
        pending = outbox.c.state == "pending"
        reason = "its channel does not exist any more"
        connection.execute(outbox.update().where(pending, ~there).values(state="failed", reason=reason, updated=moment))
        late = sa.literal(f"not sent within {GIVE_UP.days} days: ").concat(outbox.c.reason)
        connection.execute(outbox.update().where(pending, old).values(state="failed", reason=late, updated=moment))


def _channels_with_work(
    engine: sa.Engine, moment: datetime, site_id: str | None, kinds: Callable[[str], Channel]
) -> list[tuple[str, str]]:
    with engine.connect() as connection:
        query = (
            sa.select(outbox.c.site_id, outbox.c.channel, outbox.c.state, channels.c.kind)
            .join(channels, sa.and_(channels.c.site_id == outbox.c.site_id, channels.c.name == outbox.c.channel))
            .where(outbox.c.state.in_(("pending", "ambiguous")), outbox.c.due <= moment)
            .distinct()
            .order_by(outbox.c.site_id, outbox.c.channel)
        )
        if site_id is not None:
            query = query.where(outbox.c.site_id == site_id)
        rows = connection.execute(query).all()
    # An ambiguous message is tried again only where a second copy is dropped.
    due = [(row.site_id, row.channel) for row in rows if row.state == "pending" or kinds(row.kind).IDEMPOTENT]
    return list(dict.fromkeys(due))


def retry(connection: sa.Connection, site_id: str, key: str, moment: datetime) -> None:
    """A person has a failed or ambiguous message sent again. Raises NotFound for any other."""
    mine = (outbox.c.key == key, outbox.c.site_id == site_id, outbox.c.state.in_(("failed", "ambiguous")))
    values = {"state": "pending", "attempts": 0, "due": moment, "planned": moment, "updated": moment}
    if not connection.execute(outbox.update().where(*mine).values(values)).rowcount:
        raise NotFound(f"no failed or ambiguous message {key!r}")


def try_out(connection: sa.Connection, site_id: str, name: str, place: Installation) -> Outcome:
    """Send a test to a channel at once, outside the outbox. Raises NotFound."""
    row = connection.execute(sa.select(channels).where(channels.c.site_id == site_id, channels.c.name == name)).first()
    if row is None:
        raise NotFound(f"no channel {name!r}")
    text = f"Test of the channel {name}"
    message = Message(f"test-{secrets.token_hex(16)}", text, text, f"<p>{text}</p>", text, text, data={"kind": "test"})
    outcome: Outcome = channel_kind(row.kind).send(row.options, message, place)
    return outcome
