"""The sample world's material: who is in it, what it is written from, and what comes out of it."""

import csv
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

FOLDER = Path(__file__).parent / "sample_data"
LANGUAGES = ("en", "zh")
ZONES = {
    "GB": "Europe/London", "IE": "Europe/Dublin", "US": "America/New_York", "CA": "America/Winnipeg",
    "DE": "Europe/Berlin", "FR": "Europe/Paris", "NO": "Europe/Oslo", "SE": "Europe/Stockholm",
    "CN": "Asia/Shanghai", "HK": "Asia/Hong_Kong", "TW": "Asia/Taipei", "JP": "Asia/Tokyo",
    "AU": "Australia/Perth", "IN": "Asia/Kolkata",
}  # fmt: skip
CHINESE_REGIONS = ("CN", "HK", "TW")


@dataclass(frozen=True)
class WorldSource:
    """A publisher of the world. `path` is its feed's address on the site; `style` is the kind of document there
    (rss, atom, rdf, json, sitemap, listing); `format` is what the crawler needs to know of it."""

    id: str
    name: str
    path: str
    format: str
    style: str
    language: str
    region: str
    kind: str
    weight: float
    encoding: str
    share: float
    desk: str

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(ZONES[self.region])


@dataclass(frozen=True)
class Article:
    """One document as it was published. A revision has the guid and path of the article it revises."""

    source: str
    guid: str
    path: str
    title: str
    summary: str
    paragraphs: tuple[str, ...]
    author: str
    published: datetime
    language: str
    kind: str
    companies: tuple[str, ...]
    topics: tuple[str, ...]
    event: str
    polarity: Mapping[str, str]
    mode: str = ""
    updated: datetime | None = None
    reprint_of: str = ""
    revision_of: str = ""
    surge: str = ""

    @property
    def shown(self) -> datetime:
        """When this text could first be read."""
        return self.updated or self.published

    @property
    def text(self) -> str:
        return "\n".join(self.paragraphs)


@dataclass(frozen=True)
class Surge:
    """A wave of bad news about one company, from `starts` to `ends`."""

    id: str
    company: str
    language: str
    starts: datetime
    ends: datetime
    topics: tuple[str, ...]
    events: tuple[str, ...]


@dataclass(frozen=True)
class Reprint:
    """`guid` repeats `of`; `mode` is whole, edited or cut."""

    guid: str
    of: str
    mode: str


@dataclass(frozen=True)
class Correction:
    """The text at `path` changed at `at`: `old` became `new`."""

    guid: str
    path: str
    at: datetime
    old: str
    new: str


@dataclass(frozen=True)
class World:
    """`articles` were shown before the anchor, `later` are due behind it; both in the order of showing."""

    sources: tuple[WorldSource, ...]
    articles: tuple[Article, ...]
    surges: tuple[Surge, ...]
    reprints: tuple[Reprint, ...]
    corrections: tuple[Correction, ...]
    anchor: datetime
    seed: int
    later: tuple[Article, ...] = ()


@dataclass(frozen=True)
class Company:
    id: str
    name: str
    ticker: str
    exchange: str
    country: str
    sector: str
    former: str
    full_zh: str
    profile: Mapping[str, str]

    def speaks(self, language: str) -> bool:
        return language == "en" or bool(self.profile["short_zh"])

    def short(self, language: str) -> str:
        return self.profile["short" if language == "en" else "short_zh"]


@dataclass(frozen=True)
class Frame:
    """What one kind of event reads like. `other` is the polarity for the second company where one is named."""

    id: str
    topics: tuple[str, ...]
    polarity: str
    language: str
    titles: tuple[str, ...]
    ledes: tuple[str, ...]
    body: tuple[str, ...]
    other: str = ""
    weight: float = 1.0
    sectors: tuple[str, ...] = ()
    about_company: bool = True


@dataclass(frozen=True)
class Bank:
    sources: tuple[WorldSource, ...]
    companies: Mapping[str, Company]
    frames: Mapping[str, tuple[Frame, ...]]
    filings: tuple[Frame, ...]
    context: Mapping[str, Mapping[str, Any]]
    surges: tuple[Mapping[str, Any], ...]
    traditional: Mapping[str, str] = field(default_factory=dict)


def lines_of(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().splitlines() if line.strip())


def _toml(name: str) -> dict[str, Any]:
    with (FOLDER / name).open("rb") as file:
        return tomllib.load(file)


def _frames(name: str, language: str) -> tuple[Frame, ...]:
    return tuple(
        Frame(
            language=language,
            topics=tuple(row.pop("topics")),
            sectors=tuple(row.pop("sectors", ())),
            titles=lines_of(row.pop("titles")),
            ledes=lines_of(row.pop("ledes")),
            body=lines_of(row.pop("body")),
            **row,
        )
        for row in _toml(name)["event"]
    )


def read_companies() -> dict[str, Company]:
    """The companies of gazetteer.csv under their present names, with what profiles.csv knows of them."""
    with (FOLDER / "profiles.csv").open(encoding="utf-8") as file:
        profiles = {row["company_id"]: row for row in csv.DictReader(file)}
    found: dict[str, Company] = {}
    with (FOLDER / "gazetteer.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            before = found.get(row["company_id"])
            chinese = [name for name in row["aliases"].split("|") if name and not name.isascii() and name[0] > "\u2e80"]
            found[row["company_id"]] = Company(
                row["company_id"], row["name"], row["ticker"], row["exchange"], row["country"], row["sector"],
                before.name if before else "", max(chinese, key=len, default=""), profiles[row["company_id"]],
            )  # fmt: skip
    return found


@cache
def read_bank() -> Bank:
    """All of sample_data that the generator needs."""
    letters = _toml("traditional.toml")
    traditional: dict[str, str] = {}
    for pairs in letters["characters"].split():
        traditional |= dict(zip(pairs[::2], pairs[1::2], strict=True))
    return Bank(
        tuple(WorldSource(**row) for row in _toml("sources.toml")["source"]),
        read_companies(),
        {language: _frames(f"events_{language}.toml", language) for language in LANGUAGES},
        _frames("filings.toml", "en"),
        {language: _toml(f"context_{language}.toml") for language in LANGUAGES},
        tuple(_toml("surges.toml")["surge"]),
        traditional | letters["words"],
    )
