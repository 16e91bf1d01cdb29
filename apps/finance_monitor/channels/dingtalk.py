"""DingTalk's custom robot (open.dingtalk.com, "custom robot access"): signed Markdown, 20 messages a minute."""

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from finance_monitor.channels.http import json_body
from finance_monitor.channels.limits import fit, note_of
from finance_monitor.channels.message import Installation, Message, Outcome
from finance_monitor.channels.messengers import coded, post, signed
from finance_monitor.channels.options import check_fields, check_secret, has_secret, read_secret, secret_fields
from headwater.errors import HeadwaterError

IDEMPOTENT = False
PER_MINUTE = 20
BYTES = 20_000
# Sent too fast: the robot is shut for ten minutes.
_LIMITED = {130101: 600.0, 410100: 600.0}
_PASSING = (-1, 40078)


def check(options: Mapping[str, Any]) -> None:
    """Raises HeadwaterError for options that cannot work; `secret` is that of a robot with a signature."""
    check_fields(options, {**secret_fields("url"), **secret_fields("secret")})
    check_secret(options, "url")
    check_secret(options, "secret", required=False)


def send(options: Mapping[str, Any], message: Message, installation: Installation) -> Outcome:
    """Post it; DingTalk answers 200 with an errcode."""
    try:
        url = read_secret(options, "url", installation)
        if has_secret(options, "secret"):
            url = sign(url, read_secret(options, "secret", installation), int(time.time() * 1000))
    except HeadwaterError as error:
        return Outcome("failed", str(error))
    outcome, answer = post(url, payload(message), installation)
    return outcome if answer is None else coded(answer, ("errcode", "errmsg"), _LIMITED, _PASSING)


def sign(url: str, secret: str, milliseconds: int) -> str:
    """The address with the timestamp and its signature."""
    signature = quote(signed(secret, f"{milliseconds}\n{secret}"), safe="")
    return f"{url}{'&' if '?' in url else '?'}timestamp={milliseconds}&sign={signature}"


def payload(message: Message) -> dict[str, Any]:
    """The body, of at most 20,000 bytes as JSON."""
    title = message.subject[:60]
    note = note_of(message, "[{link}]({link})")

    def body(text: str) -> dict[str, Any]:
        return {"msgtype": "markdown", "markdown": {"title": title, "text": text}}

    empty = len(json_body(body("")))
    return body(fit(message.simple_markdown, BYTES - empty, note, _json_bytes))


def _json_bytes(text: str) -> int:
    return len(json_body(text)) - 2
