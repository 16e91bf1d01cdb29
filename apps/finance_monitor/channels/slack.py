"""Slack by an incoming webhook (api.slack.com/messaging/webhooks): plain text with Slack's own signs escaped."""

from collections.abc import Mapping
from typing import Any

from finance_monitor.channels.http import deliver, json_body
from finance_monitor.channels.limits import fit, note_of
from finance_monitor.channels.message import Installation, Message, Outcome
from finance_monitor.channels.options import check_fields, check_secret, read_secret, secret_fields
from headwater.errors import HeadwaterError

IDEMPOTENT = False
# One message a second a webhook; short bursts are taken.
PER_MINUTE = 60
# Slack divides a longer text into several messages.
CHARACTERS = 4_000


def check(options: Mapping[str, Any]) -> None:
    """Raises HeadwaterError for options that cannot work. The webhook's address is its secret."""
    check_fields(options, secret_fields("url"))
    check_secret(options, "url")


def send(options: Mapping[str, Any], message: Message, installation: Installation) -> Outcome:
    """Post it; Slack answers `ok`, or a status with a word that says what is wrong."""
    try:
        url = read_secret(options, "url", installation)
    except HeadwaterError as error:
        return Outcome("failed", str(error))
    body = json_body({"text": text_of(message), "mrkdwn": False, "unfurl_links": False, "unfurl_media": False})
    outcome, answer = deliver(url, body, {}, allow_private=installation.allow_private)
    if answer is not None and answer.body.strip() != b"ok":
        return Outcome("failed", f"Slack answered 200 {answer.body[:200].decode('utf-8', 'replace')!r} instead of ok")
    return outcome


def text_of(message: Message) -> str:
    """At most 4,000 characters after escaping; `&`, `<` and `>` are Slack's only signs in plain text."""
    text = fit(f"{message.subject}\n\n{message.text}", CHARACTERS, note_of(message), lambda one: len(escape(one)))
    return escape(text)


def escape(text: str) -> str:
    """So that no title can mention @channel or disguise a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
