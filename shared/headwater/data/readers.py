"""Examples from files that nobody prepared: every row becomes an example or a named problem."""

import difflib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from headwater.data.examples import PairExample, ReadResult, RowProblem, TextExample
from headwater.data.rows import Row, stream_rows
from headwater.errors import HeadwaterError


def read_texts(
    path: str | Path,
    *,
    text_column: str = "text",
    label_column: str | None = "label",
    label_separator: str | None = None,
    group_column: str | None = None,
) -> ReadResult[TextExample]:
    """Labelled texts; several labels in one cell are split at `label_separator` or given as a JSON list.

    Raises HeadwaterError when a column is missing (naming those that exist) or no row could be used.
    """
    wanted = [column for column in (text_column, label_column, group_column) if column]
    problems: list[RowProblem] = []
    examples = []
    for row in _checked_rows(path, wanted, problems):
        text = _text(row.values, text_column)
        labels = _labels(row.values[label_column], label_separator) if label_column else ()
        if not text:
            problems.append(RowProblem(str(path), row.number, f"column {text_column!r} is empty"))
        elif label_column and not labels and label_separator is None:
            problems.append(RowProblem(str(path), row.number, f"column {label_column!r} is empty"))
        elif broken := next((label for label in labels if "\n" in label or "\r" in label), None):
            reason = (
                f"column {label_column!r} holds a line break ({broken[:30]!r}); is a quote missing or one too many?"
            )
            problems.append(RowProblem(str(path), row.number, reason))
        else:
            group = _text(row.values, group_column) or None if group_column else None
            examples.append(TextExample(text, labels, group, f"{Path(path).name}:{row.number}"))
    return _result(path, examples, problems)


def read_pairs(
    path: str | Path,
    *,
    query_column: str = "query",
    positive_column: str = "positive",
    negative_column: str | None = None,
    group_column: str | None = None,
) -> ReadResult[PairExample]:
    """Query-passage pairs for a bi-encoder; `negative_column` holds one text or a JSON list of them."""
    wanted = [column for column in (query_column, positive_column, negative_column, group_column) if column]
    problems: list[RowProblem] = []
    examples = []
    for row in _checked_rows(path, wanted, problems):
        query, positive = _text(row.values, query_column), _text(row.values, positive_column)
        if not query or not positive:
            empty = positive_column if query else query_column
            problems.append(RowProblem(str(path), row.number, f"column {empty!r} is empty"))
            continue
        negatives = _labels(row.values[negative_column], None) if negative_column else ()
        group = _text(row.values, group_column) or None if group_column else None
        examples.append(PairExample(query, positive, negatives, f"{Path(path).name}:{row.number}", group))
    return _result(path, examples, problems)


def _checked_rows(path: str | Path, wanted: list[str], problems: list[RowProblem]) -> Iterator[Row]:
    for position, row in enumerate(stream_rows(path, problems)):
        missing = [column for column in wanted if column not in row.values]
        if missing and position == 0:
            raise HeadwaterError(_missing_column(path, missing[0], list(row.values)))
        if missing:
            problems.append(RowProblem(str(path), row.number, f"no field {missing[0]!r}"))
            continue
        yield row


def _missing_column(path: str | Path, column: str, columns: list[str]) -> str:
    close = difflib.get_close_matches(column, columns, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{path} has no column {column!r}; it has: {', '.join(columns)}{hint}"


def _text(values: Mapping[str, Any], column: str) -> str:
    value = values[column]
    return "" if value is None else str(value).replace("\x00", "").strip()


def _labels(value: Any, separator: str | None) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, list | tuple):
        return tuple(str(item).strip() for item in value if str(item).strip())
    text = str(value).strip()
    if text.startswith("[") and text.endswith("]"):
        try:
            return _labels(json.loads(text), separator)
        except ValueError:
            pass  # a label may begin with a bracket
    parts = text.split(separator) if separator else [text]
    return tuple(part.strip() for part in parts if part.strip())


def _result(path: str | Path, examples: list[Any], problems: list[RowProblem]) -> ReadResult[Any]:
    if not examples:
        first = f"; the first problem is {problems[0]}" if problems else ": it holds a header and no data"
        raise HeadwaterError(f"{path} gave no usable example{first}")
    return ReadResult(examples, problems)
