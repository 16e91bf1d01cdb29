"""A stream of news whose stories are known, made from public texts: a pure function of a part and a seed.

Base events: wire articles of 1987 (reuters21578), headlines with and without a description (2017 to 2020), and MRPC
pairs, where the paraphrase is the second article of its story. Each event starts at a drawn moment of 40 days and has
up to 16 articles at twelve made-up outlets, each with its own house style and boilerplate:

- reprint: all of it under another headline, credit and footer;
- cut: the headline, the first paragraph, or the text broken off in the middle;
- update: a new lead, some figures moved, sentences added (written here, or from another article of the wire);
- rewrite: other words, sentences turned round, left out and reordered.

Hard negatives: other events of the same company within a day. An event that recurs a week later, in the same words
with other figures, is another story, so that the time window matters.

The wire holds unmarked reprints and takes of one event. `kept` drops an article that is like one kept before it, by
TF-IDF cosine over words: from .35 within a week or from .6 at any time; from .7 where both mark companies and none in
common (tables of results look alike and are other events). Fit and test part share no base text and no company;
headlines are parted by week, and of MRPC only pairs whose sentence numbers lie 1,000 apart are taken, since one report
gave several. What is left of one event under two names counts against whoever finds it.
"""

import hashlib
import random
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
from news_wording import ADDED, LEADS, OUTLETS, headline, reworded, styled, turned
from news_wording import DAYS as WEEKDAYS

from finance_monitor.companies import Company, Gazetteer
from finance_monitor.importers import import_companies
from headwater.data.public import NewsText, data_folder, financial_headlines, mrpc, reuters21578
from headwater.retrieval.sentences import split_sentences

START = datetime(2026, 1, 5, tzinfo=UTC)
DAYS = 40
FIT_SEEDS, TEST_SEEDS = (1, 2), (11, 12)
# Events a stream by origin; a QUICK run takes a fifth.
SHARES = {"wire": 420, "described": 100, "headline": 160, "pair": 150}
SIZES = {1: 0.42, 2: 0.18, 3: 0.12, 4: 0.08, 6: 0.09, 9: 0.07, 16: 0.04}
KINDS = {"reprint": 0.4, "cut": 0.22, "update": 0.23, "rewrite": 0.15}
NEIGHBOURS, RECURRING = 0.45, 0.06
_TICKER = re.compile(r"[A-Z]{1,5}(\.[A-Z]{1,2})?")
_FIGURE = re.compile(r"(?<![\w.,/-])(\d{1,3})((?:[.,]\d+)?)(?![\w,/-])")


@dataclass(frozen=True)
class Base:
    """One real event: its text, the company it is filed under, and how else it was put (MRPC)."""

    id: str
    title: str
    text: str
    company: str
    day: int
    origin: str
    paraphrase: str = ""


@dataclass(frozen=True)
class Item:
    """An article of the stream with its truth."""

    id: str
    title: str
    text: str
    published: datetime
    story: str
    kind: str


# --- base events ------------------------------------------------------------------------------------------------------


def base_events(listed: Gazetteer) -> dict[str, list[Base]]:
    """The "fit" and "test" events, apart by text and by the company of the wire. `listed`: for headlines."""
    found: dict[str, list[Base]] = {"fit": [], "test": []}

    def take(article: NewsText, origin: str, company: str, group: str, paraphrase: str = "") -> None:
        part = "fit" if _digest(group) % 5 < 2 else "test"
        day = article.day.toordinal()
        found[part].append(Base(article.id, article.title, article.text, company, day, origin, paraphrase))

    for article in kept([a for a in reuters21578() if a.title and 120 <= len(a.text) <= 4000]):
        company = article.companies[0] if article.companies else ""
        take(article, "wire", company, company or article.id)
    described = [article for article in financial_headlines("cnbc") if len(article.text) >= 40]
    for article in kept([*described, *financial_headlines("reuters")[::6]]):
        mentioned = listed.find(article.title, article.day)
        company = mentioned[0].company.id if mentioned else ""
        take(article, "described" if article.text else "headline", company, f"{article.day:%G-%V}")
    pairs = {key: (one, other) for key, one, other in _apart(mrpc())}
    for article in kept([NewsText(key, _heading(one), one, START.date()) for key, (one, _) in pairs.items()]):
        take(article, "pair", "", article.id, pairs[article.id][1])
    return found


def kept(articles: Sequence[NewsText]) -> list[NewsText]:
    """The articles without those that are like one before them (see above)."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = [f"{article.title} {article.text}" for article in articles]
    rows = TfidfVectorizer(sublinear_tf=True, stop_words="english", dtype=np.float32).fit_transform(texts)
    alike: dict[int, list[int]] = defaultdict(list)
    for start in range(0, len(articles), 1000):
        block = (rows[start : start + 1000] @ rows.T).tocoo()
        near = (block.data >= 0.35) & (block.col < block.row + start)
        for row, column, cosine in zip(block.row[near] + start, block.col[near], block.data[near], strict=True):
            if _one_event(articles[row], articles[column], float(cosine)):
                alike[int(row)].append(int(column))
    dropped: set[int] = set()
    for row in range(len(articles)):
        if any(column not in dropped for column in alike[row]):
            dropped.add(row)
    return [article for row, article in enumerate(articles) if row not in dropped]


def _apart(pairs: Sequence[tuple[str, str, str]], least: int = 1000) -> list[tuple[str, str, str]]:
    """Pairs whose numbers lie apart: sentences of one report have numbers that are close."""
    taken: list[int] = []
    found = []
    for pair in pairs:
        numbers = [int(number) for number in pair[0].split("-")]
        if all(abs(number - other) >= least for number in numbers for other in taken):
            taken += numbers
            found.append(pair)
    return found


def _one_event(a: NewsText, b: NewsText, cosine: float) -> bool:
    if a.companies and b.companies and not set(a.companies) & set(b.companies):
        return cosine >= 0.7
    return cosine >= (0.35 if abs((a.day - b.day).days) <= 7 else 0.6)


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


def _heading(sentence: str) -> str:
    words = sentence.split()
    return " ".join(words[:9]) + (" ..." if len(words) > 9 else "")


def gazetteer() -> Gazetteer:
    """The companies that the wire marks, by their marks, and SEC's list of today for the later headlines."""
    names: dict[str, Counter[str]] = defaultdict(Counter)
    for article in reuters21578():
        for mark in article.companies:
            if not _TICKER.fullmatch(mark):
                names[mark][mark] += 1
                continue
            for name in re.findall(
                rf"((?:[A-Z][\w&'-]*[ .]+)+)\({re.escape(mark)}\)", f"{article.title}\n{article.text}"
            ):
                names[mark][name.strip().title()] += 1
    companies = [
        Company(f"wire:{mark}", spelled[0], mark if _TICKER.fullmatch(mark) else "", aliases=tuple(spelled[1:]))
        for mark, counts in sorted(names.items())
        if (spelled := [name for name, _ in counts.most_common(3) if len(name) >= 3])
    ]
    known = {company.ticker for company in companies}
    listed = import_companies(data_folder("company_gazetteer") / "company_tickers.json", "").companies
    return Gazetteer([*companies, *(company for company in listed if company.ticker not in known)])


# --- the stream -------------------------------------------------------------------------------------------------------


def build_stream(pool: Sequence[Base], seed: int, scale: float = 1.0) -> list[Item]:
    """The articles in the order of their publication."""
    rng = random.Random(seed)
    writer = _Writer(rng, [base for base in pool if base.origin == "wire"])
    for origin, count in SHARES.items():
        number = round(count * scale)
        chosen = _draw(rng, [base for base in pool if base.origin == origin], number)
        for group in chosen:
            day = rng.uniform(0, DAYS)
            for base in group:
                writer.event(base, START + timedelta(days=day + rng.random() * (len(group) > 1)))
    items = sorted(writer.items, key=lambda item: (item.published, item.story, item.title))
    return [replace(item, id=f"{seed}-{number:05d}") for number, item in enumerate(items)]


def _draw(rng: random.Random, pool: Sequence[Base], count: int) -> list[list[Base]]:
    """Events alone, and in groups of one company whose days lie a week apart or more (so they are other events)."""
    by_company: dict[str, list[Base]] = defaultdict(list)
    for base in pool:
        by_company[base.company].append(base)
    groups = []
    for company, bases in sorted(by_company.items()):
        apart: list[Base] = []
        for base in rng.sample(bases, len(bases)) if company else ():
            if all(abs(base.day - other.day) >= 7 for other in apart) and len(apart) < 4:
                apart.append(base)
        if len(apart) > 1:
            groups.append(apart)
    found: list[list[Base]] = []
    rng.shuffle(groups)
    while groups and sum(map(len, found)) < count * NEIGHBOURS:
        found.append(groups.pop())
    taken = {base.company for group in found for base in group}
    rest = [base for base in pool if not base.company or base.company not in taken]
    missing = count - sum(map(len, found))
    return found + [[base] for base in rng.sample(rest, min(missing, len(rest)))]


class _Writer:
    def __init__(self, rng: random.Random, strangers: Sequence[Base]) -> None:
        self._rng = rng
        self._strangers = strangers
        self.items: list[Item] = []

    def event(self, base: Base, start: datetime, name: str = "") -> None:
        """All articles of an event, and now and then its recurrence, which is a story of its own."""
        rng, story = self._rng, name or base.id
        size = rng.choices(list(SIZES), list(SIZES.values()))[0]
        if base.paraphrase:
            self._publish(base.title, base.text, "base", start, story)
            self._publish(_heading(base.paraphrase), base.paraphrase, "rewrite", start + self._lag(), story)
            if size > 4:
                self._publish(base.title, base.text, "reprint", start + self._lag(), story)
            return
        latest = (base.title, base.text)
        versions = [latest]
        self._publish(*latest, "base", start, story)
        for moment in sorted(start + self._lag() for _ in range(size - 1)):
            kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
            if kind == "update":
                latest = self._updated(*latest, base)
                versions.append(latest)
            self._publish(*(latest if kind == "update" else rng.choice(versions)), kind, moment, story)
        if rng.random() < RECURRING and not name and base.origin == "wire":
            again = replace(base, title=self._moved(base.title), text=self._moved(base.text, 0.9))
            self.event(again, start + timedelta(days=rng.uniform(7, 12)), f"{base.id} again")

    def _lag(self) -> timedelta:
        return timedelta(hours=min(84.0, self._rng.expovariate(1 / 14)))

    def _publish(self, title: str, text: str, kind: str, moment: datetime, story: str) -> None:
        rng = self._rng
        outlet = rng.choice(OUTLETS)
        if kind == "rewrite":
            title, text = self._rewritten(title, text)
        elif kind == "cut":
            text = self._cut(text)
        title, text = headline(title, outlet, rng), styled(text, outlet, rng)
        if text and rng.random() < 0.6:
            text = outlet.head + text
        if rng.random() < 0.55 and (text or rng.random() < 0.2):
            text = f"{text}\n{outlet.foot}".strip()
        self.items.append(Item("", title, text, moment, story, kind))

    def _cut(self, text: str) -> str:
        way = self._rng.choice(("title", "paragraph", "paragraph", "broken", "broken", "broken"))
        if way == "title":
            return ""
        if way == "paragraph":
            return text.split("\n")[0]
        whole = text.replace("\n", " ")
        return whole[: max(80, int(len(whole) * self._rng.uniform(0.3, 0.8)))] + "..."

    def _updated(self, title: str, text: str, base: Base) -> tuple[str, str]:
        rng = self._rng
        paragraphs = [self._moved(paragraph) for paragraph in text.split("\n") if paragraph]
        if rng.random() < 0.4:
            lead = rng.choice(LEADS).format(
                day=rng.choice(WEEKDAYS), title=title.capitalize() if title.isupper() else title
            )
            paragraphs = [lead, *paragraphs[rng.random() < 0.3 :]]
        for _ in range(rng.randint(1, 3)):
            figure = f"{rng.randint(1, 60)}.{rng.randint(0, 9)}"
            added = rng.choice(ADDED).format(figure=figure)
            if rng.random() < 0.35:
                added = rng.choice(rng.choice(self._strangers).text.split("\n"))
            paragraphs.insert(rng.randint(min(1, len(paragraphs)), len(paragraphs)), added)
        return self._moved(title, 0.4), "\n".join(paragraphs)

    def _moved(self, text: str, share: float = 0.3) -> str:
        """Some figures become others of the same size."""
        rng = self._rng

        def other(found: re.Match[str]) -> str:
            if rng.random() >= share:
                return found[0]
            whole = max(1, round(int(found[1]) * rng.uniform(0.8, 1.25)) + rng.choice((-1, 1)))
            rest = found[2] and found[2][0] + "".join(str(rng.randint(0, 9)) for _ in found[2][1:])
            return f"{whole}{rest}"

        return _FIGURE.sub(other, text)

    def _rewritten(self, title: str, text: str) -> tuple[str, str]:
        rng = self._rng
        sentences = [line[a:b] for line in text.split("\n") for a, b in split_sentences(line)]
        lead, rest = sentences[:1], [s for s in sentences[1:] if rng.random() > 0.3]
        for place in range(0, len(rest) - 1, 2):
            if rng.random() < 0.5:
                rest[place : place + 2] = rest[place + 1], rest[place]
        told = " ".join(turned(reworded(sentence, rng)) for sentence in [*lead, *rest])
        heading = _heading(reworded(lead[0], rng)) if lead and rng.random() < 0.4 else reworded(title, rng)
        return heading, told
