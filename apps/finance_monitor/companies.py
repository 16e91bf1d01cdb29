"""Which companies a text speaks of, and how much it is about each of them."""

import csv
import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from finance_monitor.domain import Mention
from finance_monitor.surroundings import in_prose, is_common, marked_as_ticker, reads_as_company
from headwater.errors import HeadwaterError
from headwater.language import detect_language
from headwater.retrieval.sentences import split_sentences

# Forms of incorporation that a text leaves out when it names a company.
_LEGAL = re.compile(
    r"(?:[\s,]+(?:&|and))?[\s,]+"
    r"(incorporated|inc|corporation|corp|company|co|limited|ltd|plc|llc|lp|ag|sa|s\.a|se|nv|n\.v|asa|ab|oyj|spa|s\.p\.a|"
    r"gmbh|kgaa|holdings?|group|(?:company)?/[a-z]{2,3}/?)\.?$",
    re.IGNORECASE,
)
_LEGAL_ZH = re.compile(r"(股份有限公司|有限责任公司|有限公司|集团股份|控股集团)$")
_BROKER_BEFORE = re.compile(r"(?:analysts?|strategists?|economists?|brokers?|note) (?:at|from|by)\s+$", re.IGNORECASE)
_BROKER_AFTER = re.compile(
    r"^\s*(?:analysts?|(?:up|down)grades?|starts?|initiates?|reiterates?|raises price target|cuts price target|"
    r"研报|研究|分析师|上调|下调|维持|首次覆盖)",
    re.IGNORECASE,
)
_SUFFIXES = {"SSE": ("SH", "SS"), "SZSE": ("SZ",), "HKEX": ("HK",), "LSE": ("L",)}
# A sentence that lists so many companies is about none of them.
_LIST = 5
_COLUMNS = ("company_id", "name", "ticker", "exchange", "country", "sector", "aliases", "valid_from", "valid_to")


@dataclass(frozen=True)
class Company:
    """A company as it was named from `valid_from` up to `valid_to` (None: without end)."""

    id: str
    name: str
    ticker: str = ""
    exchange: str = ""
    country: str = ""
    sector: str = ""
    aliases: tuple[str, ...] = ()
    valid_from: date | None = None
    valid_to: date | None = None

    def valid_on(self, day: date) -> bool:
        return (self.valid_from is None or self.valid_from <= day) and (self.valid_to is None or day <= self.valid_to)


@dataclass(frozen=True)
class _Pattern:
    company: Company
    text: str
    kind: str  # name, ticker


@dataclass(frozen=True)
class _Found:
    company: Company
    start: int
    end: int


def read_gazetteer(path: Path) -> list[Company]:
    """Read a CSV with the columns company_id, name, ticker, exchange, country, sector, aliases (divided by |),
    valid_from, valid_to; all but the first two may be missing. Raises HeadwaterError naming file and line."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        missing = {"company_id", "name"} - set(reader.fieldnames or ())
        if missing:
            raise HeadwaterError(
                f"{path}: the columns {', '.join(sorted(missing))} are missing; the first line must name "
                f"{', '.join(_COLUMNS)}"
            )
        return [_company(row, f"{path}:{reader.line_num}") for row in reader]


def write_gazetteer(path: Path, companies: Iterable[Company]) -> None:
    """Write what `read_gazetteer` reads, whole or not at all."""
    partial = path.with_name(f".{path.name}.part")
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for c in companies:
            dates = [day.isoformat() if day else "" for day in (c.valid_from, c.valid_to)]
            writer.writerow([c.id, c.name, c.ticker, c.exchange, c.country, c.sector, "|".join(c.aliases), *dates])
    partial.replace(path)


def _company(row: dict[str, Any], place: str) -> Company:
    values = {name: (row.get(name) or "").strip() for name in _COLUMNS}
    if not values["company_id"] or not values["name"]:
        raise HeadwaterError(f"{place}: a company needs company_id and name")
    days: list[date | None] = []
    for name in ("valid_from", "valid_to"):
        try:
            days.append(date.fromisoformat(values[name]) if values[name] else None)
        except ValueError:
            raise HeadwaterError(f"{place}: {name} is {values[name]!r}; write it as 2024-03-31") from None
    aliases = tuple(alias.strip() for alias in values["aliases"].split("|") if alias.strip())
    return Company(
        values["company_id"],
        values["name"],
        values["ticker"],
        values["exchange"].upper(),
        values["country"],
        values["sector"],
        aliases,
        days[0],
        days[1],
    )


class Gazetteer:
    """Finds companies in texts by Aho-Corasick (leftmost-longest) over folded names; safe to share between threads.

    Folding (case, full width, traditional characters) keeps the length, so that spans fit the text as it was given.
    """

    def __init__(self, companies: Sequence[Company]) -> None:
        import ahocorasick_rs

        self.companies = list(companies)
        self.by_id: dict[str, Company] = {}
        for company in companies:  # the last row of an id is its present name
            self.by_id[company.id] = company
        self._patterns: dict[str, list[_Pattern]] = {}
        for company in companies:
            for name in _names(company):
                self._add(name, _Pattern(company, name, "name"))
            if company.ticker:
                for code in _codes(company):
                    self._add(code, _Pattern(company, code, "ticker"))
        self._keys = list(self._patterns)
        self._automaton = ahocorasick_rs.AhoCorasick(
            self._keys or ["\0"], matchkind=ahocorasick_rs.MatchKind.LeftmostLongest
        )

    def _add(self, name: str, pattern: _Pattern) -> None:
        key = fold(name)
        if len(key) >= 2 and all(p.company.id != pattern.company.id for p in self._patterns.get(key, ())):
            self._patterns.setdefault(key, []).append(pattern)

    def name_of(self, company_id: str) -> str:
        """The present name; the id itself where it is not known."""
        company = self.by_id.get(company_id)
        return company.name if company else company_id

    def find(self, text: str, day: date) -> list[_Found]:
        """Every certain mention in reading order."""
        places = self._places(text, day)
        is_small = not any(character.isupper() for character in text)
        words = set() if is_small else _words(text, places)
        found: list[_Found] = []
        unsure: list[_Found] = []
        for pattern, place in places:
            start, end = place.start, place.end
            if pattern.kind == "ticker":
                if marked_as_ticker(text, start, end, pattern.text, _names(place.company)):
                    found.append(place)
            elif pattern.text != pattern.text.lower() and text[start:end].islower() and not is_small:
                continue
            elif (is_common(fold(pattern.text)) or pattern.text in words) and not reads_as_company(text, start, end):
                unsure.append(place)
            else:
                found.append(place)
        certain = {place.company.id for place in found}
        # Once a text names Orchard plc, its further Orchards, with a capital, are the company as well.
        found += [p for p in unsure if p.company.id in certain and not text[p.start].islower()]
        return sorted(found, key=lambda place: place.start)

    def _places(self, text: str, day: date) -> list[tuple[_Pattern, _Found]]:
        """Where a name or ticker stands that one company alone had on that day."""
        places = []
        for index, start, end in self._automaton.find_matches_as_indexes(fold(text)):
            if self._keys[index] == "\0" or not _bounded(text, start, end):
                continue
            valid = [p for p in self._patterns[self._keys[index]] if p.company.valid_on(day)]
            if len({p.company.id for p in valid}) == 1:
                places.append((valid[0], _Found(valid[0].company, start, end)))
        return places

    def mentions(self, title: str, text: str, published: datetime) -> list[Mention]:
        """The companies of an article with relevance 0-100 by role and position, most relevant first.

        Spans count from the start of `title`, then a newline, then `text`.
        """
        whole = f"{title}\n{text}"
        found = self.find(whole, published.date())
        places: dict[str, list[_Found]] = {}
        for place in found:
            places.setdefault(place.company.id, []).append(place)
        crowd = _crowded(found, whole)
        order = list(places)
        result = []
        for company_id, own in places.items():
            role = _role(whole, own, crowd, title)
            relevance = _relevance(own, order.index(company_id), role, len(title), len(whole))
            company = own[0].company
            spans = tuple((place.start, place.end) for place in own)
            result.append(Mention(company_id, company.name, company.ticker, relevance, role, spans))
        return sorted(result, key=lambda mention: (-mention.relevance, mention.company_id))


def _words(text: str, places: Sequence[tuple[_Pattern, _Found]]) -> set[str]:
    """Names that the text itself writes small at least as often as not, addresses apart: they are words in it, and need
    a company's surroundings where they have a capital."""
    small: Counter[str] = Counter()
    capital: Counter[str] = Counter()
    for pattern, place in places:
        if not text[place.start : place.end].islower():
            capital[pattern.text] += 1
        elif pattern.text != pattern.text.lower() and in_prose(text, place.start, place.end):
            small[pattern.text] += 1
    return {name for name, count in small.items() if count >= capital[name]}


def fold(text: str) -> str:
    """Lower case, half width, simplified characters; one character for one, so that positions stay."""
    return text.lower() if text.isascii() else "".join(map(_fold_character, text))


@functools.lru_cache(maxsize=100_000)
def _fold_character(character: str) -> str:
    if character.isascii():
        return character.lower()
    for change in (lambda c: unicodedata.normalize("NFKC", c), _simplified().convert):
        changed = change(character)
        character = changed if len(changed) == 1 else character
    lowered = character.lower()
    return lowered if len(lowered) == 1 else character


@functools.cache
def _simplified() -> Any:
    import opencc

    return opencc.OpenCC("t2s")


def _names(company: Company) -> list[str]:
    names = [company.name, *company.aliases]
    for name in list(names):
        short = name
        while (shorter := _LEGAL_ZH.sub("", _LEGAL.sub("", short))) != short:
            short = shorter
        # "The Co" and "XY Group" would leave nothing that names a company.
        if len(short) >= (4 if short.isascii() else 3):
            names.append(short)
    return list(dict.fromkeys(names))


def _codes(company: Company) -> list[str]:
    suffixes = _SUFFIXES.get(company.exchange, ())
    return [company.ticker, *(f"{company.ticker}.{suffix}" for suffix in suffixes)]


def _bounded(text: str, start: int, end: int) -> bool:
    """Latin letters and digits must not go on beyond the match; Chinese writes names without spaces."""

    def joined(a: str, b: str) -> bool:
        return a.isascii() and b.isascii() and a.isalnum() and b.isalnum()

    before = start > 0 and joined(text[start - 1], text[start])
    after = end < len(text) and joined(text[end - 1], text[end])
    return not (before or after)


def _sentence_of(whole: str, position: int) -> tuple[int, int]:
    for start, end in _sentences(whole):
        if start <= position < end:
            return start, end
    return position, position


@functools.lru_cache(maxsize=8)
def _sentences(whole: str) -> tuple[tuple[int, int], ...]:
    spans: list[tuple[int, int]] = []
    offset = 0
    for line in whole.split("\n"):
        spans += [(offset + start, offset + end) for start, end in split_sentences(line)]
        offset += len(line) + 1
    return tuple(spans)


def _crowded(found: Sequence[_Found], whole: str) -> set[int]:
    """Starts of the sentences that list too many companies to be about any."""
    named: dict[int, set[str]] = {}
    for place in found:
        named.setdefault(_sentence_of(whole, place.start)[0], set()).add(place.company.id)
    return {start for start, companies in named.items() if len(companies) >= _LIST}


def _role(whole: str, own: Sequence[_Found], crowd: set[int], title: str) -> str:
    """subject (first in the title), title, listed, source (its analysts speak), or body."""
    if all(_speaks(whole, place) for place in own):
        return "source"
    if all(_sentence_of(whole, place.start)[0] in crowd for place in own):
        return "listed"
    in_title = [place for place in own if place.start < len(title)]
    if not in_title:
        return "body"
    return "subject" if in_title[0].start <= len(title) * 0.35 else "title"


def _speaks(whole: str, place: _Found) -> bool:
    before = _BROKER_BEFORE.search(whole[max(0, place.start - 30) : place.start])
    return bool(before or _BROKER_AFTER.match(whole[place.end : place.end + 30]))


def _relevance(own: Sequence[_Found], order: int, role: str, title: int, whole: int) -> int:
    """0-100: the role decides, the number and the place of the mentions adjust."""
    start = {"subject": 80, "title": 60, "body": 35, "listed": 15, "source": 10}[role]
    if role == "body":
        start -= round(20 * (own[0].start - title) / max(1, whole - title))
    score = start + 4 * min(4, len(own) - 1) - 3 * min(5, order)
    limit = {"listed": 25, "source": 20}.get(role, 100)
    return max(1, min(limit, score + (4 if order == 0 else 0)))


def target_sentence(whole: str, mention: Mention, limit: int = 400) -> str:
    """The sentence that says most of a company: the title when it is named there, else the first that names it."""
    start, end = _sentence_of(whole, mention.spans[0][0])
    return whole[start:end][:limit]


def language_of(text: str, stated: str) -> str:
    """The text's own language, the stated one for texts too short to tell."""
    return detect_language(text) if len(text) >= 20 or not stated else stated.split("-")[0].lower()
