"""Dates as feeds and pages write them, kept as they stood and read as a moment in UTC where that can be done."""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dateutil import parser

from finance_monitor.domain import DateFound

_EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
_FUTURE = timedelta(days=1)
_LONGEST = 120
# Names of zones that wires use; those with two meanings are read as the American or European one that news means.
_ZONES = {"UT": 0, "UTC": 0, "GMT": 0, "Z": 0, "WET": 0, "BST": 1, "WEST": 1, "CET": 1, "MEZ": 1, "CEST": 2, "MESZ": 2}
_ZONES |= {"EET": 2, "EEST": 3, "MSK": 3, "IST": 5.5, "HKT": 8, "SGT": 8, "AWST": 8, "JST": 9, "KST": 9, "AEST": 10}
_ZONES |= {"AEDT": 11, "NZST": 12, "NZDT": 13, "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6}
_ZONES |= {"PST": -8, "PDT": -7, "ET": -5, "PT": -8}
_OFFSETS = {name: timezone(timedelta(hours=hours)) for name, hours in _ZONES.items()}
_CHINESE = re.compile(
    r"(\d{4})\s*年\s*(\d{1,2})\s*月\s*(\d{1,2})\s*日(?:\s*(上午|下午|晚上)?\s*(\d{1,2})\s*[:：时]\s*(\d{1,2})?)?"
)
_CHINESE_DAY = re.compile(r"(今天|昨天|前天)\s*(\d{1,2})[:：](\d{2})")
_AGO = re.compile(
    r"(\d+|an?|one)\s*(秒|分钟|小时|天|seconds?|secs?|minutes?|mins?|hours?|hrs?|days?)\s*(?:之?前|ago)", re.IGNORECASE
)
_UNITS = {
    "秒": 1,
    "sec": 1,
    "分": 60,
    "min": 60,
    "小": 3600,
    "hou": 3600,
    "hrs": 3600,
    "hr": 3600,
    "天": 86400,
    "day": 86400,
}
_DAYS_BACK = {"今天": 0, "昨天": 1, "前天": 2}
_NUMERIC = re.compile(r"^\d{1,2}[./-]\d{1,2}[./-]\d{2,4}\b")


def read_date(
    raw: str, method: str, now: datetime, language: str = "", zone: str = "UTC", region: str = ""
) -> DateFound:
    """Read one date: RFC 822, ISO 8601, seconds or milliseconds since 1970, English, Chinese, "3 hours ago".

    Without a zone of its own it is taken in `zone`. The moment is None where nothing can be read, before 1990, and more
    than a day after `now`.
    """
    text = " ".join(raw.split())[:_LONGEST]
    moment = _read(text, now, _zone(zone), _day_first(language, region)) if text else None
    if moment is not None and not _EARLIEST <= moment <= now + _FUTURE:
        moment = None
    return DateFound(text, method, moment)


def _read(text: str, now: datetime, zone: tzinfo, day_first: bool) -> datetime | None:
    try:
        if re.fullmatch(r"\d{9,13}", text):
            return datetime.fromtimestamp(int(text) / (1000 if len(text) > 10 else 1), UTC)
        relative = _relative(text, now, zone)
        if relative is not None:
            return relative
        found = datetime.fromisoformat(text) if text[:4].isdigit() and "-" in text[:8] else None
    except (ValueError, OverflowError, OSError):
        found = None
    if found is None:
        try:
            found = parser.parse(
                _mended(text),
                tzinfos=_tzinfo,
                dayfirst=day_first and bool(_NUMERIC.match(text)),
                fuzzy=True,
                default=datetime(now.year, 1, 1),
            )
        except (ValueError, OverflowError, TypeError, AttributeError, ArithmeticError):
            return None
        if not re.search(r"\d", text):
            return None
    try:
        return (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _relative(text: str, now: datetime, zone: tzinfo) -> datetime | None:
    local = now.astimezone(zone)
    if match := _CHINESE.search(text):
        year, month, day, half, hour, minute = match.groups()
        hours = int(hour or 0)
        if half in ("下午", "晚上") and hours < 12:
            hours += 12
        return datetime(int(year), int(month), int(day), hours, int(minute or 0), tzinfo=zone).astimezone(UTC)
    if match := _CHINESE_DAY.search(text):
        day_of = (local - timedelta(days=_DAYS_BACK[match[1]])).date()
        return datetime(day_of.year, day_of.month, day_of.day, int(match[2]), int(match[3]), tzinfo=zone).astimezone(
            UTC
        )
    if match := _AGO.search(text):
        count = int(match[1]) if match[1].isdigit() else 1
        unit = match[2].lower()
        seconds = next(s for name, s in _UNITS.items() if unit.startswith(name))
        return (now - timedelta(seconds=min(count, 10_000_000) * seconds)).astimezone(UTC)
    return None


def _mended(text: str) -> str:
    """Slips that feeds are known for: a comma before the zone, "24:00", "+0100 (CET)", two zones."""
    text = re.sub(r"\([^)]*\)", " ", text)
    text = re.sub(r"\b24:00(:00)?\b", "23:59:59", text)
    text = re.sub(r"\b(?:GMT|UTC)(?=[+-]\d)", "", text)
    return re.sub(
        r"\b(?:Published|Updated|Posted|Last modified|发布时间|来源)\s*(?:on|at)?\s*[:：]?", " ", text, flags=re.I
    )


def _tzinfo(name: str | None, offset: int | None) -> tzinfo | None:
    if offset is not None and abs(offset) < 86_400:
        return timezone(timedelta(seconds=offset))
    return _OFFSETS.get(name.upper()) if name else None


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, IsADirectoryError):
        return UTC


def _day_first(language: str, region: str) -> bool:
    return not (language.lower() in ("en-us",) or (language.lower() in ("en", "") and region.upper() in ("US", "")))
