"""The sample world: business news about fictional companies, a pure function of a seed and an anchor moment.

The texts are frames in `sample_data/*.toml`: `[a|b]` is a choice and `{name}` a fact of the event (see `Facts`), so
that all that is written about one event agrees. `build_world` gives the days before the anchor, `articles_after` the
hours behind it. Every article carries its ground truth: event, polarity per company, whose reprint or revision it is.
"""

import math
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from finance_monitor.world_bank import (
    CHINESE_REGIONS,
    LANGUAGES,
    ZONES,
    Article,
    Bank,
    Company,
    Correction,
    Frame,
    Reprint,
    Surge,
    World,
    WorldSource,
    lines_of,
    read_bank,
)
from finance_monitor.world_desk import Draft, comment, correct, publish, report, reprint, source_for
from finance_monitor.world_texts import Facts, in_paragraphs, tell

__all__ = ["Article", "Correction", "Reprint", "Surge", "World", "WorldSource", "articles_after", "build_world"]

# Shares of all that is written, set so that 60 days give about 1,700 articles of which a quarter are bad news.
POLARITIES = {"positive": 0.39, "neutral": 0.36, "negative": 0.25}
COMPANY_A_WEEK = (0.7, 3.1)
WORLD_A_DAY = 2.2
REPRINTED, REPRINTED_IN_SURGE = 0.15, 0.3
COMMENTED, COMMENTED_IN_SURGE = 0.14, 0.5
CORRECTED = 0.034
CORRECTED_AFTER_ANCHOR = 6
WEEKEND = 0.16
# How busy the desks are in each local hour, 0 to 23.
HOURS = (1, 1, 1, 1, 2, 5, 14, 26, 24, 20, 17, 15, 12, 13, 15, 17, 20, 19, 12, 8, 6, 5, 3, 2)


def _moment(rng: random.Random, day: date, country: str) -> datetime:
    hour = rng.choices(range(24), HOURS)[0]
    local = datetime.combine(day, time(hour, rng.randint(0, 59), rng.randint(0, 59)), ZoneInfo(ZONES[country]))
    return local.astimezone(UTC)


def _poisson(rng: random.Random, mean: float) -> int:
    number, product, bound = 0, rng.random(), math.exp(-mean)
    while product > bound:
        number, product = number + 1, product * rng.random()
    return number


def _frame_for(bank: Bank, rng: random.Random, language: str, company: Company | None, last: str) -> Frame:
    polarity = rng.choices(list(POLARITIES), list(POLARITIES.values()))[0]
    fitting = [
        frame
        for frame in bank.frames[language]
        if frame.about_company == (company is not None)
        and (company is None or (frame.polarity == polarity and frame.id != last))
        and (not frame.sectors or (company is not None and company.sector in frame.sectors))
    ]
    return rng.choices(fitting, [frame.weight for frame in fitting])[0]


def _language_of(rng: random.Random, company: Company) -> str:
    if company.country in CHINESE_REGIONS:
        return "zh" if rng.random() < 0.8 else "en"
    return "zh" if company.speaks("zh") and rng.random() < 0.14 else "en"


@dataclass
class Desk:
    """Collects what is written; `after` what is due behind the anchor."""

    bank: Bank
    articles: list[Article] = field(default_factory=list)
    reprints: list[Reprint] = field(default_factory=list)
    corrections: list[Correction] = field(default_factory=list)
    surges: list[Surge] = field(default_factory=list)

    def take(
        self, rng: random.Random, draft: Draft, source: WorldSource, reprinted: float, commented: float
    ) -> Article:
        """Publish a draft, and now and then its reprint and a comment on it."""
        first = publish(self.bank, source, draft, rng)
        self.articles.append(first)
        if source.kind != "news":
            return first
        if rng.random() < reprinted:
            made, told = reprint(self.bank, rng, first, draft)
            self.articles.append(made)
            self.reprints.append(told)
        if rng.random() < commented and (said := comment(self.bank, rng, draft)) is not None:
            self.articles.append(said)
        return first

    def event(self, rng: random.Random, event: str, when: datetime, company: Company | None, last: str = "") -> str:
        """Something happens to the company, or in the world where it is None; gives the frame's id."""
        if company is not None and company.country not in CHINESE_REGIONS and rng.random() < 0.11:
            frame = rng.choice(self.bank.filings)
            draft = replace(report(self.bank, rng, frame, event, when, company), kind="filing")
            self.take(rng, draft, source_for(self.bank, rng, "en", "filing"), 0, 0)
            return frame.id
        language = _language_of(rng, company) if company else rng.choices(LANGUAGES, (7, 3))[0]
        frame = _frame_for(self.bank, rng, language, company, last)
        source = source_for(self.bank, rng, language, "news", region=company.country if company else "")
        self.take(rng, report(self.bank, rng, frame, event, when, company), source, REPRINTED, COMMENTED)
        return frame.id

    def surge(self, rng: random.Random, spec: Mapping[str, Any], anchor: datetime) -> None:
        """The stories of a surge, each an event of its own."""
        starts, language = _surge_start(spec, anchor), str(spec["language"])
        company = self.bank.companies[spec["company"]]
        facts = Facts(rng, self.bank, language, starts, company, None)
        events: list[str] = []
        for place, story in enumerate(spec["story"]):
            when = starts + timedelta(hours=story["at"], minutes=rng.randint(0, 7), seconds=rng.randint(0, 59))
            event, polarity = f"{spec['id']}-{place:02d}", story.get("polarity", "negative")
            lines = [tell(line, rng, facts) for line in lines_of(story["text"])]
            context = self.bank.context[language]
            pools = (context["sector"][company.sector], context["about"]["company"], context["shares"]["negative"])
            around = [rng.choice(lines_of(pool)) for pool in pools]
            own = [tell(line, rng, facts) for line in rng.sample(around, rng.randint(1, 2))]
            told, title = in_paragraphs(rng, lines[0], lines[1:] + own, language), tell(story["title"], rng, facts)
            draft = Draft(
                event, title, lines[0], told, when, language, "news", (company.id,), tuple(story["topics"]),
                {company.id: polarity}, spec["id"] if polarity == "negative" else "",
            )  # fmt: skip
            source = source_for(self.bank, rng, language, draft.kind, region=company.country)
            self.take(rng, draft, source, REPRINTED_IN_SURGE, COMMENTED_IN_SURGE)
            events += [event] if polarity == "negative" else []
        ends = max(a.shown for a in self.articles if a.surge == spec["id"] and not a.reprint_of and a.kind == "news")
        topics = tuple(dict.fromkeys(topic for story in spec["story"] for topic in story["topics"]))
        self.surges.append(Surge(spec["id"], company.id, language, starts, ends, topics, tuple(events)))

    def correct_some(self, rng: random.Random, anchor: datetime) -> None:
        """Put figures right in a few articles, the last of them only after the anchor."""
        able = [a for a in self.articles if a.kind == "news" and a.published <= anchor]
        recent = [a for a in able if a.published > anchor - timedelta(hours=30)]
        for article in rng.sample(able, int(len(able) * CORRECTED)):
            self.correct_one(rng, article, article.published + timedelta(minutes=rng.randint(40, 560)))
        done = {correction.guid for correction in self.corrections}
        waiting = [a for a in recent if a.guid not in done]
        for place, article in enumerate(rng.sample(waiting, min(len(waiting), CORRECTED_AFTER_ANCHOR))):
            self.correct_one(rng, article, anchor + timedelta(minutes=4 + 13 * place + rng.randint(0, 8)))

    def correct_one(self, rng: random.Random, article: Article, at: datetime) -> None:
        found = correct(self.bank, rng, article, at)
        if found is not None:
            self.articles.append(found[0])
            self.corrections.append(found[1])


def _surge_start(spec: Mapping[str, Any], anchor: datetime) -> datetime:
    """A running surge starts some hours before the anchor; a past one on a working day near its own."""
    if "hours" in spec:
        return anchor + timedelta(hours=spec["hours"])
    days = [anchor.date() + timedelta(days=spec["day"] + step) for step in (0, -1, 1, -2, 2, -3)]
    day = next(day for day in days if day.weekday() < 4)
    return datetime.combine(day, time.fromisoformat(spec["time"]), UTC)


def build_world(anchor: datetime, seed: int = 7, days: int = 60) -> World:
    """The world as it was written in the `days` before `anchor`, an aware moment. Raises ValueError on a naive one."""
    if anchor.tzinfo is None:
        raise ValueError(
            f"the anchor {anchor.isoformat()} has no time zone; give it one, as in 2026-01-31T12:00:00+00:00"
        )
    anchor, bank = anchor.astimezone(UTC), read_bank()
    desk, first = Desk(bank), anchor - timedelta(days=days)
    for company in bank.companies.values():
        rng = random.Random(f"{seed}:{company.id}")
        rate, last = rng.uniform(*COMPANY_A_WEEK) / (5 + 2 * WEEKEND), ""
        for day in _days(first, anchor):
            for number in range(_poisson(rng, rate * (WEEKEND if day.weekday() > 4 else 1))):
                event = f"{company.id}-{day:%Y%m%d}-{number}"
                last = desk.event(rng, event, _moment(rng, day, company.country), company, last)
    rng = random.Random(f"{seed}:world")
    for day in _days(first, anchor):
        for number in range(_poisson(rng, WORLD_A_DAY * (WEEKEND if day.weekday() > 4 else 1.3))):
            desk.event(rng, f"world-{day:%Y%m%d}-{number}", _moment(rng, day, "GB"), None)
    for spec in bank.surges:
        desk.surge(random.Random(f"{seed}:{spec['id']}"), spec, anchor)
    desk.correct_some(random.Random(f"{seed}:corrections"), anchor)
    # What falls behind the anchor is left to `articles_after`, but for the running surge and the last corrections.
    kept = [a for a in _in_order(desk.articles) if a.shown > first]
    before = tuple(a for a in kept if a.shown <= anchor)
    later = tuple(a for a in kept if a.shown > anchor and (a.surge or a.revision_of or a.event.startswith("breach")))
    guids = {a.guid for a in (*before, *later)}
    return World(
        bank.sources, before, tuple(desk.surges),
        tuple(r for r in desk.reprints if r.guid in guids and r.of in guids),
        tuple(c for c in desk.corrections if c.guid in guids), anchor, seed, later,
    )  # fmt: skip


def articles_after(anchor: datetime, seed: int, hour: int) -> tuple[Article, ...]:
    """What is written in the hour that begins `hour` hours after the anchor: two to four events and their echoes."""
    bank = read_bank()
    rng, desk = random.Random(f"{seed}:{anchor.astimezone(UTC).isoformat()}:{hour}"), Desk(bank)
    starts = anchor.astimezone(UTC) + timedelta(hours=hour)
    for number in range(rng.randint(2, 4)):
        company = rng.choice([*bank.companies.values(), None]) if number else rng.choice(list(bank.companies.values()))
        when = starts + timedelta(seconds=rng.randint(0, 3599))
        desk.event(rng, f"after-{hour}-{number}", when, company)
    if rng.random() < 0.2:
        first = desk.articles[0]
        if first.kind == "news":
            desk.correct_one(rng, first, first.published + timedelta(minutes=rng.randint(20, 90)))
    return tuple(_in_order(desk.articles))


def _days(first: datetime, last: datetime) -> Iterable[date]:
    day = first.date()
    while day <= last.date():
        yield day
        day += timedelta(days=1)


def _in_order(articles: Iterable[Article]) -> list[Article]:
    return sorted(articles, key=lambda article: (article.shown, article.source, article.guid))
