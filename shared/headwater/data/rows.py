"""Rows of csv, tsv, jsonl and parquet files (also .gz), streamed; encoding and dialect are detected."""

import codecs
import csv
import gzip
import io
import json
import re
import sys
import zlib
from collections import deque
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
# Excel's first line that names the delimiter.
_SEPARATOR_LINE = re.compile(r'"?sep=([^"\r\n])"?[\r\n]*')
# A quoted cell of more lines than this, most of them with as many columns as the header, has swallowed rows.
_LONG_CELL = 20
_MOST_LINES = 10_000
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

    if _is_japanese(sample):
        return "cp932"
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


def _is_japanese(sample: bytes) -> bool:
    """Whether Shift-JIS gives a text with kana; bytes of GBK give half-width ones, which are not counted."""
    decoder = codecs.getincrementaldecoder("cp932")()
    try:
        beyond = [c for c in decoder.decode(sample, final=len(sample) < _SAMPLE_BYTES) if ord(c) > 127]
    except UnicodeDecodeError:
        return False
    return sum("\u3040" <= c <= "\u30ff" for c in beyond) >= 0.2 * len(beyond) > 0


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


class _Lines:
    """The lines of a file; those that a record has taken after its first one can be read again as rows."""

    def __init__(self, source: Iterator[str]) -> None:
        self._source = source
        self._again: deque[str] = deque()
        self._read = 0
        self.taken: list[str] = []
        self.cut = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        # The csv module asks for a line after the last one, or after too many, only inside a quoted cell.
        if len(self.taken) >= _MOST_LINES:
            self.cut = True
            raise StopIteration
        line = self._again.popleft() if self._again else next(self._source, None)
        if line is None:
            self.cut = True
            raise StopIteration
        self._read += 1
        self.taken.append(line)
        return line

    def begin_record(self) -> None:
        self.taken, self.cut = [], False

    @property
    def first(self) -> int:
        """The number of the present record's first line."""
        return self._read - len(self.taken) + 1

    def read_again(self) -> None:
        rest = self.taken[1:]
        self._again.extendleft(reversed(rest))
        self._read -= len(rest)
        self.taken = self.taken[:1]


def _delimited(file: Path, problems: list[RowProblem] | None, tab: bool) -> Iterator[Row]:
    with _open_text(file) as source:
        sample = source.read(65_536)
        source.seek(0)
        dialect = _dialect(sample, tab)
        lines = _Lines(source)
        reader = csv.reader(lines, **dialect)
        names = _header(file, reader, lines, dialect)
        number = 0
        while True:
            number += 1
            lines.begin_record()
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                _report(problems, file, number, f"not {'tsv' if tab else 'csv'}: {error}")
                continue
            if _is_unclosed(lines, dialect, len(names)):
                lines.read_again()
                reason = f"a quote opened in row {number} (line {lines.first}) was never closed"
                _report(problems, file, number, reason)
            elif not cells:
                number -= 1
            elif len(cells) != len(names):
                _report(problems, file, number, f"{len(cells)} columns where the header has {len(names)}")
            elif _undecodable(cells):
                _report(problems, file, number, f"bytes that are not {source.encoding}; save the file as UTF-8")
            else:
                yield Row(number, dict(zip(names, cells, strict=True)))


def _header(file: Path, reader: Iterator[list[str]], lines: _Lines, dialect: Mapping[str, Any]) -> list[str]:
    while True:
        lines.begin_record()
        cells = next(reader, None)
        if cells is None:
            raise HeadwaterError(f"{file} is empty")
        if any(cell.strip() for cell in cells) and not _SEPARATOR_LINE.fullmatch(lines.taken[0]):
            break
    if _is_unclosed(lines, dialect, 0):
        raise HeadwaterError(f"{file}: a quote opened in the header (line {lines.first}) was never closed")
    names = [name.strip() for name in cells]
    if len(set(names)) != len(names):
        raise HeadwaterError(f"{file}: the header names a column twice: {', '.join(names)}")
    return names


def _is_unclosed(lines: _Lines, dialect: Mapping[str, Any], columns: int) -> bool:
    """Whether the present record's quote ran to the end of the file, or into the quote of another row."""
    if lines.cut or len(lines.taken) < 2:
        return lines.cut
    try:
        next(csv.reader(lines.taken, **dialect, strict=True))
    except csv.Error:  # the quote that closes it is followed by text: it opens a cell further down
        return True
    inner = lines.taken[1:-1]
    if columns < 2 or len(inner) < _LONG_CELL:
        return False
    return sum(len(cells) == columns for cells in csv.reader(inner, **dialect)) >= 0.9 * len(inner)


def _dialect(sample: str, tab: bool) -> dict[str, Any]:
    if tab:
        return {"delimiter": "\t", "quoting": csv.QUOTE_NONE}
    first = next((line for line in sample.splitlines() if line.strip()), "")
    named = _SEPARATOR_LINE.fullmatch(first)
    if named:
        return {"delimiter": named[1], "doublequote": True}
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
