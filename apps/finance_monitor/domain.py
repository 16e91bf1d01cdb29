"""What passes between the stages: source → capture → article → story → score → incident → alert."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

KINDS = ("news", "comment", "filing")
FORMATS = ("feed", "sitemap", "listing")
SENTIMENTS = ("positive", "neutral", "negative")
# By what the model reads the company in question, and every other one.
TARGETS = {"en": ("this company", "another firm"), "zh": ("本公司", "另一家企业")}


@dataclass(frozen=True)
class Source:
    """One address to watch. `every` and `delay` are seconds; `weight` is what its stories count for in trends."""

    id: str
    name: str
    url: str
    format: str = ""
    language: str = ""
    region: str = ""
    kind: str = "news"
    weight: float = 1.0
    every: float = 600.0
    delay: float = 1.0
    full_text: bool = True
    max_pages: int = 200
    include: str = ""
    enabled: bool = True


@dataclass(frozen=True)
class DateFound:
    """A date as it stood (`raw`), where it was found (`method`), and as a moment in UTC (None: unreadable)."""

    raw: str
    method: str
    moment: datetime | None


@dataclass(frozen=True)
class FeedEntry:
    """One item of a feed, sitemap or listing page, before its page is read."""

    url: str
    guid: str = ""
    title: str = ""
    summary: str = ""
    author: str = ""
    published: DateFound | None = None
    updated: DateFound | None = None
    language: str = ""
    content: str = ""


@dataclass(frozen=True)
class Page:
    """What a page says: `text` in paragraphs divided by newlines; `method` names the extractor that found it, `read` is
    the moment against which its dates were read."""

    title: str
    text: str
    published: DateFound | None = None
    author: str = ""
    language: str = ""
    canonical: str = ""
    method: str = ""
    read: datetime | None = None


@dataclass(frozen=True)
class Article:
    """One revision of an article as it was known at `known_at`. `published` is when it happened for all counts:
    the stated date when it is plausible, else the moment it was first seen."""

    id: str
    revision: int
    source_id: str
    url: str
    title: str
    summary: str
    text: str
    language: str
    kind: str
    published: datetime
    known_at: datetime
    first_seen: datetime
    author: str = ""
    date_raw: str = ""
    date_method: str = ""
    weight: float = 1.0


@dataclass(frozen=True)
class Mention:
    """A company in a text: spans of its names in title (`in_title`) and text, and its relevance 0-100."""

    company_id: str
    name: str
    ticker: str
    relevance: int
    role: str
    spans: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Sentiment:
    """Calibrated probabilities of positive, neutral, negative; `label` is "" where the model abstains."""

    label: str
    positive: float
    neutral: float
    negative: float
    sentence: str = ""


@dataclass(frozen=True)
class StoryPlace:
    """Where an article belongs: its story, how new it is in it (0 a reprint, 1 nothing alike before), and as what."""

    story_id: str
    novelty: float
    relation: str
    nearest: str = ""


@dataclass(frozen=True)
class Scored:
    """An article with everything that the models say of it."""

    article: Article
    place: StoryPlace
    mentions: tuple[tuple[Mention, Sentiment], ...]
    overall: Sentiment
    topics: tuple[tuple[str, float], ...]
    models: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Incident:
    """A surge of negative stories about one entity. `revision` grows with each change; `reason` says why it changed."""

    id: str
    entity_kind: str
    entity: str
    state: str
    severity: str
    revision: int
    opened: datetime
    updated: datetime
    closed: datetime | None
    reason: dict[str, Any] = field(default_factory=dict)
    story_ids: tuple[str, ...] = ()
