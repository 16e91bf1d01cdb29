"""A prepared state folder of the finance monitor, and its real worker, for the benchmarks that need its models."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from harness import ROOT

from headwater.settings import Settings, load_settings

_PREPARE_SECONDS = 900


def prepared_home() -> Path:
    """A state folder that `headwater finance prepare` made of the present starter; kept under build/, take a copy."""
    digest = hashlib.sha256()
    for path in sorted([*(ROOT / "apps/finance_monitor/starter").iterdir(), *(ROOT / "shared").rglob("*.py")]):
        digest.update(path.read_bytes())
    kept = ROOT / "build" / "finance-home" / digest.hexdigest()[:16]
    if kept.is_dir():
        return kept
    partial = kept.with_name(f"{kept.name}.{os.getpid()}")
    partial.mkdir(parents=True)
    (partial / "models").symlink_to(load_settings().folder("models"))
    command = [sys.executable, "-m", "headwater.cli.main", "finance", "prepare"]
    own = {**environment(partial), "HEADWATER_DEMO": "false"}
    subprocess.run(command, env=own, check=True, timeout=_PREPARE_SECONDS)
    partial.rename(kept)
    return kept


@contextmanager
def finance_home() -> Iterator[Path]:
    """A copy of the prepared state folder that may be written to, with the sample world's companies; removed after."""
    prepared = prepared_home()
    with tempfile.TemporaryDirectory(prefix="headwater-bench-") as temporary:
        home = Path(temporary) / "home"
        home.mkdir()
        (home / "models").symlink_to((prepared / "models").resolve())
        for folder in ("bundles", "db"):
            shutil.copytree(prepared / folder, home / folder)
        (home / "finance").mkdir()
        shutil.copy(ROOT / "apps/finance_monitor/sample_data/gazetteer.csv", home / "finance" / "gazetteer.csv")
        yield home


def settings_of(home: Path) -> Settings:
    """The settings of a state folder with their defaults, whatever the caller's own installation says."""
    return Settings(home=home, database_url=None)


def environment(home: Path) -> dict[str, str]:
    """The environment of a process of that state folder, without settings of the caller's own installation."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
    return {**kept, "HEADWATER_HOME": str(home)}


def tree_megabytes(pid: int) -> dict[str, float]:
    """Resident memory of a process and of all that it started, by pid and name."""
    own = psutil.Process(pid)
    found = {}
    for process in (own, *own.children(recursive=True)):
        try:
            found[f"{process.pid} {' '.join(process.cmdline()[1:4])}"] = process.memory_info().rss / 1e6
        except psutil.NoSuchProcess:
            continue
    return found
