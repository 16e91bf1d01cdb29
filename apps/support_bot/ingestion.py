"""Files, folders, addresses and sitemaps into the index; one bad document never stops the others."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from urllib.parse import urlsplit

from headwater.errors import HeadwaterError
from headwater.progress import Progress, Step, silent
from headwater.retrieval import Document, Index, Upsert
from headwater.settings import Settings
from support_bot.fetching import fetch_page, read_sitemap, split_address
from support_bot.reader import Reader
from support_bot.reading import SUFFIXES

MANIFEST = "manifest.jsonl"
# The longest that file systems know; beyond it they answer with an error rather than "not there".
_NAME_LENGTH = 255


@dataclass(frozen=True)
class Ingested:
    """What became of an import: ids that are now in the index, and (name, reason) of what could not be read."""

    documents: tuple[str, ...]
    failures: tuple[tuple[str, str], ...]


def ingest(
    index: Index, sources: Sequence[str], settings: Settings, *, actor: str, progress: Progress = silent
) -> Ingested:
    """Import files, folders, page addresses and sitemap addresses (…/sitemap.xml). The index changes in one step.

    What cannot be found or read, and a second document with the id of another, is a failure; the rest is imported.
    """
    documents: dict[str, tuple[str, Document]] = {}
    failures: list[tuple[str, str]] = []
    loaders = [loader for source in sources for loader in _loaders(source, settings, failures)]
    with Reader(settings) as reader:
        for number, (name, load) in enumerate(loaders):
            progress(Step(number, len(loaders), f"reading {name}"))
            try:
                document = load(reader)
            except HeadwaterError as error:
                failures.append((name, str(error)))
                continue
            other, same = documents.setdefault(document.id, (name, document))
            if same.text != document.text:  # the same page by two addresses is no loss
                failures.append(
                    (name, f"its id would be {document.id!r}, which {other} has; rename one, or import them one by one")
                )
    if documents:
        index.apply([Upsert(document) for _, document in documents.values()], actor=actor, progress=progress)
    return Ingested(tuple(documents), tuple(failures))


class _File:
    def __init__(self, path: Path, folder: Path, settings: Settings, about: dict[str, str]) -> None:
        self._path, self._folder, self._settings, self._about = path, folder, settings, about

    def __call__(self, reader: Reader) -> Document:
        try:
            with self._path.open("rb") as source:
                data = source.read(self._settings.max_document_bytes + 1)
        except OSError as error:
            raise HeadwaterError(f"{self._path} cannot be read: {error.strerror}") from error
        about = self._about
        return reader.read(
            self._path.name,
            data,
            document_id=about.get("id", "") or _relative(self._path, self._folder).with_suffix("").as_posix(),
            title=about.get("title", ""),
            url=about.get("url", ""),
        )


def _relative(path: Path, folder: Path) -> PurePath:
    """The path from the working directory, or from `folder` for what lies elsewhere: so files of one name differ."""
    here = Path.cwd()
    absolute, start = Path(os.path.normpath(here / path)), Path(os.path.normpath(here / folder))
    relative = absolute.relative_to(here if absolute.is_relative_to(here) else start)
    return PurePath(str(relative).encode("utf-8", "ignore").decode())  # names need not be Unicode, ids are


class _Page:
    def __init__(self, url: str, settings: Settings) -> None:
        self._url, self._settings = url, settings

    def __call__(self, reader: Reader) -> Document:
        return read_url(self._url, self._settings, reader)


def read_url(url: str, settings: Settings, reader: Reader) -> Document:
    """Fetch and read one page; its id is its address without the scheme."""
    page = fetch_page(url, max_bytes=settings.max_document_bytes, allow_private=settings.allow_private_urls)
    parts = urlsplit(page.url)
    name = f"{parts.path.rstrip('/').rsplit('/', 1)[-1] or parts.hostname}"
    document_id = f"{parts.hostname}{parts.path}{'?' + parts.query if parts.query else ''}"[:200]
    name = name if name.lower().endswith(page.suffix) else name + page.suffix
    return reader.read(name, page.data, document_id=document_id, url=page.url)


def _loaders(source: str, settings: Settings, failures: list[tuple[str, str]]) -> Iterator[tuple[str, "_File | _Page"]]:
    if source.startswith(("http://", "https://")):
        try:
            is_sitemap = split_address(source).path.endswith((".xml", ".xml.gz"))
        except HeadwaterError as error:
            failures.append((source, str(error)))
            return
        if is_sitemap:
            limit = settings.max_document_bytes
            try:
                pages = read_sitemap(source, max_bytes=limit, allow_private=settings.allow_private_urls)
            except HeadwaterError as error:
                failures.append((source, str(error)))
                return
            yield from ((page, _Page(page, settings)) for page in pages)
        else:
            yield source, _Page(source, settings)
        return
    path = Path(source)
    if len(path.name) > _NAME_LENGTH:
        failures.append((f"{source[:40]}…", "too long for a file's name; give a file, a folder or an http(s) address"))
    elif path.is_dir():
        about = _read_manifest(path)
        files = [file for file in sorted(path.rglob("*")) if file.is_file() and file.suffix.lower() in SUFFIXES]
        if not files:
            failures.append((source, f"the folder holds no file that is read; use {', '.join(SUFFIXES)}"))
        for file in files:
            loader = _File(file, path, settings, about.get(file.relative_to(path).as_posix(), {}))
            yield str(_relative(file, path)), loader
    elif path.is_file():
        yield str(_relative(path, path.parent)), _File(path, path.parent, settings, {})
    else:
        failures.append((source, "neither a file, a folder, nor an http(s) address"))


def _read_manifest(folder: Path) -> dict[str, dict[str, str]]:
    """`manifest.jsonl` beside the files may give {file, id, title, url} a line."""
    path = folder / MANIFEST
    if not path.is_file():
        return {}
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        return {row["file"]: {key: row[key] + "" for key in ("id", "title", "url") if key in row} for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise HeadwaterError(f"{path} must hold a JSON object with file, id, title and url a line: {error}") from error
