"""`headwater serve`."""

import click


@click.command()
@click.option("--host", help="address to listen on (default: HEADWATER_HOST, 127.0.0.1)")
@click.option(
    "--port", type=click.IntRange(1, 65_535), help="first port to try (default: HEADWATER_GATEWAY_PORT, 8000)"
)
def serve(host: str | None, port: int | None) -> None:
    """Start the gateway alone; a taken port gives way to the next free one.

    \b
    Example:
      headwater serve --port 9000
    """
    from gateway.server import serve_on
    from headwater.settings import load_settings

    settings = load_settings()
    serve_on(settings, host or settings.host, port or settings.gateway_port, tries=50)
