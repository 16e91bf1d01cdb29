"""Hosts of a private network: a public source must not lead the crawl into one."""

import socket

from headwater.addresses import is_public


def is_private(host: str) -> bool:
    """Whether a host resolves to any address that is not public. False where it does not resolve here: then there is
    nothing to connect to, except for a proxy, which resolves names by itself."""
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return False
    return not all(is_public(address) for address in found)
