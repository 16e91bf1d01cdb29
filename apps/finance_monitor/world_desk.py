"""The desks of the sample world: a draft becomes an article at a source, is reprinted, talked about and corrected."""

import hashlib
import math
import random
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from finance_monitor.world_bank import Article, Bank, Company, Correction, Frame, Reprint, WorldSource, lines_of
from finance_monitor.world_texts import Facts, in_paragraphs, sentences, tell


@dataclass(frozen=True)
class Draft:
    """An article before a source has taken it."""

    event: str
    title: str
    summary: str
    paragraphs: tuple[str, ...]
    when: datetime
    language: str
    kind: str
    companies: tuple[str, ...]
    topics: tuple[str, ...]
    polarity: Mapping[str, str]
    surge: str = ""


def _number(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256(":".join(map(str, parts)).encode()).digest()[:5], "big")


def slug(title: str) -> str:
    """The title in small ASCII letters with hyphens, at most 60 characters."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    return "-".join(re.findall(r"[a-z0-9]+", plain))[:60].strip("-") or "story"


PATHS = {
    "dated": "/{source}/{day:%Y/%m/%d}/{slug}-{number}.html",
    "short": "/{source}/a/{number}",
    "query": "/{source}/story.php?id={number}",
    "folder": "/{source}/{topic}/{day:%Y-%m}/{slug}/",
    "chinese": "/{source}/{day:%Y%m%d}/t{day:%Y%m%d}_{number}.shtml",
    "thread": "/{source}/threads/{number}/{slug}",
    "pdf": "/{source}/documents/{day:%Y}/{number}.pdf",
}
GUIDS = {"dated": "{source}-{number}", "short": "tag:{source}.example,{day:%Y}:{number}", "folder": "{path}"}
TYPOGRAPHIC = ((re.compile(r'(^|[\s(—])"'), r"\1“"), (re.compile(r'"'), "”"), (re.compile(r"'"), "’"))


def house_style(source: WorldSource, bank: Bank, text: str) -> str:
    """The text as the source sets it: typographic quotes in windows-1252, traditional characters in Big5."""
    if source.encoding == "windows-1252":
        for pattern, sign in TYPOGRAPHIC:
            text = pattern.sub(sign, text)
        return text
    return to_traditional(text, bank.traditional) if source.encoding == "big5" else text


def to_traditional(text: str, table: Mapping[str, str]) -> str:
    """Simplified characters as traditional ones; words first, for characters that stand for several."""
    for word, other in table.items():
        if len(word) > 1:
            text = text.replace(word, other)
    return "".join(table.get(letter, letter) for letter in text)


def publish(bank: Bank, source: WorldSource, draft: Draft, rng: random.Random, reprint_of: str = "") -> Article:
    """The draft as an article of the source."""
    number = _number(draft.event, source.id, draft.when.isoformat(), draft.title)
    day = draft.when.astimezone(source.zone)
    naming = {"source": source.id, "number": number, "day": day, "slug": slug(draft.title), "topic": draft.topics[0]}
    path = PATHS[source.desk].format(**naming)
    if source.desk == "folder":
        path = path.rstrip("/") + f"-{number % 10**6}/"
    guid = GUIDS.get(source.desk, "{number}").format(path=path, **naming)
    set_in = [house_style(source, bank, text) for text in (draft.title, draft.summary, *draft.paragraphs)]
    author = rng.choice(
        bank.context[source.language[:2]]["names"]["members" if source.kind == "comment" else "reporters"]
    )
    if source.kind == "filing":
        author = bank.companies[draft.companies[0]].name if draft.companies else source.name
    return Article(
        source.id, guid, path, set_in[0], set_in[1], tuple(set_in[2:]), house_style(source, bank, author), draft.when,
        source.language, draft.kind, draft.companies, draft.topics, draft.event, draft.polarity,
        reprint_of=reprint_of, surge=draft.surge,
    )  # fmt: skip


def source_for(
    bank: Bank, rng: random.Random, language: str, kind: str, without: str = "", region: str = ""
) -> WorldSource:
    fitting = [s for s in bank.sources if s.language[:2] == language and s.kind == kind and s.id != without]
    weights = [source.share * (1.8 if source.region == region else 1.0) for source in fitting]
    return rng.choices(fitting, weights)[0]


def report(bank: Bank, rng: random.Random, frame: Frame, event: str, when: datetime, company: Company | None) -> Draft:
    """A draft about the event that the frame describes."""
    language = frame.language
    other = _other(bank, rng, company, language) if frame.other else None
    facts = Facts(rng, bank, language, when, company, other)
    headline, _, own = rng.choice(frame.titles).partition(" => ")
    title = tell(headline, rng, facts)
    lede = tell(own or rng.choice(frame.ledes), rng, facts)
    told = in_paragraphs(rng, lede, sentences(bank, rng, frame, facts), language)
    companies = ([company.id] if company else []) + ([other.id] if other and "other" in facts.used else [])
    polarity = {company.id: frame.polarity} if company else {}
    if other and other.id in companies:
        polarity[other.id] = frame.other
    return Draft(event, title, lede, told, when, language, "news", tuple(companies), frame.topics, polarity)


def _other(bank: Bank, rng: random.Random, company: Company | None, language: str) -> Company:
    home = company.country if company else ""
    fitting = [c for c in bank.companies.values() if c.speaks(language) and c is not company]
    if company is not None:
        fitting = [c for c in fitting if not c.id.startswith(company.id) and not company.id.startswith(c.id)]
    near = [c for c in fitting if company is not None and (c.sector == company.sector or c.country == home)]
    return rng.choice(near or fitting)


def reprint(bank: Bank, rng: random.Random, first: Article, draft: Draft) -> tuple[Article, Reprint]:
    """The draft in another source some time later: whole, lightly edited or cut."""
    language = draft.language
    source = source_for(bank, rng, language, "news", without=first.source)
    mode = rng.choices(("whole", "edited", "cut"), (4, 3, 3))[0]
    credit = next(s.name for s in bank.sources if s.id == first.source)
    paragraphs = list(draft.paragraphs)
    title = draft.title
    if mode == "cut":
        paragraphs = paragraphs[: max(3, math.ceil(len(paragraphs) * 0.65))]
    if mode != "whole" or rng.random() < 0.3:
        pattern = rng.choice(lines_of(bank.context[language]["reprint"]["titles"]))
        title = pattern.format(title=title, credit=credit)
    if mode == "edited":
        for old, new in rng.sample(list(bank.context[language]["reprint"]["swaps"].items()), 8):
            paragraphs = [text.replace(old, new) for text in paragraphs]
        paragraphs.append(rng.choice(lines_of(bank.context[language]["reprint"]["tails"])).format(credit=credit))
    elif rng.random() < 0.5:
        paragraphs[0] = f"({credit}) {paragraphs[0]}" if language == "en" else f"据{credit}消息,{paragraphs[0]}"
    when = draft.when + timedelta(minutes=rng.randint(12, 90) if rng.random() < 0.6 else rng.randint(90, 1100))
    again = replace(draft, title=title, paragraphs=tuple(paragraphs), when=when)
    made = publish(bank, source, again, rng, reprint_of=first.guid)
    made = replace(made, mode=mode)
    return made, Reprint(made.guid, first.guid, mode)


def comment(bank: Bank, rng: random.Random, draft: Draft) -> Article | None:
    """What a member of a forum makes of the event; None where it names no company."""
    if not draft.companies:
        return None
    language = draft.language
    company = bank.companies[draft.companies[0]]
    polarity = draft.polarity[company.id]
    when = draft.when + timedelta(minutes=rng.randint(9, 320))
    facts = Facts(rng, bank, language, when, company, None)
    forum = bank.context[language]["forum"]
    title = rng.choice(lines_of(forum["titles"])).format(title=draft.title, co=facts["co"], ticker=facts["ticker"])
    lines = [tell(line, rng, facts) for line in rng.sample(lines_of(forum[polarity]), rng.randint(2, 4))]
    lines[1:1] = [tell(rng.choice(lines_of(forum["asides"])), rng, facts)]
    source = source_for(bank, rng, language, "comment")
    written = replace(
        draft, title=title, summary=lines[0], paragraphs=tuple(lines), when=when, kind="comment",
        companies=(company.id,), polarity={company.id: polarity},
    )  # fmt: skip
    return publish(bank, source, written, rng)


# A figure that can be wrong: no part of a longer number, of a name (S9) or of a Chinese date.
FIGURE = re.compile(r"(?<![\d.,A-Za-z])\d{1,3}(?:\.\d+)?(?![\d,A-Za-z月日年]|\.\d)")


def correct(bank: Bank, rng: random.Random, article: Article, at: datetime) -> tuple[Article, Correction] | None:
    """The article with one of its figures put right; None where it has none."""
    for place in rng.sample(range(len(article.paragraphs)), len(article.paragraphs)):
        found = FIGURE.search(article.paragraphs[place])
        if found is None:
            continue
        old = found[0]
        new = (
            f"{float(old) * rng.choice((0.8, 0.9, 1.1, 1.2)) + 1.3:.1f}"
            if "." in old
            else str(int(old) + rng.randint(1, 4))
        )
        if new == old:
            continue
        source = next(s for s in bank.sources if s.id == article.source)
        note = rng.choice(lines_of(bank.context[article.language[:2]]["about"]["correction"])).format(old=old, new=new)
        paragraphs = list(article.paragraphs)
        paragraphs[place] = paragraphs[place][: found.start()] + new + paragraphs[place][found.end() :]
        paragraphs.append(house_style(source, bank, note))
        made = replace(article, paragraphs=tuple(paragraphs), updated=at, revision_of=article.guid)
        return made, Correction(article.guid, article.path, at, old, new)
    return None
