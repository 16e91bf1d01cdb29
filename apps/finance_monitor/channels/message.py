"""What goes to a channel, and what came of it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Message:
    """One message in every form. `key` stays the same over all attempts; `markdown` is CommonMark with `\\`-escapes,
    `simple_markdown` the subset of the Chinese messengers, which know none; `link` is "" where there is no address."""

    key: str
    subject: str
    text: str
    html: str
    markdown: str
    simple_markdown: str
    link: str = ""
    languages: tuple[str, ...] = ("en",)
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """`sent`; `retry` and `limited` (again after `retry_after` seconds; None: by the schedule); `failed` (never again);
    `ambiguous` (it may have arrived: the answer did not)."""

    state: str
    reason: str = ""
    retry_after: float | None = None


@dataclass(frozen=True)
class Installation:
    """What this installation allows and is: requests to private addresses, the folder of secret files, and the address
    of its dashboard ("" where it has none that others can open)."""

    allow_private: bool = False
    secrets: Path | None = None
    dashboard: str = ""


SENT = Outcome("sent")
