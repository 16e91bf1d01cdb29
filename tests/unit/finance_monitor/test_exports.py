"""Alerts and incidents as files that a spreadsheet opens without running anything."""

import csv
import io
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import sqlalchemy as sa

from finance_monitor import alerting, exports, subscriptions, tables
from finance_monitor.domain import Incident
from finance_monitor.exports import alert_table, defused, incident_table, to_csv, to_xlsx
from finance_monitor.subscriptions import Rule
from headwater.errors import HeadwaterError

SITE = "desk"
START = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
REASON: dict[str, Any] = {
    "entity_name": '=HYPERLINK("http://evil.example")',
    "observed": 7,
    "expected": 0.83,
    "negative_share": 0.875,
    "p_value": 3.1e-05,
    "threshold": 0.001,
    "topics": ["litigation", "credit"],
    "languages": ["zh"],
    "stories": [{"title": "@SUM(1+1)*cmd|' /C calc'!A0\n海川被起诉"}, {"title": 'two, "quoted"'}],
}
_CELLS = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


@pytest.fixture
def memory() -> Iterator[sa.Engine]:
    """One incident and its alert."""
    engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    tables.metadata.create_all(engine)
    one = Incident("i1", "company", "norwick", "open", "high", 1, START, START, None, REASON, ())
    with engine.begin() as connection:
        subscriptions.save(connection, SITE, "+mine", Rule(), actor="a", moment=START, subscription_id="s")
        alerting.route(connection, one, "opened", START)
        values = {name: getattr(one, name) for name in ("id", "entity_kind", "entity", "state", "severity", "revision")}
        times = {"opened": START, "updated": START, "closed": None}
        connection.execute(tables.incidents.insert().values(**values, **times, reason=REASON, story_ids=[], memory={}))
    yield engine
    engine.dispose()


def read(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))


def test_csv_has_a_row_an_alert_with_figures_as_numbers(memory: sa.Engine) -> None:
    with memory.connect() as connection:
        data = to_csv(alert_table(connection, SITE, START, START + timedelta(days=1)))
        assert (
            to_csv(alert_table(connection, SITE, START + timedelta(days=1), START + timedelta(days=2))).count(b"\n")
            == 1
        )
        assert to_csv(alert_table(connection, "elsewhere", START, START + timedelta(days=1))).count(b"\n") == 1
    assert data.startswith(b"\xef\xbb\xbf")
    row = read(data)[0]
    assert (row["incident"], row["revision"], row["change"], row["severity"]) == ("i1", "1", "opened", "high")
    assert (row["observed"], row["expected"], row["p_value"]) == ("7", "0.83", "3.1e-05")
    assert row["created"] == "2026-03-02T09:30:00+00:00" and row["topics"] == "litigation, credit"


def test_no_cell_of_a_csv_is_a_formula(memory: sa.Engine) -> None:
    with memory.connect() as connection:
        alerts = read(to_csv(alert_table(connection, SITE, START, START + timedelta(days=1))))
        incidents = read(to_csv(incident_table(connection, START, START + timedelta(days=1))))
    assert alerts[0]["name"] == incidents[0]["name"] == '\'=HYPERLINK("http://evil.example")'
    assert alerts[0]["subscription"] == "'+mine"
    assert alerts[0]["stories"] == "'@SUM(1+1)*cmd|' /C calc'!A0 海川被起诉 | two, \"quoted\""


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@a", "\t=1", "\r=1", " =1", "＝1", "\n=1"])
def test_text_that_starts_like_a_formula_is_defused(text: str) -> None:
    assert defused(text) == "'" + text
    assert defused("a" + text) == "a" + text


def cells(path: Path) -> list[dict[str, tuple[str, str]]]:
    """For each row of the sheet, column → (type, text) as the file has them."""
    with zipfile.ZipFile(path) as archive:
        root = ElementTree.fromstring(archive.read("xl/worksheets/sheet1.xml"))
        rows = []
        for row in root.iter(f"{_CELLS}row"):
            found = {}
            for cell in row:
                assert cell.find(f"{_CELLS}f") is None
                text = "".join(cell.itertext())
                found[cell.attrib["r"].rstrip("0123456789")] = (cell.attrib.get("t", "n"), text)
            rows.append(found)
        assert not [name for name in archive.namelist() if "hyperlink" in name or ("rels" in name and "sheet" in name)]
    return rows


def test_xlsx_has_typed_columns_and_no_formula(memory: sa.Engine, tmp_path: Path) -> None:
    path = tmp_path / "alerts.xlsx"
    with memory.connect() as connection:
        to_xlsx(alert_table(connection, SITE, START, START + timedelta(days=1)), path)
    heading, row = cells(path)
    by_name = {heading[column][1]: value for column, value in row.items()}
    assert by_name["name"] == ("inlineStr", '=HYPERLINK("http://evil.example")')
    assert by_name["observed"] == ("n", "7") and float(by_name["p_value"][1]) == 3.1e-05
    # 2 March 2026, half past nine, in days since 1900.
    kind, days = by_name["created (UTC)"]
    assert kind == "n" and float(days) == pytest.approx(46083.3958333)
    assert "due (UTC)" in by_name and "score" not in by_name


def test_more_rows_than_a_sheet_holds_are_refused(
    memory: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "_SHEET_ROWS", 0)
    with memory.connect() as connection, pytest.raises(HeadwaterError, match="rows do not fit in a sheet"):
        to_xlsx(incident_table(connection, START, START + timedelta(days=1)), tmp_path / "incidents.xlsx")
