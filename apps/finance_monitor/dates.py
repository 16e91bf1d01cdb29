"""Dates as feeds and pages write them, kept as they stood and read as a moment in UTC where that can be done."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from email.utils import parsedate_to_datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dateutil import parser

from finance_monitor.decoding import cleaned
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
# The zone of a country that has one, and of a language that is written in one.
_REGIONS = {"CN": "Asia/Shanghai", "HK": "Asia/Hong_Kong", "TW": "Asia/Taipei", "SG": "Asia/Singapore"}
_REGIONS |= {"JP": "Asia/Tokyo", "KR": "Asia/Seoul", "IN": "Asia/Kolkata", "IL": "Asia/Jerusalem", "AE": "Asia/Dubai"}
_REGIONS |= {"GB": "Europe/London", "IE": "Europe/Dublin", "DE": "Europe/Berlin", "FR": "Europe/Paris"}
_REGIONS |= {"NL": "Europe/Amsterdam", "BE": "Europe/Brussels", "CH": "Europe/Zurich", "AT": "Europe/Vienna"}
_REGIONS |= {"IT": "Europe/Rome", "SE": "Europe/Stockholm", "NO": "Europe/Oslo", "DK": "Europe/Copenhagen"}
_REGIONS |= {"FI": "Europe/Helsinki", "PL": "Europe/Warsaw", "CZ": "Europe/Prague", "TR": "Europe/Istanbul"}
_LANGUAGES = {"zh": "Asia/Shanghai", "ja": "Asia/Tokyo", "ko": "Asia/Seoul"}
_RFC822 = re.compile(
    r"(?:[A-Z][a-z]{2}, )?\d{1,2} [A-Z][a-z]{2} [12]\d{3} \d{2}:\d{2}(?::\d{2})? (?:GMT|UTC|UT|Z|[+-]\d{4})", re.ASCII
)
_HALF = r"(凌晨|早上|上午|中午|下午|傍晚|晚上|午前|午後|오전|오후)?"
_CLOCK = _HALF + r"\s*(\d{1,2})\s*[:：时時点點시]\s*(?:(\d{1,2})(?::(\d{2}))?)?"
_EASTERN = re.compile(
    r"(?:(\d{4})\s*[年년.]\s*)?(\d{1,2})\s*[月월.]\s*(\d{1,2})\s*[日号號일.](?:\s*(?:星期.|周.|[（(].[)）])?\s*"
    + _CLOCK
    + ")?"
)
_EASTERN_SIGNS = re.compile("[月월]|오전|오후")
_AFTERNOON = ("中午", "下午", "傍晚", "晚上", "午後", "오후")
_DAY = re.compile(
    r"(今天|今日|昨天|昨日|前天|오늘|어제|\btoday\b|\byesterday\b)(?:[\s,，]|at\b)*(?:" + _CLOCK + ")?", re.IGNORECASE
)
_DAYS_BACK = {"今天": 0, "今日": 0, "오늘": 0, "today": 0, "昨天": 1, "昨日": 1, "어제": 1, "yesterday": 1, "前天": 2}
_AGO = re.compile(
    r"(\d+|an?|one)\s*(秒|分钟|分鐘|分|小时|小時|時間|天|日|周|週|초|분|시간|일|"
    r"seconds?|secs?|minutes?|mins?|hours?|hrs?|days?|weeks?)\s*(?:之?前|전|ago)",
    re.IGNORECASE,
)
_UNITS = dict.fromkeys(("秒", "초", "sec"), 1) | dict.fromkeys(("分", "분", "min"), 60)
_UNITS |= dict.fromkeys(("小", "時", "시", "hou", "hr"), 3600) | dict.fromkeys(("天", "日", "일", "day"), 86_400)
_UNITS |= dict.fromkeys(("周", "週", "week"), 7 * 86_400)
_NOW = re.compile(r"刚刚|剛剛|たった今|방금|\bjust now\b", re.IGNORECASE)
_SECONDS = re.compile(r"(\d{9,11}|\d{13}|(?!19|20)\d{12})(?:\.\d{1,9})?", re.ASCII)
_MONTH = re.compile(r"([12]\d{3})(?:-(\d{2}))?", re.ASCII)
_NUMERIC = re.compile(r"(?<![\d./-])\d{1,2}([./-])\d{1,2}\1(?:\d{4}|\d{2})(?!\d)")


def read_date(raw: str, method: str, now: datetime, language: str = "", zone: str = "", region: str = "") -> DateFound:
    """Read one date: RFC 822, ISO 8601, seconds or milliseconds since 1970, English, Chinese, "3 hours ago".

    Without a zone of its own it is taken in `zone`, else in that of the region or language where there is one, else in
    UTC; without a year it is the last such day. The moment is None where month and day cannot be read, before 1990, and
    more than a day after `now`.
    """
    text = " ".join(cleaned(raw[: 10 * _LONGEST]).split())[:_LONGEST]
    place = _zone(zone or _REGIONS.get(region.upper()) or _LANGUAGES.get(language[:2].lower(), "UTC"))
    moment = _read(text, now, place, language.lower(), region.upper()) if text else None
    if moment is not None and not _EARLIEST <= moment <= now + _FUTURE:
        moment = None
    return DateFound(text, method, moment)


def _read(text: str, now: datetime, zone: tzinfo, language: str, region: str) -> datetime | None:
    try:
        if _RFC822.fullmatch(text):
            found = parsedate_to_datetime(text)
            return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)  # -0000
        if match := _SECONDS.fullmatch(text):
            return datetime.fromtimestamp(int(match[1]) / (1000 if len(match[1]) > 11 else 1), UTC)
        found = _relative(text, now, zone)
        if found is None:
            found = _eastern(text, now, zone)
        if found is None:
            found = _iso(text) or _western(text, now, language, region)
        return (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC) if found else None
    except (ValueError, OverflowError, TypeError, AttributeError, ArithmeticError, OSError):
        return None  # also what dateutil raises on digits in strange places


def _relative(text: str, now: datetime, zone: tzinfo) -> datetime | None:
    if _NOW.search(text):
        return now
    if match := _AGO.search(text):
        count = int(match[1]) if match[1].isdigit() else 1
        seconds = next(s for name, s in _UNITS.items() if match[2].lower().startswith(name))
        return now - timedelta(seconds=min(count, 10_000_000) * seconds)
    if (match := _DAY.search(text)) and not re.search(r"\d{4}", text):
        day = now.astimezone(zone) - timedelta(days=_DAYS_BACK[match[1].lower()])
        return datetime(day.year, day.month, day.day, *_clock(*match.groups()[1:]), tzinfo=zone)
    return None


def _eastern(text: str, now: datetime, zone: tzinfo) -> datetime | None:
    """2026年3月4日下午2:05, 3月4日 14:05, 2026. 3. 4. 오후 2:05."""
    match = _EASTERN.search(text) if _EASTERN_SIGNS.search(text) else None
    if match is None:
        return None
    year, month, day = int(match[1] or now.year), int(match[2]), int(match[3])
    found = datetime(year, month, day, *_clock(*match.groups()[3:]), tzinfo=zone)
    return found if match[1] else _last(found, now)


def _clock(half: str | None, hour: str | None, minute: str | None, second: str | None) -> tuple[int, int, int]:
    hours = int(hour or 0)
    if half in _AFTERNOON and hours < (4 if half == "中午" else 12):
        hours += 12
    return 0 if half == "凌晨" and hours == 12 else hours, int(minute or 0), int(second or 0)


def _last(found: datetime, now: datetime) -> datetime:
    """Of a day without a year the last that was."""
    return found.replace(year=found.year - 1) if found > now + _FUTURE else found


def _iso(text: str) -> datetime | None:
    if match := _MONTH.fullmatch(text):
        return datetime(int(match[1]), int(match[2] or 1), 1)
    try:
        return datetime.fromisoformat(text) if text[:4].isdigit() and "-" in text[:8] else None
    except ValueError:
        return None


def _western(text: str, now: datetime, language: str, region: str) -> datetime | None:
    if not re.search(r"\d", text) or re.search(r"\b000\d\b", text):
        return None
    numeric = _NUMERIC.search(text)
    day_first = numeric is not None and (numeric[1] == "." or _day_first(language, region))
    # What the text does not say comes from the default, and so differs between the two.
    one, other = (
        parser.parse(_mended(text), tzinfos=_named(language, region), dayfirst=day_first, fuzzy=True, default=default)
        for default in (datetime(now.year, 1, 1), datetime(now.year - 1, 6, 15))
    )
    if one.month != other.month or (one.day != other.day and not re.fullmatch(r"[A-Za-z]{3,9}\.?,? \d{4}", text)):
        return None
    if one.year != other.year:
        return _last(one if one.tzinfo else one.replace(tzinfo=UTC), now).replace(tzinfo=one.tzinfo)
    return one


def _mended(text: str) -> str:
    """Slips that feeds are known for: a comma before the zone, "24:00", "+0100 (CET)", two zones."""
    text = re.sub(r"\([^)]*\)", " ", text)
    text = re.sub(r"(?<!\d)24:00(:00)?(?!\d)", "23:59:59", text)
    text = re.sub(r"\b(?:GMT|UTC)(?=[+-]\d)", "", text)
    return re.sub(
        r"\b(?:Published|Updated|Posted|Last modified|发布时间|来源)\s*(?:on|at)?\s*[:：]?", " ", text, flags=re.I
    )


def _named(language: str, region: str) -> Callable[[str | None, int | None], tzinfo | None]:
    """CST is China's or America's, IST India's, Ireland's or Israel's."""
    own = {"IE": {"IST": 1}, "IL": {"IST": 2}}.get(region, {})
    if language.startswith("zh") or region in ("CN", "TW", "HK", "MO"):
        own = {"CST": 8}

    def find(name: str | None, offset: int | None) -> tzinfo | None:
        if offset is not None:
            return timezone(timedelta(seconds=offset)) if abs(offset) < 86_400 else None
        key = (name or "").upper()
        return timezone(timedelta(hours=own[key])) if key in own else _OFFSETS.get(key)

    return find


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def _day_first(language: str, region: str) -> bool:
    return not (language == "en-us" or (language in ("en", "") and region in ("US", "")))
