"""The gateway's process: a socket, uvicorn, one worker (models are shared by its threads)."""

import logging
import os
import socket

import uvicorn

from gateway.app import create_app
from headwater.errors import Conflict
from headwater.settings import Settings

# Shorter than the launcher's patience: running answers may end, then connections are cut.
_SHUTDOWN_SECONDS = 2
_BACKLOG = 512
_log = logging.getLogger("headwater.gateway")


def serve_on(settings: Settings, host: str, port: int, *, tries: int) -> None:
    """Serve on the first free port of `tries` from `port` on, until SIGTERM or SIGINT. Raises Conflict without one."""
    # Requests run side by side; a team of OpenMP threads for each FAISS search would spin on the cores of the others.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    # Its lines name whole URLs, which may carry a customer's words.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    listening = bind(host, port, tries)
    address = f"http://{host}:{listening.getsockname()[1]}"
    if listening.getsockname()[1] != port:
        _log.warning("port %d is taken; listening on %s", port, address)
    config = uvicorn.Config(
        create_app(settings),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )
    _log.info("gateway on %s", address)
    uvicorn.Server(config).run(sockets=[listening])


def bind(host: str, port: int, tries: int) -> socket.socket:
    """A listening socket on the first free of `tries` ports. Raises Conflict."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for number in range(port, min(port + tries, 65_536)):
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, number))
            listening.listen(_BACKLOG)
        except OSError as error:
            listening.close()
            reason = error.strerror
            continue
        return listening
    wanted = str(port) if tries == 1 else f"{port} to {port + tries - 1}"
    raise Conflict(f"cannot listen on {host}, port {wanted}: {reason}; choose another with --host and --port")
