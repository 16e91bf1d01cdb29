"""Exchange lists become companies."""

import json
from pathlib import Path

import pytest

from finance_monitor.companies import Gazetteer, read_gazetteer, write_gazetteer
from finance_monitor.importers import import_companies, merge
from headwater.errors import HeadwaterError


def test_sec_list_gives_one_company_for_its_share_classes(tmp_path: Path) -> None:
    path = tmp_path / "company_tickers.json"
    rows = [
        {"cik_str": 7, "ticker": "HALD", "title": "HALDEN MILLS INC"},
        {"cik_str": 7, "ticker": "HALD-B", "title": "HALDEN MILLS INC"},
        {"cik_str": 8, "ticker": "orw", "title": "Orwell Air"},
        {"ticker": "BAD"},
    ]
    path.write_text(json.dumps({str(i): row for i, row in enumerate(rows)}))
    report = import_companies(path)
    assert [(c.id, c.name, c.ticker) for c in report.companies] == [
        ("cik-7", "Halden Mills INC", "HALD"),
        ("cik-8", "Orwell Air", "ORW"),
    ]
    assert report.problems == [f"{path}:4: a row needs cik_str, ticker and title"]


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_mainland_list_in_its_own_words_and_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "list.csv"
    rows = "证券代码,证券简称,公司全称,所属行业\n600123,恒岑科技,恒岑科技股份有限公司,软件\n"
    rows += "1,平岭银行,平岭银行股份有限公司,银行\n"
    path.write_bytes((rows + "600200,,,\n" + "300001,云砥软件,云砥软件股份有限公司,软件\n" * 3).encode(encoding))
    report = import_companies(path, country="CN")
    first = report.companies[0]
    assert (first.id, first.exchange, first.aliases) == ("sse-600123", "SSE", ("恒岑科技",))
    assert [c.id for c in report.companies] == ["sse-600123", "1", "szse-300001"]
    assert any("a company needs a ticker and a name" in problem for problem in report.problems)
    assert import_companies(path, exchange="SZSE").companies[1].ticker == "000001"


def test_hong_kong_list(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("Stock Code,Name of Securities\n00700,HALDEN HOLDINGS\n")
    (company,) = import_companies(path, exchange="HKEX").companies
    assert (company.id, company.ticker) == ("hkex-0700", "0700")


def test_a_file_without_names_is_refused_with_what_is_known(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(HeadwaterError, match="has no column for ticker and name; it has: a, b"):
        import_companies(path)


def test_imported_companies_are_found_in_texts_and_old_rows_stay(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("ticker,name,aliases\nHLD,Halden Group plc,Halden\nORW,Orwell Air,\n")
    companies = import_companies(path, exchange="LSE").companies
    merged = merge(companies[:1], companies)
    write_gazetteer(tmp_path / "gazetteer.csv", merged)
    assert read_gazetteer(tmp_path / "gazetteer.csv") == companies
    assert Gazetteer(merged).name_of("lse-hld") == "Halden Group plc"
