"""Exchange lists → companies: SEC's company_tickers.json, mainland and Hong Kong lists, and any CSV with names."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from finance_monitor.companies import Company
from headwater.data import RowProblem
from headwater.data.rows import columns_of, stream_rows
from headwater.errors import HeadwaterError, NotFound

# What columns of such lists are called; the first that a file has is taken.
_COLUMNS: dict[str, tuple[str, ...]] = {
    "ticker": (
        *(
            "证券代码",
            "股票代码",
            "A股代码",
            "公司代码",
            "证券代號",
            "股份代號",
            "代码",
            "Stock Code",
            "ticker",
            "symbol",
        ),
        *("Symbol", "Ticker", "code"),
    ),
    "name": (
        *(
            "公司全称",
            "公司名称",
            "英文名称",
            "Name of Securities",
            "name",
            "Company Name",
            "company",
            "title",
            "Security Name",
        ),
        *("证券简称", "A股简称", "股份名稱"),
    ),
    "short": ("证券简称", "股票简称", "A股简称", "公司简称", "简称", "股份簡稱", "short_name"),
    "aliases": ("aliases", "Alternate Names", "曾用名", "alias"),
    "country": ("country", "国家"),
    "sector": ("sector", "所属行业", "Industry", "industry", "Sector"),
}
_REQUIRED = ("ticker", "name")
# Words that an alias must not consist of.
_LEAST_ALIAS = 3


@dataclass(frozen=True)
class ImportReport:
    """What an exchange list gave, and the rows that were left out with why."""

    companies: list[Company]
    problems: list[str] = field(default_factory=list)


def import_companies(path: Path, exchange: str = "", country: str = "") -> ImportReport:
    """Read a list by its content. `exchange` and `country` fill what the list does not say.

    Raises NotFound, HeadwaterError for a file that is no such list; rows that cannot be used are in the report.
    """
    if path.suffix.lower() == ".json":
        return _sec(path)
    columns = columns_of(path)
    found = {field: next((n for n in names if n in columns), "") for field, names in _COLUMNS.items()}
    missing = [field for field in _REQUIRED if not found[field]]
    if missing:
        raise HeadwaterError(
            f"{path} has no column for {' and '.join(missing)}; it has: {', '.join(columns)}. "
            f"Columns that are known: {', '.join(n for field in missing for n in _COLUMNS[field])}"
        )
    problems: list[RowProblem] = []
    companies: dict[str, Company] = {}
    said = []
    for row in stream_rows(path, problems):
        company = _row(row.values, found, exchange, country)
        if isinstance(company, str):
            said.append(f"{path}:{row.number}: {company}")
        else:
            companies.setdefault(company.id, company)
    return ImportReport(list(companies.values()), [*map(str, problems), *said])


def _row(values: Mapping[str, Any], columns: Mapping[str, str], exchange: str, country: str) -> Company | str:
    def cell(field: str) -> str:
        return " ".join(str(values.get(columns[field]) or "").split()) if columns[field] else ""

    ticker, name = cell("ticker").upper(), cell("name")
    if not ticker or not name:
        return "a company needs a ticker and a name"
    place = exchange or _exchange(ticker)
    if place in ("SSE", "SZSE"):
        ticker = ticker.zfill(6)
    if place == "HKEX":
        ticker = ticker.lstrip("0").zfill(4)
    aliases = [cell("short"), *re.split(r"[|;,，；]\s*", cell("aliases"))]
    kept = tuple(dict.fromkeys(a for a in aliases if len(a) >= _LEAST_ALIAS and a != name))
    return Company(_id(place, ticker), name, ticker, place, cell("country") or country, cell("sector"), kept)


def _exchange(ticker: str) -> str:
    """Mainland exchanges by the first figures of the code; nothing for other tickers."""
    if re.fullmatch(r"\d{6}", ticker):
        return "SSE" if ticker[0] in "69" else "SZSE"
    return ""


def _id(exchange: str, ticker: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", f"{exchange}-{ticker}".lower()).strip("-")[:64]


def _sec(path: Path) -> ImportReport:
    """https://www.sec.gov/files/company_tickers.json: {"0": {"cik_str", "ticker", "title"}, …}; one company a CIK."""
    try:
        parsed = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}") from None
    except ValueError as error:
        raise HeadwaterError(f"{path} is no JSON: {error}") from None
    rows = parsed.values() if isinstance(parsed, dict) else parsed
    companies: dict[str, Company] = {}
    problems = []
    for number, row in enumerate(rows, 1):
        try:
            identity = f"cik-{int(row['cik_str'])}"
            ticker, title = str(row["ticker"]).upper(), " ".join(str(row["title"]).split())
        except (KeyError, TypeError, ValueError):
            problems.append(f"{path}:{number}: a row needs cik_str, ticker and title")
            continue
        # A second share class is no second company.
        companies.setdefault(identity, Company(identity, _title_case(title), ticker, "", "US"))
    return ImportReport(list(companies.values()), problems)


def _title_case(name: str) -> str:
    """SEC writes many names in capitals; short words may be abbreviations and stay."""
    if not name.isupper():
        return name
    return " ".join(word if len(word) <= 3 else word.capitalize() for word in name.split())


def merge(old: Iterable[Company], new: Iterable[Company]) -> list[Company]:
    """The old rows, and those new ones whose id is not among them."""
    rows = list(old)
    known = {company.id for company in rows}
    return rows + [company for company in new if company.id not in known]
