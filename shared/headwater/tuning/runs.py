"""A run folder: run.json, report.json, checkpoints/, bundle/."""

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headwater import __version__
from headwater.bundles import Bundle
from headwater.bundles.bundle import open_bundle
from headwater.data import RowProblem
from headwater.errors import Conflict, HeadwaterError, NotFound, Unavailable
from headwater.models import CATALOG, BaseModel, is_hub_id, resolve_base
from headwater.models.description import read_description
from headwater.settings import Settings
from headwater.tuning.config import TuneConfig, resolved

_SHOWN_PROBLEMS = 20
_SHOWN_RUNS = 8
_WEIGHTS = ("bundle/torch", "torch")  # where a run folder and a bundle folder carry them


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, its bundle, the metrics of the parts it was scored on, and its curve."""

    folder: Path
    bundle: Bundle
    metrics: dict[str, Any]
    curve: dict[str, Any] = field(default_factory=dict)


def open_run_folder(config: TuneConfig, fingerprint: str) -> Path:
    """Make or reopen `config.output`. Raises Conflict when it holds a finished run or one with other settings.

    A run that failed before its first checkpoint leaves nothing to go on with; its folder counts as new.
    """
    if not config.output:
        raise HeadwaterError("name a folder for the run: --output runs/my-run")
    folder = Path(config.output)
    state = folder / "run.json"
    wanted = {"config": resolved(config), "data": fingerprint}
    if state.is_file():
        stored = json.loads(state.read_text())
        if (folder / "bundle" / "manifest.json").is_file():
            raise Conflict(f"{folder} holds a finished run; name another --output or remove it")
        if {key: stored.get(key) for key in wanted} == json.loads(json.dumps(wanted)):
            return folder
        if any((folder / "checkpoints").glob("last*/state.json")):
            raise Conflict(
                f"{folder} holds an interrupted run with other settings or data; "
                "repeat the former command to resume it, name another --output, or remove it"
            )
    else:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise Conflict(f"{folder} is not empty and holds no run; name another --output")
    write_json(state, {**wanted, "state": "running", "code_version": __version__, "started": time.time()})
    return folder


def finish_run(folder: Path, report: dict[str, Any]) -> None:
    """Write report.json, note the end in run.json, and drop the checkpoints that only a resume needs."""
    write_json(folder / "report.json", report)
    state = json.loads((folder / "run.json").read_text())
    write_json(
        folder / "run.json", {**state, "state": "done", "ended": time.time(), "metrics": report.get("metrics", {})}
    )
    shutil.rmtree(folder / "checkpoints" / "last", ignore_errors=True)


def find_base(reference: str, settings: Settings) -> BaseModel:
    """A base model by name, hub id or folder; or the weights inside an own bundle, run folder or name@version.

    Raises NotFound or Unavailable, naming what there is instead, when it is none of these.
    """
    folder = Path(reference)
    for candidate in (folder / place for place in _WEIGHTS):
        if (candidate / "config.json").is_file():
            open_bundle(candidate.parent)
            return read_description(candidate.absolute())
    if (folder / "run.json").is_file():
        raise NotFound(
            f"the run in {folder} has no bundle to start from (bundle/torch); "
            "repeat its command to finish it, or name another base"
        )
    if "@" in reference or _is_registered(reference, settings):
        from headwater.bundles import find_bundle

        bundle = find_bundle(reference, settings)
        if not (bundle.path / "torch" / "config.json").is_file():
            raise NotFound(f"the bundle {reference} carries no weights to tune further (no torch/ folder)")
        return read_description(bundle.path / "torch")
    try:
        return resolve_base(reference, settings)
    except (NotFound, Unavailable) as error:
        if "/" not in reference:
            raise
        message = (
            f"there is no folder {reference}; name that of a finished run{_finished(folder.parent)}, "
            f"a registered NAME@VERSION, or a packaged model ({', '.join(CATALOG)})"
        )
        raise type(error)(message + (f". As a model of the hub: {error}" if is_hub_id(reference) else "")) from error


def _finished(folder: Path) -> str:
    """The runs and bundles in a folder that a run could start from, for a message."""
    found = sorted({entry.name for place in _WEIGHTS for entry in folder.glob("*") if (entry / place).is_dir()})
    return f" (in {folder}: {', '.join(found[:_SHOWN_RUNS])})" if found else ""


def say_problems(problems: Sequence[RowProblem], say: Callable[[str], None]) -> None:
    """Name the rows that could not be used: the first ones, then how many more."""
    for problem in problems[:_SHOWN_PROBLEMS]:
        say(f"not used: {problem}")
    if len(problems) > _SHOWN_PROBLEMS:
        say(f"not used: {len(problems) - _SHOWN_PROBLEMS} more rows; report.json names them")


def _is_registered(reference: str, settings: Settings) -> bool:
    return reference.replace("-", "").replace("_", "").isalnum() and (settings.folder("bundles") / reference).is_dir()


def write_json(path: Path, value: Any) -> Path:
    """Write JSON in one step; returns the path."""
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return partial.replace(path)
