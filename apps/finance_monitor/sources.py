"""The sources in one YAML file: read with exact error messages, changed without losing comments or order."""

import difflib
import fcntl
import hashlib
import io
import math
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from finance_monitor.domain import FORMATS, KINDS, Source
from finance_monitor.tables import crawls
from headwater.errors import Conflict, HeadwaterError, NotFound
from headwater.settings import Settings

_FIELDS = {field.name: field for field in fields(Source)}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d)?")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, None: 1}
_TIMES = ("every", "delay")
_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_RANGES = {
    # No site wants to be asked more often; a mistyped 10 (seconds) is caught by it as well.
    "every": (
        30.0,
        30 * 86_400.0,
        "at least 30 s and at most 30d; a number alone is seconds, so write 10m for minutes",
    ),
    "delay": (0.0, 3_600.0, "at most 1h"),
    "weight": (0.0, 10.0, "it must lie between 0 and 10"),
    "max_pages": (1, 100_000, "it must lie between 1 and 100000"),
}
_EXAMPLE = 'sources:\n  - url: "https://example.com/feed.xml"\n'


def sources_path(settings: Settings) -> Path:
    """Where the sources are kept: `finance/sources.yaml` in the home folder."""
    return settings.folder("finance") / "sources.yaml"


def load_sources(path: Path) -> list[Source]:
    """Read the file. Raises HeadwaterError naming file and line, NotFound when there is no file."""
    document = _read(path)
    defaults = document.get("defaults")
    defaults = {} if defaults is None else defaults
    here = _Place(path, _line(document, "defaults"))
    if not isinstance(defaults, dict):
        raise HeadwaterError(f"{here}: defaults are keys and values such as language: en, not {defaults!r}")
    for key in ("id", "url"):
        if key in defaults:
            raise HeadwaterError(f"{here.of(defaults, key)}: {key} cannot be a default; each source has its own")
    _typed_values(defaults, here)
    found: dict[str, Source] = {}
    for number, item in enumerate(document["sources"]):
        place = _Place(path, _line(document["sources"], number))
        source = _source(item, defaults, place)
        if source.id in found:
            raise HeadwaterError(
                f"{place}: the id {source.id!r} is given twice; each source needs its own, such as {source.id[:60]}-2"
            )
        found[source.id] = source
    return list(found.values())


def make_source(values: Any, place: str) -> Source:
    """A source from plain values; only `url` is needed. Raises HeadwaterError that begins with `place`."""
    return _source(values, {}, _Place(place))


@dataclass(frozen=True)
class _Place:
    """Where something is said, for an error message: a file and a line, or words."""

    file: Path | str
    line: int = 0

    def of(self, mapping: Any, key: Any) -> "_Place":
        """The place of a key within a mapping of the file."""
        return _Place(self.file, _line(mapping, key) or self.line)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else str(self.file)


def _source(values: Any, defaults: Any, place: _Place) -> Source:
    if not isinstance(values, dict):
        raise HeadwaterError(f"{place}: a source is a list of keys and values such as url: …, not {values!r}")
    own = _typed_values(values, place)
    typed = {**_typed_values(defaults, place), **own}
    url = typed.get("url", "")
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or re.search(r"\s", url):
        raise HeadwaterError(f"{place.of(values, 'url')}: url must be an http:// or https:// address, not {url!r}")
    if "@" in parts.netloc:
        raise HeadwaterError(f"{place.of(values, 'url')}: url holds a user name; addresses with one are not fetched")
    typed["id"] = typed.get("id") or _identifier(parts.netloc, parts.path, parts.query)
    typed["name"] = typed.get("name") or parts.hostname or url
    return Source(**typed)


def _typed_values(values: Any, place: _Place) -> dict[str, Any]:
    typed: dict[str, Any] = {}
    for key, value in values.items():
        here = place.of(values, key)
        if key not in _FIELDS:
            near = difflib.get_close_matches(str(key), _FIELDS, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(_FIELDS)}"
            raise HeadwaterError(f"{here}: unknown key {key!r}{hint}")
        if value is None and key != "url":
            continue  # `name:` with nothing behind it
        typed[key] = _typed(key, value, here)
        _check(key, typed[key], here)
    return typed


def _check(key: str, value: Any, place: _Place) -> None:
    if key == "id" and value and not _ID.fullmatch(value):
        raise HeadwaterError(
            f"{place}: the id {value!r} may hold a-z, 0-9, . _ - (64 at most) and begins with a letter or digit"
        )
    allowed = {"format": ("", *FORMATS), "kind": KINDS}.get(key)
    if allowed is not None and value not in allowed:
        near = difflib.get_close_matches(str(value), allowed, 1)
        hint = f"; did you mean {near[0]!r}?" if near and near[0] else ""
        raise HeadwaterError(f"{place}: {key} must be one of {', '.join(filter(None, allowed))}, not {value!r}{hint}")
    lowest, highest, words = _RANGES.get(key, (None, None, ""))
    if lowest is not None and not lowest <= value <= highest:
        raise HeadwaterError(f"{place}: {key} is {value:g}; {words}")
    if key == "include":
        try:
            re.compile(value)
        except re.error as error:
            raise HeadwaterError(f"{place}: include is no regular expression: {error}") from None


def _typed(key: str, value: Any, place: _Place) -> Any:
    wanted = _FIELDS[key].type
    if key in _TIMES:
        match = _DURATION.fullmatch(str(value).strip())
        if match is None or isinstance(value, bool):
            raise HeadwaterError(f"{place}: {key} is a time such as 30s, 10m, 2h or 1d, not {value!r}")
        return float(match.group(1)) * _SECONDS[match.group(2)]
    if wanted is bool:
        if not isinstance(value, bool):
            raise HeadwaterError(f"{place}: {key} is true or false, not {value!r}")
        return bool(value)
    if wanted is int or wanted is float:
        whole = wanted is float or (isinstance(value, int | float) and value == int(value))
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not whole:
            raise HeadwaterError(f"{place}: {key} is a {'whole ' if wanted is int else ''}number, not {value!r}")
        return wanted(value)
    if not isinstance(value, str):
        raise HeadwaterError(f"{place}: {key} is a text, not {value!r}; put it in quotes")
    return str(value).strip()


def add_source(path: Path, values: dict[str, Any]) -> Source:
    """Add a source at the end of the file, which is made if it is missing. Raises Conflict when its id is there."""
    with _changing(path) as document:
        source = _source(values, document.get("defaults") or {}, _Place("the source"))
        if any(_id_of(item) == source.id for item in document["sources"]):
            raise Conflict(f"{path} has a source {source.id!r} already; change that one, or give another id")
        document["sources"].append(dict(values))
    return _found(path, source.id)


def put_source(path: Path, values: dict[str, Any]) -> Source:
    """Add a source, or set the keys of the one with the same id."""
    source_id = make_source(values, "the source").id
    if path.exists() and any(source.id == source_id for source in load_sources(path)):
        return update_source(path, source_id, values)
    return add_source(path, values)


def update_source(path: Path, source_id: str, values: dict[str, Any]) -> Source:
    """Set keys of a source; a key set to None is taken out, so that its default holds. Raises NotFound."""
    with _changing(path) as document:
        item = document["sources"][_number(path, document, source_id)]
        if values.get("id", source_id) != source_id:
            raise Conflict(f"the id {source_id!r} stays: what was fetched is filed under it; add a new source instead")
        # An id that was made of the address would change with it.
        if "id" not in item and values.get("url", item["url"]) != item["url"]:
            item.insert(0, "id", source_id)
        for key, value in values.items():
            if value is None:
                item.pop(key, None)
            elif key != "id" and item.get(key) != value:
                item[key] = value
    return _found(path, source_id)


def enable_source(path: Path, source_id: str, enabled: bool = True) -> Source:
    """Switch a source on or off. Raises NotFound."""
    return update_source(path, source_id, {"enabled": enabled})


def remove_source(path: Path, source_id: str) -> None:
    """Take a source out of the file. Raises NotFound. What was fetched from it stays."""
    with _changing(path) as document:
        del document["sources"][_number(path, document, source_id)]


def due_sources(engine: sa.Engine, sources: list[Source], moment: datetime) -> list[Source]:
    """Those whose time has come, longest overdue first; a source that asked to wait (`retry_at`) is left alone."""
    latest = sa.select(crawls.c.source_id, sa.func.max(crawls.c.started).label("started")).group_by(crawls.c.source_id)
    last = latest.subquery()
    query = sa.select(crawls).join(
        last, sa.and_(crawls.c.source_id == last.c.source_id, crawls.c.started == last.c.started)
    )
    with engine.connect() as connection:
        rows = {row.source_id: row for row in connection.execute(query)}
    due: list[tuple[datetime, Source]] = []
    for source in sources:
        row = rows.get(source.id)
        at = row.started + timedelta(seconds=source.every) if row else datetime.min.replace(tzinfo=moment.tzinfo)
        if row and row.retry_at:
            at = max(at, row.retry_at)
        if source.enabled and at <= moment:
            due.append((at, source))
    return [source for _, source in sorted(due, key=lambda pair: (pair[0], pair[1].id))]


def as_values(source: Source) -> dict[str, Any]:
    """Plain values of a source, for JSON."""
    return asdict(source)


def _identifier(netloc: str, path: str, query: str) -> str:
    whole = "-".join(filter(None, (netloc.removeprefix("www."), path, query)))
    words = re.sub(r"[^a-z0-9]+", "-", whole.lower()).strip("-")
    if len(words) > 64:
        words = f"{words[:55]}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"
    return words or f"source-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


def _id_of(item: Any) -> str:
    try:
        return make_source(item, "").id
    except HeadwaterError:
        return str(item.get("id", "")) if isinstance(item, dict) else ""


def _number(path: Path, document: Any, source_id: str) -> int:
    ids = [_id_of(item) for item in document["sources"]]
    if source_id not in ids:
        near = difflib.get_close_matches(source_id, ids, 1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(ids) or 'none'}"
        raise NotFound(f"{path} has no source {source_id!r}{hint}")
    return ids.index(source_id)


def _found(path: Path, source_id: str) -> Source:
    return next(source for source in load_sources(path) if source.id == source_id)


def _yaml() -> YAML:
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 200
    return yaml


def _read(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8-sig")
        document = _yaml().load(text)
    except FileNotFoundError:
        raise NotFound(f"{path} does not exist; a file of one source is:\n{_EXAMPLE}") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = " ".join(filter(None, (error.problem, error.context))).replace("\n", " ")
        place = _Place(path, mark.line + 1 if mark is not None else 0)
        raise HeadwaterError(f"{place}: this is no YAML: {said}; put texts with : or # in quotes") from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise HeadwaterError(f"{path} cannot be read as YAML in UTF-8: {' '.join(str(error).split())[:300]}") from None
    if not isinstance(document, dict) or not isinstance(document.get("sources"), list):
        raise HeadwaterError(f"{path} must hold a list named sources, such as:\n{_EXAMPLE}")
    for key in document:
        if key not in ("sources", "defaults"):
            near = difflib.get_close_matches(str(key), ("sources", "defaults"), 1)
            hint = f"; did you mean {near[0]!r}?" if near else "; there are: sources, defaults"
            raise HeadwaterError(f"{_Place(path).of(document, key)}: unknown key {key!r}{hint}")
    return document


def _line(container: Any, key: Any) -> int:
    """The line of an item of a list, or of a key of a mapping, counted from 1; 0 where it is not known."""
    try:
        place = container.lc.item(key) if isinstance(key, int) else container.lc.key(key)
        return int(place[0]) + 1
    except (AttributeError, KeyError, TypeError):
        return 0


@contextmanager
def _changing(path: Path) -> Iterator[Any]:
    """The document to change; written, if it can be read again, at the end. Changes wait for one another."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.parent):
        if path.exists():
            document = _read(path)
        else:
            document = _yaml().load("# Sources that the finance monitor watches; only `url` is needed.\nsources: []\n")
            document["sources"].fa.set_block_style()
        yield document
        _write(path, document)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    # The folder itself is locked: the file is replaced with each change, and a lock file would lie about.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(path: Path, document: Any) -> None:
    buffer = io.StringIO()
    _yaml().dump(document, buffer)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(buffer.getvalue())
            file.flush()
            os.fsync(file.fileno())
        try:
            load_sources(partial)
        except HeadwaterError as error:
            words = re.sub(rf"^{re.escape(str(partial))}(:\d+)?: ", "", str(error))
            raise HeadwaterError(f"nothing was changed in {path}: {words}") from None
        if path.exists():
            shutil.copymode(path, partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
