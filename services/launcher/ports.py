"""Ports: the wanted one, or the next free one with the holder of the wanted one named."""

import socket
from dataclasses import dataclass

import psutil

from headwater.errors import Unavailable

_TRIES = 50


@dataclass(frozen=True)
class Port:
    """`number` is free now; `holder` says who has the wanted port, when that was taken."""

    number: int
    wanted: int
    holder: str | None = None


def choose_port(host: str, wanted: int, reserved: frozenset[int] = frozenset()) -> Port:
    """The wanted port, or the next free one above it that is not `reserved`. Raises Unavailable after 50."""
    for number in range(wanted, min(wanted + _TRIES, 65_536)):
        if number not in reserved and _is_free(host, number):
            return Port(number, wanted, None if number == wanted else _holder(wanted, reserved))
    raise Unavailable(
        f"no free port between {wanted} and {wanted + _TRIES - 1} on {host}; "
        "set HEADWATER_GATEWAY_PORT or HEADWATER_SUPPORT_DASHBOARD_PORT to a free range"
    )


def _is_free(host: str, number: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, number))
        except OSError:
            return False
    return True


def _holder(number: int, reserved: frozenset[int]) -> str:
    if number in reserved:
        return "another part of Headwater"
    try:
        for connection in psutil.net_connections("tcp"):
            local = connection.laddr
            if connection.status == psutil.CONN_LISTEN and local and local.port == number and connection.pid:
                process = psutil.Process(connection.pid)
                return f"{process.name()} (pid {connection.pid})"
    except psutil.Error:
        pass  # other users' processes are not shown on every system
    return "a process of another user"
