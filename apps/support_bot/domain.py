"""What passes between the stages of the support bot."""

from dataclasses import dataclass, field
from typing import Any

PATHS = ("template", "extracted", "generated", "clarify", "refused", "handoff")


@dataclass(frozen=True)
class Citation:
    """Where a statement stands: `quote == document.text[start:end]`."""

    document_id: str
    title: str
    section: str
    url: str
    start: int
    end: int
    quote: str


@dataclass(frozen=True)
class Understanding:
    """What a message wants. `probabilities` are the best intents; `slots` by name; `in_scope` by the threshold."""

    language: str
    intent: str | None
    probability: float
    in_scope: bool
    probabilities: dict[str, float] = field(default_factory=dict)
    slots: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Passage:
    """A retrieved passage with the scores that brought it here."""

    document_id: str
    title: str
    section: str
    text: str
    score: float
    cosine: float
    bm25: float


@dataclass(frozen=True)
class Answer:
    """One reply: the path says how it came about, `timings` are milliseconds by stage."""

    path: str
    text: str
    language: str
    confidence: float
    citations: tuple[Citation, ...] = ()
    intent: str | None = None
    understanding: Understanding | None = None
    passages: tuple[Passage, ...] = ()
    timings: dict[str, float] = field(default_factory=dict)
    explanation: dict[str, Any] = field(default_factory=dict)
