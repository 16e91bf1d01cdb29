"""WeCom's group robot (developer.work.weixin.qq.com/document/path/91770): Markdown of 4,096 bytes, 20 a minute."""

from collections.abc import Mapping
from typing import Any

from finance_monitor.channels.limits import fit, note_of
from finance_monitor.channels.message import Installation, Message, Outcome
from finance_monitor.channels.messengers import coded, post
from finance_monitor.channels.options import check_fields, check_secret, read_secret, secret_fields
from headwater.errors import HeadwaterError

IDEMPOTENT = False
PER_MINUTE = 20
BYTES = 4_096
# Over the frequency limit; too many calls at once.
_LIMITED = {45009: 60.0, 45033: 10.0}
_PASSING = (-1,)


def check(options: Mapping[str, Any]) -> None:
    """Raises HeadwaterError for options that cannot work. The webhook's address holds the robot's key."""
    check_fields(options, secret_fields("url"))
    check_secret(options, "url")


def send(options: Mapping[str, Any], message: Message, installation: Installation) -> Outcome:
    """Post it; WeCom answers 200 with an errcode."""
    try:
        url = read_secret(options, "url", installation)
    except HeadwaterError as error:
        return Outcome("failed", str(error))
    outcome, answer = post(url, payload(message), installation)
    return outcome if answer is None else coded(answer, ("errcode", "errmsg"), _LIMITED, _PASSING)


def payload(message: Message) -> dict[str, Any]:
    """The body, whose content has at most 4,096 bytes of UTF-8."""
    text = fit(message.simple_markdown, BYTES, note_of(message, "[{link}]({link})"))
    return {"msgtype": "markdown", "markdown": {"content": text}}
