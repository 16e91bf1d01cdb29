"""`headwater run` and `headwater setup`."""

import click


@click.command()
@click.option("--app", "choice", default="all", show_default=True, help="support, or all that are installed")
def run(choice: str) -> None:
    """Prepare and start the products; ctrl-C stops them.

    \b
    Examples:
      headwater run
      headwater run --app support
    """
    from headwater.settings import load_settings
    from launcher.run import run as run_apps

    run_apps(load_settings(), choice)


@click.command()
@click.option("--app", "choice", default="all", show_default=True, help="support, or all that are installed")
def setup(choice: str) -> None:
    """Fetch models, migrate databases, prepare starters and sample data, without starting anything.

    \b
    Example:
      headwater setup --app support
    """
    from launcher.run import installed_apps, prepare

    prepare(installed_apps(choice))
