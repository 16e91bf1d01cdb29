"""Rows of csv, tsv, jsonl and parquet files (also .gz), streamed; encoding and dialect are detected."""

import codecs
import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from headwater.data.examples import RowProblem
from headwater.errors import HeadwaterError, NotFound, Unsupported

# Enough to see the encoding of a Chinese file whose first kilobytes are ASCII.
_SAMPLE_BYTES = 1 << 18
_WESTERN = frozenset("àáâãäåæçèéêëìíîïñòóôõöøùúûüýÿœßªº¿¡«»°€£§©®’‘“”„–—…·\u00a0")
_DELIMITERS = ",;\t|"
csv.field_size_limit(min(sys.maxsize, 1 << 31 - 1))


@dataclass(frozen=True, slots=True)
class Row:
    """One row: `number` counts from 1 at the first data row; `values` by column name (numbers become text)."""

    number: int
    values: Mapping[str, Any]


def stream_rows(path: str | Path, problems: list[RowProblem] | None = None) -> Iterator[Row]:
    """Rows of a file, one at a time. Rows that cannot be read are appended to `problems`; without it they raise.

    Raises NotFound, Unsupported (format), HeadwaterError (empty, binary, undecodable).
    """
    file = Path(path)
    if not file.is_file():
        raise NotFound(f"there is no file {file}")
    suffixes = [suffix.lower() for suffix in file.suffixes]
    kind = next((s for s in reversed(suffixes) if s != ".gz"), "")
    if file.stat().st_size == 0:
        raise HeadwaterError(f"{file} is empty")
    if kind == ".parquet":
        return _parquet(file)
    if kind in (".jsonl", ".ndjson"):
        return _whole(file, _jsonl(file, problems))
    if kind in (".csv", ".tsv", ".txt"):
        return _whole(file, _delimited(file, problems, tab=kind == ".tsv"))
    raise Unsupported(
        f"{file}: {kind or 'a file without suffix'} is not read; use .csv, .tsv, .jsonl or .parquet (or .gz of them)"
    )


def _whole(file: Path, rows: Iterator[Row]) -> Iterator[Row]:
    try:
        yield from rows
    except (EOFError, zlib.error) as error:
        raise HeadwaterError(f"{file} was cut short or is damaged ({error}); copy it again") from error


def columns_of(path: str | Path) -> list[str]:
    """The column names of the first row."""
    for row in stream_rows(path, []):
        return list(row.values)
    raise HeadwaterError(f"{path} has no data row")


def detect_encoding(sample: bytes, name: str) -> str:
    """The encoding of `sample`. Raises HeadwaterError when it is binary."""
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if sample.startswith(mark):
            return encoding
    if b"\x00" in sample:
        raise HeadwaterError(
            f"{name} holds NUL bytes: it is a binary file, or UTF-16 without a byte order mark; save it as UTF-8"
        )
    # A sample that is not the whole file may end inside a character.
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(sample, final=len(sample) < _SAMPLE_BYTES)
        return "utf-8"
    except UnicodeDecodeError:
        # Text in another encoding hardly ever has a line that is valid UTF-8 beyond ASCII; a broken row or two in
        # UTF-8 must not turn all others into other characters.
        beyond = [_is_utf8(line) for line in sample.splitlines() if not line.isascii()]
        return "utf-8" if sum(beyond) > len(beyond) / 2 else _guess_encoding(sample)


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _guess_encoding(sample: bytes) -> str:
    from charset_normalizer import from_bytes

    # GBK text decodes as many things; where it is valid GB 18030 and mostly Han, that is what it is.
    try:
        text = sample[: len(sample) - 4 if len(sample) == _SAMPLE_BYTES else None].decode("gb18030")
        letters = [c for c in text if ord(c) > 127]
        if letters and sum("\u4e00" <= c <= "\u9fff" or c in "，。！？：；、“”（）《》" for c in letters) >= 0.9 * len(
            letters
        ):
            return "gb18030"
    except UnicodeDecodeError:
        pass
    if _is_western(sample[:65_536]):
        return "cp1252"
    best = from_bytes(sample[:65_536]).best()
    return best.encoding if best is not None else "latin-1"


def _is_western(sample: bytes) -> bool:
    """Whether cp1252 gives a western European text, which statistics take for cp1250 in short files.

    Other alphabets are dense beyond ASCII, and Polish or Czech show signs or š and ž that are left out here.
    """
    try:
        letters = [c for c in sample.decode("cp1252") if c.isalpha() or ord(c) > 127]
    except UnicodeDecodeError:
        return False
    beyond = [c for c in letters if ord(c) > 127]
    return len(beyond) <= len(letters) / 4 and all(c.lower() in _WESTERN for c in beyond)


def _open_text(file: Path) -> io.TextIOWrapper:
    with _open_bytes(file) as source:
        sample = source.read(_SAMPLE_BYTES)
    encoding = detect_encoding(sample, str(file))
    return io.TextIOWrapper(_open_bytes(file), encoding=encoding, errors="surrogateescape", newline="")


def _open_bytes(file: Path) -> IO[bytes]:
    try:
        source: IO[bytes] = gzip.GzipFile(file) if file.suffix == ".gz" else file.open("rb")  # type: ignore[assignment]
        source.read(1)
        source.seek(0)
    except gzip.BadGzipFile as error:
        raise HeadwaterError(f"{file} ends in .gz but is not gzip: {error}") from error
    return source


def _undecodable(values: Sequence[str | None]) -> bool:
    return any(value and any("\udc80" <= c <= "\udcff" for c in value) for value in values)


def _delimited(file: Path, problems: list[RowProblem] | None, tab: bool) -> Iterator[Row]:
    with _open_text(file) as source:
        sample = source.read(65_536)
        source.seek(0)
        reader = csv.reader(source, **_dialect(sample, tab))
        header = next((cells for cells in reader if any(cell.strip() for cell in cells)), None)
        if header is None:
            raise HeadwaterError(f"{file} is empty")
        names = [name.strip() for name in header]
        if len(set(names)) != len(names):
            raise HeadwaterError(f"{file}: the header names a column twice: {', '.join(names)}")
        number = 0
        while True:
            number += 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                _report(problems, file, number, f"not {'tsv' if tab else 'csv'}: {error}")
                continue
            if not cells:
                number -= 1
            elif len(cells) != len(names):
                _report(problems, file, number, f"{len(cells)} columns where the header has {len(names)}")
            elif _undecodable(cells):
                _report(problems, file, number, f"bytes that are not {source.encoding}; save the file as UTF-8")
            else:
                yield Row(number, dict(zip(names, cells, strict=True)))


def _dialect(sample: str, tab: bool) -> dict[str, Any]:
    if tab:
        return {"delimiter": "\t", "quoting": csv.QUOTE_NONE}
    first = next((line for line in sample.splitlines() if line.strip()), "")
    counts = {delimiter: first.count(delimiter) for delimiter in _DELIMITERS}
    best = max(counts, key=lambda delimiter: counts[delimiter])
    return {"delimiter": best if counts[best] else ",", "doublequote": True}


def _jsonl(file: Path, problems: list[RowProblem] | None) -> Iterator[Row]:
    with _open_text(file) as source:
        for number, line in enumerate(source, start=1):
            if not line.strip():
                continue
            try:
                values = json.loads(line)
            except ValueError as error:
                _report(problems, file, number, f"not JSON: {error}")
                continue
            if not isinstance(values, dict):
                _report(problems, file, number, f"a JSON {type(values).__name__} where an object was expected")
            elif _undecodable([v for v in values.values() if isinstance(v, str)]):
                _report(problems, file, number, f"bytes that are not {source.encoding}; save the file as UTF-8")
            else:
                yield Row(number, values)


def _parquet(file: Path) -> Iterator[Row]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise HeadwaterError(f'{file}: parquet needs pyarrow: pip install "headwater[tune]"') from error
    try:
        source = parquet.ParquetFile(file)
    except pyarrow.ArrowInvalid as error:
        raise HeadwaterError(f"{file} is not a parquet file: {error}") from error
    number = 0
    for batch in source.iter_batches(batch_size=4096):
        for values in batch.to_pylist():
            number += 1
            yield Row(number, values)


def _report(problems: list[RowProblem] | None, file: Path, row: int, reason: str) -> None:
    problem = RowProblem(str(file), row, reason)
    if problems is None:
        raise HeadwaterError(str(problem))
    problems.append(problem)
