"""When something may be sent: quiet hours, market sessions, the periods of digests; all exact over clock changes.

Rules are in local time of a named zone, moments in UTC. A local time that the clock skips is read with the offset
before the gap (RFC 5545, 3.3.5); of one that comes twice, an interval's start takes the first and its end the second.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from headwater.errors import HeadwaterError, Unavailable

if TYPE_CHECKING:
    from exchange_calendars import ExchangeCalendar

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = timedelta(days=1)
# Quiet hours and market hours can exclude each other for good; after so many turns the later of the two is taken.
_TURNS = 30
# Weekly hours for years that exchange_calendars does not know yet (Shanghai's are published a year at a time).
_WEEKLY = {
    "XNYS": ("America/New_York", ((time(9, 30), time(16)),)),
    "XLON": ("Europe/London", ((time(8), time(16, 30)),)),
    "XHKG": ("Asia/Hong_Kong", ((time(9, 30), time(12)), (time(13), time(16)))),
    "XSHG": ("Asia/Shanghai", ((time(9, 30), time(11, 30)), (time(13), time(15)))),
}
MARKETS = tuple(_WEEKLY)
# The market whose hours an exchange of the gazetteer keeps.
_MARKET_OF = {
    "NYSE": "XNYS",
    "NASDAQ": "XNYS",
    "LSE": "XLON",
    "HKEX": "XHKG",
    "SSE": "XSHG",
    "SZSE": "XSHG",
}
# Two sessions that lie closer together are one day with a lunch break.
_BREAK = timedelta(hours=3)


@dataclass(frozen=True)
class Quiet:
    """Hours without messages, from `start` to `end` in local time (past midnight when `end` is not later), on the
    weekdays on which they start."""

    start: time
    end: time
    days: tuple[str, ...] = WEEKDAYS


def zone_of(name: str) -> ZoneInfo:
    """The time zone of that name. Raises HeadwaterError for one that does not exist."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise HeadwaterError(f"{name!r} is no time zone; write one such as Europe/London") from error


def moment_of(day: date, clock: time, zone: ZoneInfo, *, second: bool = False) -> datetime:
    """The moment in UTC at which the local clock shows that; `second` takes the later one where it shows it twice."""
    local = datetime.combine(day, clock, zone)
    first, last = (local.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    return max(first, last) if second or first > last else first


def quiet_until(quiet: Sequence[Quiet], zone: ZoneInfo, moment: datetime) -> datetime:
    """The end of the quiet hours that `moment` lies in; `moment` itself when it lies in none."""
    for _ in range(_TURNS):
        later = max([end for start, end in _quiet_near(quiet, zone, moment) if start <= moment < end], default=moment)
        if later == moment:
            break
        moment = later
    return moment


def _quiet_near(quiet: Sequence[Quiet], zone: ZoneInfo, moment: datetime) -> list[tuple[datetime, datetime]]:
    today = moment.astimezone(zone).date()
    found = []
    for one in quiet:
        for day in (today - _DAY, today):
            if WEEKDAYS[day.weekday()] in one.days:
                last = day if one.end > one.start else day + _DAY
                found.append((moment_of(day, one.start, zone), moment_of(last, one.end, zone, second=True)))
    return found


def session_from(market: str, moment: datetime) -> datetime:
    """`moment` when the market trades then (not in its lunch break), else when it opens next."""
    local_year = moment.year
    for year in (local_year, local_year + 1):
        for opens, closes in _sessions(market, year):
            if moment < closes:
                return max(opens, moment)
    raise Unavailable(f"{market} has no session after {moment:%Y-%m-%d}; update the package exchange_calendars")


def market_of(exchange: str) -> str:
    """The market whose sessions an exchange keeps. Raises HeadwaterError for one whose hours are not known."""
    market = exchange if exchange in MARKETS else _MARKET_OF.get(exchange.upper(), "")
    if not market:
        known = ", ".join((*MARKETS, *_MARKET_OF))
        raise HeadwaterError(f"the trading hours of {exchange or 'no exchange'!r} are not known; name one of {known}")
    return market


def session_windows(market: str, since: datetime, until: datetime) -> list[tuple[datetime, datetime, bool]]:
    """(start, end, open) of the windows that `since` to `until` touches, without gaps: each trading day from opening to
    closing, a lunch break included, and the time between two of them."""
    around = timedelta(days=15)  # longer than any market is closed
    days: list[tuple[datetime, datetime]] = []
    for year in range((since - around).year, (until + around).year + 1):
        for opens, closes in _sessions(market, year):
            if days and opens - days[-1][1] < _BREAK:
                days[-1] = (days[-1][0], closes)
            else:
                days.append((opens, closes))
    found = []
    for number, (opens, closes) in enumerate(days):
        if number:
            found.append((days[number - 1][1], opens, False))
        found.append((opens, closes, True))
    return [window for window in found if window[1] > since and window[0] < until]


def release(quiet: Sequence[Quiet], zone: ZoneInfo, market: str, moment: datetime) -> tuple[datetime, str]:
    """When a message of `moment` may go out, and what holds it until then: "", "quiet" or "session"."""
    held = ""
    for _ in range(_TURNS):
        after_quiet = quiet_until(quiet, zone, moment)
        if after_quiet > moment:
            held = held or "quiet"
        opened = session_from(market, after_quiet) if market else after_quiet
        if opened > after_quiet:
            held = held or "session"
        if opened == moment:
            break
        moment = opened
    return moment, held


def period_before(mode: str, weekday: str, hour: int, zone: ZoneInfo, moment: datetime) -> tuple[datetime, datetime]:
    """Start and end of the last daily or weekly period that has ended at `moment`; a day has 23 to 25 hours."""
    day = moment.astimezone(zone).date() + _DAY
    step = _DAY if mode == "daily" else 7 * _DAY
    while True:
        ends = moment_of(day, time(hour), zone)
        if ends <= moment and (mode == "daily" or WEEKDAYS[day.weekday()] == weekday):
            return moment_of(day - step, time(hour), zone), ends
        day -= _DAY


@functools.lru_cache(maxsize=32)
def _sessions(market: str, year: int) -> tuple[tuple[datetime, datetime], ...]:
    """Opening and closing moments of a year, in order; a lunch break divides a day."""
    calendar = _calendar(market, year)
    if calendar is None:
        return _weekly_sessions(market, year)
    found: list[tuple[datetime, datetime]] = []
    rows = zip(calendar.opens, calendar.break_starts, calendar.break_ends, calendar.closes, strict=True)
    for opens, break_start, break_end, closes in rows:
        # A day without a break has no moment (NaT) there, which equals nothing.
        if break_start == break_start and break_end == break_end:
            found += [(_utc(opens), _utc(break_start)), (_utc(break_end), _utc(closes))]
        else:
            found.append((_utc(opens), _utc(closes)))
    return tuple(found)


def _utc(stamp: object) -> datetime:
    moment: datetime = stamp.to_pydatetime()  # type: ignore[attr-defined]
    return moment.astimezone(UTC)


def _calendar(market: str, year: int) -> "ExchangeCalendar | None":
    try:
        import exchange_calendars
    except ImportError as error:
        raise Unavailable("market hours need the package exchange_calendars; run: make install") from error
    try:
        return exchange_calendars.get_calendar(market, start=f"{year}-01-01", end=f"{year}-12-31")
    except ValueError:
        # The year lies beyond what the package has recorded.
        return None


def _weekly_sessions(market: str, year: int) -> tuple[tuple[datetime, datetime], ...]:
    name, hours = _WEEKLY[market]
    zone = ZoneInfo(name)
    days = [date(year, 1, 1) + number * _DAY for number in range((date(year + 1, 1, 1) - date(year, 1, 1)).days)]
    return tuple(
        (moment_of(day, opens, zone), moment_of(day, closes, zone))
        for day in days
        if day.weekday() < 5
        for opens, closes in hours
    )
