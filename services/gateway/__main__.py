"""`python -m gateway --host H --port P`: what the launcher starts; a taken port is an error."""

import argparse
import sys

from gateway.server import serve_on
from headwater.errors import HeadwaterError
from headwater.settings import load_settings


def main() -> None:
    settings = load_settings()
    parser = argparse.ArgumentParser(prog="python -m gateway", description="Serve the apps over HTTP until SIGTERM.")
    parser.add_argument("--host", default=settings.host)
    parser.add_argument("--port", type=int, default=settings.gateway_port)
    options = parser.parse_args()
    try:
        serve_on(settings, options.host, options.port, tries=1)
    except HeadwaterError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
