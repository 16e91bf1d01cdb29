"""The `headwater` command: verb groups found by entry points and imported only when called."""

import sys
from importlib.metadata import entry_points
from typing import Any

import click

from headwater import __version__
from headwater.errors import HeadwaterError

GROUP = "headwater.commands"
# One line each, so that `headwater --help` imports no verb.
SUMMARIES = {
    "db": "migrate, back up and check the databases",
    "doctor": "check this machine, the installation and the models",
    "evaluate": "score a bundle or run on labelled data",
    "jobs": "list, watch and cancel background jobs",
    "models": "list and fetch base models",
    "registry": "list, promote and roll back bundles",
    "run": "start gateway, scheduler and dashboards",
    "serve": "start the gateway alone",
    "setup": "fetch models, prepare starters and sample data",
    "support": "support bot: ingest, ask, evaluate",
    "tune": "fine-tune a model on your examples",
}


class LazyCommands(click.Group):
    """Verbs by entry point; `--help` reads names and summaries alone."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(point.name for point in entry_points(group=GROUP))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for point in entry_points(group=GROUP, name=cmd_name):
            command: Any = point.load()
            return command if isinstance(command, click.Command) else None
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, SUMMARIES.get(name, "")) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.command(cls=LazyCommands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="headwater")
def cli() -> None:
    """Turn a pretrained language model into products.

    \b
    Examples:
      headwater tune classify --train a.csv --text-column text --label-column label --output runs/intents
      headwater support ask "How long does a refund take?"
      headwater run --app support
    """


def _outage(error: Exception) -> HeadwaterError | None:
    """What can be done about an error of the database; a verb that uses none has not loaded what knows it."""
    if "sqlalchemy" not in sys.modules:
        return None
    from sqlalchemy.exc import DBAPIError

    from headwater.storage.engine import outage

    return outage(error) if isinstance(error, DBAPIError) else None


def main() -> None:
    """Run the command line; a HeadwaterError becomes one line and exit status 2."""
    try:
        # Without standalone mode click returns the status of an Exit instead of raising it.
        status = cli(standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("stopped", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except HeadwaterError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    except Exception as error:
        found = _outage(error)
        if found is None:
            raise
        click.echo(f"error: {found}", err=True)
        sys.exit(2)
    if isinstance(status, int):
        sys.exit(status)


if __name__ == "__main__":
    main()
