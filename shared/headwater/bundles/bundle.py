"""A bundle on disk: written in one step, verified when it is opened."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from headwater import __version__
from headwater.bundles.manifest import Manifest, read_manifest
from headwater.errors import Conflict, HeadwaterError, NotFound

MANIFEST = "manifest.json"
# Formats that hold data and never code; pickles (.pt, .bin, .pkl, .joblib) are refused.
_FORMATS = frozenset({".onnx", ".safetensors", ".json", ".txt", ".npz", ".gguf", ".data", ".md", ".png", ".model"})


@dataclass(frozen=True)
class Bundle:
    """A verified bundle; `id` is the hash of its file list."""

    path: Path
    manifest: Manifest
    id: str

    def file(self, name: str) -> Path:
        return self.path / name


def write_bundle(folder: Path, manifest: Manifest, files: Mapping[str, Path]) -> Bundle:
    """Write `files` (relative name → present path) and the manifest as the bundle `folder`, atomically.

    Raises Conflict when the folder exists, HeadwaterError for a format that may hold code or a name outside.
    """
    if folder.exists():
        raise Conflict(f"{folder} exists already; bundles are immutable, name another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        sums = {}
        for name, source in sorted(files.items()):
            _check_name(name)
            target = temporary / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            sums[name] = _sha256(target)
        complete = replace(
            manifest,
            files=sums,
            code_version=__version__,
            created=manifest.created or datetime.now(UTC).isoformat(timespec="seconds"),
        )
        (temporary / MANIFEST).write_text(complete.to_text(), encoding="utf-8")
        for path in temporary.rglob("*"):
            if path.is_file():
                _sync(path)
        temporary.chmod(0o755)
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _remember(folder, complete)
    return Bundle(folder, complete, bundle_id(complete))


def open_bundle(folder: Path) -> Bundle:
    """Open and verify a bundle. Files are hashed once and remembered by size and time of change.

    Raises NotFound when there is none, HeadwaterError naming the file that is missing, altered or of a refused format.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise NotFound(f"{folder} is no bundle: it has no {MANIFEST}")
    try:
        manifest = read_manifest(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise HeadwaterError(f"{path} is not UTF-8 ({error.reason}); export or fetch the bundle again") from error
    if not manifest.files or manifest.model not in manifest.files:
        raise HeadwaterError(f"{path} names the model file {manifest.model!r}, which its file list does not hold")
    for name in manifest.files:
        _check_name(name)
        if not (folder / name).is_file():
            raise HeadwaterError(f"the bundle {folder} is incomplete: {name} is missing; export or copy it again")
        if not (folder / name).resolve().is_relative_to(folder.resolve()):
            raise HeadwaterError(f"{name} of the bundle {folder} is a link that leads outside; copy the file itself")
    if _remembered(folder) != _state(folder, manifest):
        for name, expected in manifest.files.items():
            if _sha256(folder / name) != expected:
                raise HeadwaterError(
                    f"the bundle {folder} was altered: {name} does not have the sha256 of {MANIFEST}; copy it again"
                )
        _remember(folder, manifest)
    return Bundle(folder, manifest, bundle_id(manifest))


def bundle_id(manifest: Manifest) -> str:
    """Hash of the file list, the first 16 hex digits."""
    text = "\n".join(f"{name} {digest}" for name, digest in sorted(manifest.files.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _check_name(name: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise HeadwaterError(f"a bundle's file must lie inside it, {name!r} does not")
    if path.suffix not in _FORMATS:
        raise HeadwaterError(
            f"a bundle holds no {path.suffix or 'file without suffix'} ({name}); only {', '.join(sorted(_FORMATS))}"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _sync(path: Path) -> None:
    with path.open("rb") as handle:
        os.fsync(handle.fileno())


def _state(folder: Path, manifest: Manifest) -> dict[str, list[object]]:
    state: dict[str, list[object]] = {}
    for name, digest in sorted(manifest.files.items()):
        stat = (folder / name).stat()
        state[name] = [digest, stat.st_size, stat.st_mtime_ns]
    return state


def _sidecar(folder: Path) -> Path:
    # Beside the bundle, since the bundle itself is immutable and may be read-only.
    return folder.parent / f".{folder.name}.verified"


def _remembered(folder: Path) -> object:
    try:
        return json.loads(_sidecar(folder).read_text())
    except (OSError, ValueError):
        return None


def _remember(folder: Path, manifest: Manifest) -> None:
    with contextlib.suppress(OSError):  # a read-only place is verified each time
        _sidecar(folder).write_text(json.dumps(_state(folder, manifest)))
