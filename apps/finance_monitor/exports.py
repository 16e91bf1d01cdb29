"""Alerts, incidents and articles as CSV and XLSX, a row each.

Texts come from articles of strangers: in CSV a cell that a spreadsheet would run as a formula gets an apostrophe in
front (OWASP, "CSV injection"); in XLSX every column has its type, and a text is never a formula or a link.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import sqlalchemy as sa

from finance_monitor.channels.rendering import one_line
from finance_monitor.tables import alerts, incidents
from finance_monitor.wording import entity_name
from headwater.errors import HeadwaterError

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
# The format's own limits.
_SHEET_ROWS = 1_048_575
_CELL_CHARACTERS = 32_767


@dataclass(frozen=True)
class Column:
    """A heading, and what stands below it: text, number, or moment (UTC)."""

    name: str
    type: str = "text"


@dataclass(frozen=True)
class Table:
    """Headings and rows; the rows are read once, as they are written."""

    name: str
    columns: tuple[Column, ...]
    rows: Iterator[Sequence[Any]]


_REASON = (
    Column("name"),
    Column("severity"),
    Column("observed", "number"),
    Column("expected", "number"),
    Column("negative_share", "number"),
    Column("p_value", "number"),
    Column("threshold", "number"),
    Column("score", "number"),
    Column("topics"),
    Column("languages"),
    Column("stories"),
)
_ALERTS = (
    Column("alert"),
    Column("created", "moment"),
    Column("subscription"),
    Column("incident"),
    Column("revision", "number"),
    Column("change"),
    Column("held"),
    Column("due", "moment"),
    Column("entity_kind"),
    Column("entity"),
    *_REASON,
)
_INCIDENTS = (
    Column("incident"),
    Column("entity_kind"),
    Column("entity"),
    Column("state"),
    Column("revision", "number"),
    Column("opened", "moment"),
    Column("updated", "moment"),
    Column("closed", "moment"),
    *_REASON,
)

_ARTICLES = (
    Column("id"),
    Column("published", "moment"),
    Column("first_seen", "moment"),
    Column("source_id"),
    Column("kind"),
    Column("language"),
    Column("title"),
    Column("url"),
    Column("story_id"),
    Column("novelty", "number"),
    Column("label"),
    Column("positive", "number"),
    Column("neutral", "number"),
    Column("negative", "number"),
)
_COMPANY = (
    Column("relevance", "number"),
    Column("role"),
    Column("company_label"),
    Column("company_positive", "number"),
    Column("company_neutral", "number"),
    Column("company_negative", "number"),
    Column("sentence"),
)


def alert_table(connection: sa.Connection, site_id: str, since: datetime, until: datetime) -> Table:
    """The site's alerts of [since, until), in order."""
    query = (
        sa.select(alerts)
        .where(alerts.c.site_id == site_id, alerts.c.created >= since, alerts.c.created < until)
        .order_by(alerts.c.created, alerts.c.id)
    )

    def rows() -> Iterator[Sequence[Any]]:
        for row in connection.execute(query):
            incident, reason = row.content["incident"], row.content["reason"]
            about = (row.content["change"], row.held, row.due, incident["entity_kind"], incident["entity"])
            start = (row.id, row.created, row.content["subscription"]["name"], row.incident_id, row.revision)
            name = entity_name(incident["entity_kind"], incident["entity"], reason, "en")
            yield (*start, *about, *_reason_cells(reason, name, incident["severity"]))

    return Table("alerts", _ALERTS, rows())


def incident_table(connection: sa.Connection, since: datetime, until: datetime) -> Table:
    """The incidents that opened in [since, until), in order, as they are now."""
    query = (
        sa.select(incidents)
        .where(incidents.c.opened >= since, incidents.c.opened < until)
        .order_by(incidents.c.opened, incidents.c.id)
    )

    def rows() -> Iterator[Sequence[Any]]:
        for row in connection.execute(query):
            start = (row.id, row.entity_kind, row.entity, row.state, row.revision, row.opened, row.updated, row.closed)
            name = entity_name(row.entity_kind, row.entity, row.reason, "en")
            yield (*start, *_reason_cells(row.reason, name, row.severity))

    return Table("incidents", _INCIDENTS, rows())


def article_table(found: Iterable[Mapping[str, Any]], *, company: bool) -> Table:
    """Articles as a search found them; with `company` what its own judgement and sentence are."""
    columns = _ARTICLES + (_COMPANY if company else ())

    def rows() -> Iterator[Sequence[Any]]:
        for row in found:
            values = {**row, "title": one_line(row["title"]), "sentence": one_line(row.get("sentence") or "")}
            yield [values[column.name] for column in columns]

    return Table("articles", columns, rows())


def _reason_cells(reason: dict[str, Any], name: str, severity: str) -> Sequence[Any]:
    figures = [
        reason.get(figure) for figure in ("observed", "expected", "negative_share", "p_value", "threshold", "score")
    ]
    lists = [", ".join(reason.get(several, ())) for several in ("topics", "languages")]
    stories = " | ".join(one_line(story["title"]) for story in reason.get("stories") or ())
    return [name, severity, *figures, *lists, stories]


def to_csv(table: Table) -> bytes:
    """CSV (RFC 4180) in UTF-8 with a byte order mark, without which spreadsheets misread Chinese."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow([column.name for column in table.columns])
    for row in table.rows:
        writer.writerow([_csv_cell(value, column) for value, column in zip(row, table.columns, strict=True)])
    return buffer.getvalue().encode("utf-8-sig", "replace")


def _csv_cell(value: Any, column: Column) -> str:
    if value is None:
        return ""
    if column.type == "moment":
        return str(value.isoformat())
    if column.type == "number":
        return repr(value)
    return defused(str(value))


def defused(text: str) -> str:
    """The text with an apostrophe in front when a spreadsheet would take it for a formula."""
    return "'" + text if text.lstrip(" \n").startswith(_FORMULA) or text.startswith(_FORMULA) else text


def to_xlsx(table: Table, target: Path | BinaryIO) -> None:
    """Write an Excel workbook with one sheet; moments are in UTC. Raises HeadwaterError for more rows than fit."""
    import xlsxwriter

    options = {
        "constant_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
        "nan_inf_to_errors": True,
        "remove_timezone": True,
    }
    with xlsxwriter.Workbook(str(target) if isinstance(target, Path) else target, options) as workbook:
        sheet = workbook.add_worksheet(table.name)
        bold, moment = workbook.add_format({"bold": True}), workbook.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        sheet.freeze_panes(1, 0)
        for number, column in enumerate(table.columns):
            heading = f"{column.name} (UTC)" if column.type == "moment" else column.name
            sheet.write_string(0, number, heading, bold)
            sheet.set_column(number, number, 20 if column.type == "moment" else 16)
        for line, row in enumerate(table.rows, 1):
            if line > _SHEET_ROWS:
                raise HeadwaterError(f"more than {_SHEET_ROWS:,} rows do not fit in a sheet; take less time, or CSV")
            for number, (value, column) in enumerate(zip(row, table.columns, strict=True)):
                if value is None:
                    continue
                if column.type == "moment":
                    sheet.write_datetime(line, number, value, moment)
                elif column.type == "number":
                    sheet.write_number(line, number, value)
                else:
                    sheet.write_string(line, number, str(value)[:_CELL_CHARACTERS])
