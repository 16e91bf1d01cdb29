"""Conversations: redacted turns, searched and rated."""

import secrets
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from headwater.errors import HeadwaterError, NotFound
from headwater.language import detect_language
from headwater.storage.columns import now
from support_bot.domain import Answer
from support_bot.redaction import redact
from support_bot.tables import conversations, turns


class Conversations:
    """The conversations of one site. What is stored is redacted here, whoever calls."""

    def __init__(self, engine: sa.Engine, site: str) -> None:
        self._engine = engine
        self.site = site

    def add_turn(
        self, conversation_id: str | None, question: str, answer: Answer, subject: str | None = None
    ) -> tuple[str, int]:
        """Store a turn, opening a conversation when there is none; returns (conversation id, turn number).

        Raises NotFound for an id that is not this site's.
        """
        moment = now()
        with self._engine.begin() as connection:
            if conversation_id is None:
                conversation_id = secrets.token_hex(12)
                row = {"id": conversation_id, "site_id": self.site, "subject": subject, "language": answer.language}
                connection.execute(conversations.insert().values(**row, started=moment, updated=moment))
            else:
                changed = connection.execute(
                    conversations.update()
                    .where(conversations.c.id == conversation_id, conversations.c.site_id == self.site)
                    .values(updated=moment)
                )
                if changed.rowcount == 0:
                    raise NotFound(
                        f"there is no conversation {conversation_id!r}; leave conversation_id out to begin one"
                    )
            newest = connection.execute(
                sa.select(sa.func.max(turns.c.number)).where(turns.c.conversation_id == conversation_id)
            ).scalar()
            number = int(newest or 0) + 1
            connection.execute(
                turns.insert().values(
                    conversation_id=conversation_id,
                    number=number,
                    question=redact(question),
                    answer=redact(answer.text),
                    path=answer.path,
                    intent=answer.intent,
                    confidence=answer.confidence,
                    citations=[asdict(citation) for citation in answer.citations],
                    milliseconds=answer.timings.get("total", 0.0),
                    asked=moment,
                )
            )
        return conversation_id, number

    def offered(self, conversation_id: str) -> str | None:
        """The language in which the last turn offered a person, as refusals and doubtful answers do, else None."""
        query = (
            sa.select(turns.c.path, turns.c.answer)
            .join(conversations, conversations.c.id == turns.c.conversation_id)
            .where(conversations.c.id == conversation_id, conversations.c.site_id == self.site)
            .order_by(turns.c.number.desc())
            .limit(1)
        )
        with self._engine.connect() as connection:
            last = connection.execute(query).first()
        return detect_language(last.answer) if last is not None and last.path in ("refused", "clarify") else None

    def rate(self, conversation_id: str, number: int, value: int, reason: str = "") -> None:
        """Thumb up (1) or down (-1) for a turn."""
        if value not in (-1, 1):
            raise HeadwaterError(f"feedback is 1 or -1, not {value}")
        self.get(conversation_id)
        with self._engine.begin() as connection:
            changed = connection.execute(
                turns.update()
                .where(turns.c.conversation_id == conversation_id, turns.c.number == number)
                .values(feedback=value, feedback_reason=redact(reason)[:2000])
            )
            if changed.rowcount == 0:
                raise NotFound(f"conversation {conversation_id} has no turn {number}")

    def get(self, conversation_id: str) -> dict[str, Any]:
        """A conversation with its turns. Raises NotFound."""
        own = sa.select(conversations).where(
            conversations.c.id == conversation_id, conversations.c.site_id == self.site
        )
        said = sa.select(turns).where(turns.c.conversation_id == conversation_id).order_by(turns.c.number)
        with self._engine.connect() as connection:
            row = connection.execute(own).first()
            if row is None:
                raise NotFound(f"there is no conversation {conversation_id!r}")
            return {**row._mapping, "turns": [dict(turn._mapping) for turn in connection.execute(said)]}

    def search(self, text: str = "", path: str = "", limit: int = 50, offset: int = 0) -> list[dict[str, Any]]:
        """The latest turns, newest first, filtered by words in question or answer and by path."""
        query = (
            sa.select(turns, conversations.c.language)
            .join(conversations, conversations.c.id == turns.c.conversation_id)
            .where(conversations.c.site_id == self.site)
        )
        if text:
            query = query.where(
                sa.or_(
                    turns.c.question.icontains(text, autoescape=True), turns.c.answer.icontains(text, autoescape=True)
                )
            )
        if path:
            query = query.where(turns.c.path == path)
        query = query.order_by(turns.c.asked.desc(), turns.c.number.desc()).limit(limit).offset(offset)
        with self._engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]

    def counts(self) -> dict[str, int]:
        """Turns by path."""
        query = (
            sa.select(turns.c.path, sa.func.count())
            .join(conversations, conversations.c.id == turns.c.conversation_id)
            .where(conversations.c.site_id == self.site)
            .group_by(turns.c.path)
        )
        with self._engine.connect() as connection:
            return {path: int(count) for path, count in connection.execute(query)}
