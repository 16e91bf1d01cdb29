"""The first start: the sample world's sources and companies, an alert rule, and the inbox that its alerts go to."""

from importlib.resources import files
from pathlib import Path

import sqlalchemy as sa

from finance_monitor import channels, subscriptions
from finance_monitor.sources import sources_path
from finance_monitor.subscriptions import Rule
from finance_monitor.worker import gazetteer_path
from headwater.settings import Settings
from headwater.storage.columns import now

INBOX = "local inbox"


def world_folder(settings: Settings) -> Path:
    """Where the local site keeps its anchor and its inbox."""
    return settings.folder("finance") / "world"


def world_address(settings: Settings) -> str:
    """Where the local site is served."""
    return f"http://127.0.0.1:{settings.finance_world_port}"


def companions(settings: Settings) -> list[tuple[str, tuple[str, ...], str]]:
    """The sample world's site, for the launcher: (name, arguments of Python, address that tells that it is ready)."""
    folder = settings.home.absolute() / "finance" / "world"
    if not folder.is_dir():
        return []
    port = str(settings.finance_world_port)
    arguments = ("-m", "finance_monitor.world_site", "--port", port, "--home", str(folder))
    return [("sample world", arguments, f"{world_address(settings)}/robots.txt")]


def prepare_world(settings: Settings, engine: sa.Engine) -> bool:
    """Set up the sample world where nothing is set up yet; whether it did. Own sources are never touched."""
    path = sources_path(settings)
    if path.exists():
        return False
    sample = files("finance_monitor") / "sample_data"
    site = world_address(settings)
    world_folder(settings).mkdir(parents=True, exist_ok=True)
    companies = gazetteer_path(settings)
    if not companies.exists():
        companies.write_text((sample / "gazetteer.csv").read_text(encoding="utf-8"), encoding="utf-8")
    moment = now()
    with engine.begin() as connection:
        channels.save(connection, settings.site, INBOX, "inbox", {"url": f"{site}/inbox"}, actor="setup", moment=moment)
        for name, language in (("Everything from medium on", "en"),):
            rule = Rule(min_severity="medium", channels=(INBOX,), language=language)
            subscriptions.save(connection, settings.site, name, rule, actor="setup", moment=moment)
    # Last: while it is missing, the next start does all of this again.
    text = (sample / "sources.yaml").read_text(encoding="utf-8").replace("{site}", site)
    partial = path.with_name(".sources.yaml.part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
    return True
