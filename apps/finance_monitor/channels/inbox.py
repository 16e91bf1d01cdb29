"""An inbox on this machine: every form of the message, posted as JSON to a loopback address. The demo's channel."""

from collections.abc import Mapping
from typing import Any

from finance_monitor.channels.http import deliver, json_body, split_address
from finance_monitor.channels.message import Installation, Message, Outcome
from finance_monitor.channels.options import check_fields
from finance_monitor.channels.webhook import payload

IDEMPOTENT = True
PER_MINUTE = 0


def check(options: Mapping[str, Any]) -> None:
    """Raises HeadwaterError for options that cannot work."""
    check_fields(options, {"url": str}, required=("url",))
    split_address(options["url"])


def send(options: Mapping[str, Any], message: Message, installation: Installation) -> Outcome:
    """Post it; the Idempotency-Key lets the inbox keep each message once."""
    body = json_body({**payload(message), "html": message.html})
    return deliver(options["url"], body, {"Idempotency-Key": message.key}, allow_private=False, loopback=True)[0]
