"""Everything else, by Apprise (github.com/caronc/apprise), an optional package: its address says where to."""

from collections.abc import Mapping
from typing import Any

from finance_monitor.channels.message import SENT, Installation, Message, Outcome
from finance_monitor.channels.options import check_fields, check_secret, read_secret, secret_fields
from headwater.errors import HeadwaterError

IDEMPOTENT = False
PER_MINUTE = 0


def check(options: Mapping[str, Any]) -> None:
    """Raises HeadwaterError for options that cannot work. The address holds the service's token: it is a secret."""
    check_fields(options, secret_fields("url"))
    check_secret(options, "url")


def send(options: Mapping[str, Any], message: Message, installation: Installation) -> Outcome:
    """Notify one service. Apprise tells neither why it failed nor whether the message may have arrived: ambiguous."""
    try:
        url = read_secret(options, "url", installation)
    except HeadwaterError as error:
        return Outcome("failed", str(error))
    try:
        import apprise
    except ImportError:
        return Outcome("failed", "the package apprise is not installed; run: pip install apprise")
    service = apprise.Apprise()
    if not service.add(url):
        return Outcome("failed", "Apprise does not know the kind of address that the option names")
    taken = service.notify(body=message.text, title=message.subject, body_format=apprise.NotifyFormat.TEXT)
    return SENT if taken else Outcome("ambiguous", "Apprise reports a failure without its reason; see the log")
