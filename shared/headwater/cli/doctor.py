"""`headwater doctor`: what this machine has, what the installation lacks, and the way out of each finding."""

import json
import os
import platform
import shutil
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click

_PARTS = {
    "serve": ("onnxruntime", "faiss-cpu", "bm25s", "fastapi", "uvicorn", "apscheduler"),
    "tune": ("torch", "transformers", "sentence-transformers", "peft", "onnx"),
    "support": ("trafilatura", "pypdf", "python-docx", "phonenumbers"),
    "dash": ("streamlit", "altair"),
}
_DISK_GB = 3.0
_MEMORY_GB = 3.0


@dataclass(frozen=True)
class Finding:
    """One line of the check: `ok` or not, and what to do when not."""

    name: str
    ok: bool
    value: str
    way_out: str = ""


def examine() -> list[Finding]:
    """Check Python, memory, disk, CPU, extras, state folder and base models; changes nothing."""
    from headwater.settings import load_settings

    home = load_settings().home.absolute()
    findings = [
        Finding(
            "python",
            sys.version_info >= (3, 11),
            platform.python_version(),
            "install Python 3.11 or newer and remove .venv",
        ),
        _memory(),
        _disk(home),
        _cpu(),
    ]
    findings += [_extra(name, packages) for name, packages in _PARTS.items()]
    findings.append(_writable(home))
    for model in ("minilm", "multilingual"):
        present = (home / "models" / model / "headwater.json").is_file()
        way_out = f"headwater models fetch {model}"
        findings.append(Finding(f"model {model}", present, "fetched" if present else "missing", way_out))
    return findings


def _memory() -> Finding:
    import psutil

    free = psutil.virtual_memory().available / 1e9
    return Finding("memory", free >= _MEMORY_GB, f"{free:.1f} GB free", f"free {_MEMORY_GB:.0f} GB before tuning")


def _disk(home: Path) -> Finding:
    folder = next(parent for parent in (home, *home.parents) if parent.exists())
    free = shutil.disk_usage(folder).free / 1e9
    return Finding("disk", free >= _DISK_GB, f"{free:.1f} GB free at {folder}", "free space or set HEADWATER_HOME")


def _cpu() -> Finding:
    flags = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        words = set(cpuinfo.read_text().split())
        flags = ", ".join(flag for flag in ("avx2", "avx512_vnni", "avx512_bf16", "amx_bf16") if flag in words)
    return Finding("processor", True, f"{os.cpu_count()} cores {platform.machine()} {flags}".strip())


def _extra(name: str, packages: tuple[str, ...]) -> Finding:
    missing = [package for package in packages if not _installed(package)]
    value = "installed" if not missing else "missing " + ", ".join(missing)
    return Finding(f"extra {name}", not missing, value, f'pip install "headwater[{name}]" (or: make install)')


def _installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def _writable(home: Path) -> Finding:
    folder = next(parent for parent in (home, *home.parents) if parent.exists())
    return Finding(
        "state folder", os.access(folder, os.W_OK), str(home), "set HEADWATER_HOME to a folder you can write"
    )


@click.command()
@click.option("--json", "as_json", is_flag=True, help="print for programs")
def doctor(as_json: bool) -> None:
    """Check this machine, the installation and the models.

    \b
    Example:
      headwater doctor
    """
    findings = examine()
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            mark = click.style("ok  ", fg="green") if finding.ok else click.style("miss", fg="red")
            way_out = "" if finding.ok else f"   → {finding.way_out}"
            click.echo(f"{mark} {finding.name:20s} {finding.value}{way_out}")
    if not all(finding.ok for finding in findings):
        raise click.exceptions.Exit(1)
