"""Which addresses are the internet's: what is fetched or called for somebody must not lead into a private network."""

import ipaddress

# The only part of IPv6 that is given out for the internet; 64:ff9b::/96 leads from there to IPv4 (NAT64, RFC 6052).
_GLOBAL_IPV6 = ipaddress.ip_network("2000::/3")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet's, also where it hides in an IPv6 address (mapped, 6to4, Teredo,
    NAT64). Raises ValueError for what is no IP address."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo or (None, None))[1]
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is None:
            return ip in _GLOBAL_IPV6 and ip.is_global
        ip = inner
    return ip.is_global and not ip.is_multicast
