"""Feishu's custom robot (open.feishu.cn, "custom bot"): a signed rich text, 100 messages a minute."""

import time
from collections.abc import Mapping
from typing import Any

from finance_monitor.channels.http import json_body
from finance_monitor.channels.limits import fit, note_of
from finance_monitor.channels.message import Installation, Message, Outcome
from finance_monitor.channels.messengers import coded, post, signed
from finance_monitor.channels.options import check_fields, check_secret, has_secret, read_secret, secret_fields
from headwater.errors import HeadwaterError

IDEMPOTENT = False
PER_MINUTE = 100
BYTES = 20_000
_LIMITED = {11232: 60.0, 99991400: 60.0}
_PASSING = (1, 99991663)


def check(options: Mapping[str, Any]) -> None:
    """Raises HeadwaterError for options that cannot work; `secret` is that of a robot with a signature."""
    check_fields(options, {**secret_fields("url"), **secret_fields("secret")})
    check_secret(options, "url")
    check_secret(options, "secret", required=False)


def send(options: Mapping[str, Any], message: Message, installation: Installation) -> Outcome:
    """Post it; Feishu answers 200 with a code."""
    try:
        url = read_secret(options, "url", installation)
        body = payload(message)
        if has_secret(options, "secret"):
            body = sign(body, read_secret(options, "secret", installation), int(time.time()))
    except HeadwaterError as error:
        return Outcome("failed", str(error))
    outcome, answer = post(url, body, installation)
    return outcome if answer is None else coded(answer, ("code", "msg"), _LIMITED, _PASSING)


def sign(body: Mapping[str, Any], secret: str, seconds: int) -> dict[str, Any]:
    """The body with the timestamp and its signature; the key is timestamp and secret, the text is empty."""
    return {"timestamp": str(seconds), "sign": signed(f"{seconds}\n{secret}", ""), **body}


def payload(message: Message) -> dict[str, Any]:
    """A rich text whose every line is plain, and each address a link; at most 20,000 bytes as JSON."""
    text, note = message.text, note_of(message)
    room = BYTES - 600
    # Lines become objects, so that their number counts too: shorten until it fits.
    while True:
        body = _post(message, fit(text, room, note))
        if len(json_body(body)) <= BYTES - 200 or room < 500:
            return body
        room = room * 9 // 10


def _post(message: Message, text: str) -> dict[str, Any]:
    lines = [[_tag(line)] for line in text.splitlines() if line.strip()]
    locale = "zh_cn" if message.languages[0] == "zh" else "en_us"
    content = {"title": message.subject[:200], "content": lines}
    return {"msg_type": "post", "content": {"post": {locale: content}}}


def _tag(line: str) -> dict[str, str]:
    stripped = line.strip()
    if stripped.startswith(("http://", "https://")) and " " not in stripped:
        return {"tag": "a", "text": stripped, "href": stripped}
    return {"tag": "text", "text": line}
