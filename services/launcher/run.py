"""`make run-app`: prepare, start gateway, scheduler and dashboards, watch them, stop them."""

import contextlib
import importlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import click
import psutil

from headwater.errors import Conflict, HeadwaterError, NotFound
from headwater.settings import Settings
from launcher.ports import Port, choose_port
from launcher.processes import ProcessSpec, Supervised, stop_all, wait_until_ready

_READY_SECONDS = 90.0
_WATCH_SECONDS = 0.3


@dataclass(frozen=True)
class AppParts:
    """What the launcher knows of an app: its package, its dashboard's port setting and its example request."""

    package: str
    port_setting: str
    example: str
    # A module whose function `companions(settings)` names further processes: (name, argv, address that tells ready).
    companions: str = ""


APPS = {
    "support": AppParts(
        "support_bot",
        "support_dashboard_port",
        "curl -s {gateway}/support/v1/chat -H 'content-type: application/json' "
        '-d \'{{"message": "How long does a refund take?"}}\'',
    ),
    "finance": AppParts(
        "finance_monitor",
        "finance_dashboard_port",
        "{headwater} finance alerts --limit 5",
        "finance_monitor.setup",
    ),
}


def installed_apps(choice: str) -> list[str]:
    """The apps that `choice` ("all" or one name) stands for. Raises NotFound when there is none."""
    present = [name for name, parts in APPS.items() if importlib.util.find_spec(parts.package)]
    if choice == "all" and present:
        return present
    if choice in present:
        return [choice]
    raise NotFound(f"no app named {choice!r} is installed; there is: {', '.join(present) or 'none'} (or all)")


def prepare(apps: list[str]) -> None:
    """Run each app's `prepare` verb: models, databases, starter and sample data. Quick when nothing is to be done."""
    for app in apps:
        command = [sys.executable, "-m", "headwater.cli.main", app, "prepare"]
        status = subprocess.run(command, check=False).returncode
        if status == 130:
            raise KeyboardInterrupt
        if status:
            raise HeadwaterError(f"preparing {app} failed (see above); mend it and run the same command again")


def run(settings: Settings, choice: str) -> None:
    """Start everything, print the addresses, and watch until ctrl-C or SIGTERM."""
    apps = installed_apps(choice)
    run_file = settings.folder("") / "run.json"
    _refuse_second_start(run_file)
    prepare(apps)
    ports = _choose_ports(settings, apps)
    specs = _specs(settings, apps, ports)
    processes: list[Supervised] = []
    stop_requested = _stop_on_sigterm()
    try:
        _write_run_file(run_file, settings, ports)
        processes.extend(Supervised(spec) for spec in specs)
        wait_until_ready(processes, _READY_SECONDS, lambda name: click.echo(f"  {name} is ready"))
        _write_run_file(run_file, settings, ports, {p.spec.name: p.pid for p in processes})
        _print_addresses(settings, apps, ports)
        _watch(processes, stop_requested)
    except KeyboardInterrupt:
        click.echo("")
    finally:
        # A second ctrl-C must not leave half of the processes behind.
        previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
        click.echo("stopping ...")
        stop_all(processes)
        run_file.unlink(missing_ok=True)
        signal.signal(signal.SIGINT, previous)
        click.echo("stopped")


def _watch(processes: list[Supervised], stop_requested: list[bool]) -> None:
    while not stop_requested:
        for process in processes:
            line = process.check()
            if line:
                click.echo(line, err=True)
        time.sleep(_WATCH_SECONDS)


def _stop_on_sigterm() -> list[bool]:
    requested: list[bool] = []

    def note(number: int, frame: FrameType | None) -> None:
        requested.append(True)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, note)
    return requested


def _choose_ports(settings: Settings, apps: list[str]) -> dict[str, Port]:
    ports: dict[str, Port] = {}
    wanted = {"gateway": settings.gateway_port}
    wanted |= {app: getattr(settings, APPS[app].port_setting) for app in apps}
    for name, number in wanted.items():
        port = choose_port(settings.host, number, frozenset(p.number for p in ports.values()))
        if port.holder:
            click.echo(f"  port {port.wanted} is taken by {port.holder}; {name} uses {port.number}")
        ports[name] = port
    return ports


def _specs(settings: Settings, apps: list[str], ports: dict[str, Port]) -> list[ProcessSpec]:
    logs = settings.folder("logs")
    host = settings.host
    gateway_url = f"http://{host}:{ports['gateway'].number}"
    gateway = ProcessSpec(
        "gateway",
        (sys.executable, "-m", "gateway", "--host", host, "--port", str(ports["gateway"].number)),
        logs / "gateway.log",
        f"{gateway_url}/readyz",
        # Only what was prepared: an app without models would keep the gateway from being ready.
        (("HEADWATER_APPS", json.dumps(apps)),),
    )
    scheduler = ProcessSpec("scheduler", (sys.executable, "-m", "scheduler"), logs / "scheduler.log")
    specs = [gateway, scheduler]
    for app in apps:
        specs = [*_companions(settings, app, logs), *specs]
        number = ports[app].number
        options = {
            "server.address": host,
            "server.port": str(number),
            "server.headless": "true",
            "server.fileWatcherType": "none",
            "browser.gatherUsageStats": "false",
            "client.toolbarMode": "minimal",
            # Both, so that a dashboard is as light or dark as the system it is seen on.
            "theme.light.primaryColor": "#0f6b5c",
            "theme.dark.primaryColor": "#3fb8a0",
            "theme.baseRadius": "0.6rem",
        }
        argv = [sys.executable, "-m", "streamlit", "run", str(_dashboard(app))]
        argv += [part for key, value in options.items() for part in (f"--{key}", value)]
        specs.append(
            ProcessSpec(
                f"{app} dashboard",
                tuple(argv),
                logs / f"{app}-dashboard.log",
                f"http://{host}:{number}/_stcore/health",
                (("HEADWATER_GATEWAY_URL", gateway_url),),
            )
        )
    return specs


def _companions(settings: Settings, app: str, logs: Path) -> list[ProcessSpec]:
    """Processes that an app wants beside it, such as the site that serves the sample world."""
    module = APPS[app].companions
    if not module:
        return []
    found = importlib.import_module(module).companions(settings)
    return [
        ProcessSpec(name, (sys.executable, *argv), logs / f"{name.replace(' ', '-')}.log", address)
        for name, argv, address in found
    ]


def _dashboard(app: str) -> Path:
    spec = importlib.util.find_spec(APPS[app].package)
    if spec is None or not spec.submodule_search_locations:
        raise NotFound(f"the package {APPS[app].package} has no dashboard; reinstall with: make install")
    return Path(spec.submodule_search_locations[0]) / "dashboard" / "app.py"


def _print_addresses(settings: Settings, apps: list[str], ports: dict[str, Port]) -> None:
    gateway = f"http://{settings.host}:{ports['gateway'].number}"
    click.echo(f"\nHeadwater is running.\n  gateway            {gateway}  (API description: {gateway}/docs)")
    for app in apps:
        click.echo(f"  {app + ' dashboard':18s} http://{settings.host}:{ports[app].number}")
    click.echo("\nTry it:")
    for app in apps:
        click.echo("  " + APPS[app].example.format(gateway=gateway, headwater=_own_command()))
    click.echo("\nctrl-C stops everything.")


def _own_command() -> str:
    """How `headwater` is called from here: a virtual environment that is not active needs its folder."""
    own = Path(sys.executable).parent / "headwater"
    return "headwater" if shutil.which("headwater") or not own.exists() else os.path.relpath(own)


def _refuse_second_start(run_file: Path) -> None:
    if not run_file.exists():
        return
    with contextlib.suppress(ValueError, KeyError, OSError):
        state = json.loads(run_file.read_text())
        process = psutil.Process(state["launcher_pid"]) if psutil.pid_exists(state["launcher_pid"]) else None
        if process is not None and abs(process.create_time() - state["launcher_started"]) < 2:
            raise Conflict(
                f"Headwater is already running from {run_file.parent} (pid {process.pid}, {state['gateway']['url']}); "
                "stop it with ctrl-C in its terminal, or start a second one with another HEADWATER_HOME"
            )


def _write_run_file(
    run_file: Path, settings: Settings, ports: dict[str, Port], pids: dict[str, int] | None = None
) -> None:
    def address(name: str) -> dict[str, object]:
        number = ports[name].number
        return {"host": settings.host, "port": number, "url": f"http://{settings.host}:{number}"}

    state = {
        "launcher_pid": os.getpid(),
        "launcher_started": psutil.Process().create_time(),
        "gateway": address("gateway"),
        "dashboards": {name: address(name) for name in ports if name != "gateway"},
        "pids": pids or {},
    }
    partial = run_file.with_suffix(".json.part")
    partial.write_text(json.dumps(state, indent=2) + "\n")
    partial.replace(run_file)
