"""Yes or no to what a refusal ends with: "Would you like me to hand you over to a colleague?"."""

import functools
import re

from support_bot.wording import LANGUAGES, follow_up_words


def read_reply(message: str, offered: str) -> tuple[bool, str] | None:
    """(accepted, language of the reply) when the message is nothing but a yes or a no, else None.

    `offered` is the language of the offer; a reply in the words of another language gets its answer in that one.

    >>> read_reply("Yes please!", "en")
    (True, 'en')
    """
    said = message.casefold().replace("’", "'")
    for language in sorted(LANGUAGES, key=lambda name: name != offered):
        if _holds_only(said, "no", language):
            return False, language
        if _holds_only(said, "yes", language):
            return True, language
    return None


def _holds_only(message: str, answer: str, language: str) -> bool:
    """Whether the message consists of phrases of the answer, at least one, and polite words."""
    words = follow_up_words(language)
    meant = set(words[answer].split("|"))
    phrase, place, answered = _phrase(f"{words[answer]}|{words['polite']}"), 0, False
    while place < len(message):
        match = phrase.match(message, place)
        if match is None:
            return False
        answered = answered or match.group(1) in meant
        place = match.end()
    return answered


@functools.cache
def _phrase(phrases: str) -> re.Pattern[str]:
    """One of the phrases with what separates it from the next; the longest first, since "no" begins "no need"."""
    ordered = sorted(phrases.split("|"), key=len, reverse=True)
    return re.compile(rf"[\W_]*({'|'.join(map(re.escape, ordered))})[\W_]*")
