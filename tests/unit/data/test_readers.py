"""Files that nobody prepared: every row becomes an example or a problem with its place."""

import csv
import gzip
import json
from pathlib import Path

import pytest

from headwater.data import read_pairs, read_texts, stream_rows
from headwater.errors import HeadwaterError, NotFound, Unsupported

CHINESE = [("退款需要多长时间？", "退款"), ("我的包裹到哪里了", "物流"), ("怎么修改收货地址", "地址")]
ENGLISH = [("How long does a refund take?", "refund"), ("Where is my parcel?", "tracking")]


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def table(rows: list[tuple[str, str]], delimiter: str = ",") -> str:
    return "\n".join([delimiter.join(("text", "label")), *(delimiter.join(row) for row in rows)]) + "\n"


def as_pairs(path: Path, **options: str) -> list[tuple[str, str]]:
    result = read_texts(path, **options)
    assert result.problems == []
    return [(example.text, example.label) for example in result.examples]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030", "gbk"])
def test_chinese_csv_is_read_in_the_encodings_that_spreadsheets_write(tmp_path: Path, encoding: str) -> None:
    assert as_pairs(write(tmp_path / "a.csv", table(CHINESE), encoding)) == CHINESE


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_with_its_mark_is_read_in_either_byte_order(tmp_path: Path, encoding: str) -> None:
    assert as_pairs(write(tmp_path / "a.csv", "\ufeff" + table(CHINESE), encoding)) == CHINESE


def test_long_ascii_head_does_not_hide_a_chinese_tail(tmp_path: Path) -> None:
    rows = [(f"plain question number {n} about nothing in particular", "other") for n in range(3000)] + CHINESE
    for encoding in ("utf-8", "gb18030"):
        assert as_pairs(write(tmp_path / f"{encoding}.csv", table(rows), encoding))[-3:] == CHINESE


def test_utf8_character_cut_by_the_end_of_the_sample_is_not_taken_for_another_encoding(tmp_path: Path) -> None:
    for shift in range(3):
        text = table([("x" * shift + "退" * 90_000, "a"), ("short", "b")])
        assert as_pairs(write(tmp_path / f"{shift}.csv", text))[0][0].endswith("退退")


def test_western_european_csv_keeps_its_accents_even_at_the_very_end(tmp_path: Path) -> None:
    rows = [("Où est mon colis ? Il n'est pas arrivé à l'adresse prévue", "suivi"), ("C'est réglé", "privé")]
    assert as_pairs(write(tmp_path / "a.csv", table(rows), "cp1252")) == rows
    last = write(tmp_path / "b.csv", "text,label\nmy parcel is late,retardé", "cp1252")
    assert as_pairs(last) == [("my parcel is late", "retardé")]


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1250", "Gdzie jest moja paczka? Chciałbym zwrócić buty, które są za duże i dostać zwrot pieniędzy"),
        ("cp1251", "Где моя посылка? Я хочу вернуть деньги"),
    ],
)
def test_other_alphabets_are_not_taken_for_western_ones(tmp_path: Path, encoding: str, text: str) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes(f"text\tlabel\n{text}\ta\n".encode(encoding))
    assert as_pairs(path) == [(text, "a")]


def test_one_broken_line_of_a_utf8_file_is_named_and_the_others_are_read_as_utf8(tmp_path: Path) -> None:
    lines = [f"{text}第{n}次,{label}".encode() for n in range(20) for text, label in CHINESE]
    lines[7] = b"\xff\xfe broken \xe9,x"
    path = tmp_path / "a.csv"
    path.write_bytes(b"text,label\n" + b"\n".join(lines) + b"\n")
    result = read_texts(path)
    assert len(result.examples) == 59
    assert result.examples[0].text == "退款需要多长时间？第0次"
    assert [(problem.row, problem.file) for problem in result.problems] == [(8, str(path))]
    assert "save the file as UTF-8" in result.problems[0].reason


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiter_is_detected(tmp_path: Path, delimiter: str) -> None:
    assert as_pairs(write(tmp_path / "a.csv", table(ENGLISH, delimiter))) == ENGLISH


def test_quoted_cells_hold_delimiters_quotes_and_line_breaks(tmp_path: Path) -> None:
    rows = [('He said "no", twice;\nthen left', "complaint"), ("plain", "other")]
    path = tmp_path / "a.csv"
    with path.open("w", newline="", encoding="utf-8") as sink:
        csv.writer(sink).writerows([("text", "label"), *rows])
    assert as_pairs(path) == rows


@pytest.mark.parametrize("later", ["", 't200,"a quoted, text"\n', '"t200",b\n', 't200,"b\n'])
def test_a_quote_that_never_closes_is_named_and_the_rows_after_it_are_read(tmp_path: Path, later: str) -> None:
    rows = [f't{n},"a' if n == 10 else f"t{n},{'ab'[n % 2]}" for n in range(1, 200)]
    path = write(tmp_path / "a.csv", "text,label\n" + "\n".join(rows) + "\n" + later)
    result = read_texts(path)
    named = [str(problem) for problem in result.problems]
    assert named[0] == f"{path}:10: a quote opened in row 10 (line 11) was never closed"
    assert len(named) == 1 + (later == 't200,"b\n')
    assert [e.text for e in result.examples if e.text != "t200"] == [f"t{n}" for n in range(1, 200) if n != 10]
    assert result.examples[-1].source == ("a.csv:200" if later and len(named) == 1 else "a.csv:199")


def test_a_cell_that_swallows_rows_up_to_a_fitting_quote_is_named(tmp_path: Path) -> None:
    rows = ["t1,a", 't2,"b', *[f"t{n},a" for n in range(3, 60)], 't60,b"', "t61,a"]
    result = read_texts(write(tmp_path / "a.csv", "text,label\n" + "\n".join(rows) + "\n"))
    assert [problem.row for problem in result.problems] == [2]
    assert len(result.examples) == 60


def test_a_long_letter_in_quotes_stays_one_cell(tmp_path: Path) -> None:
    letter = "\n".join(["Dear shop,", *["my parcel, which I ordered, is late", "and nobody answers"] * 40, "Jo"])
    rows = [(letter, "complaint"), ("plain", "other")]
    path = tmp_path / "a.csv"
    with path.open("w", newline="", encoding="utf-8") as sink:
        csv.writer(sink).writerows([("text", "label"), *rows])
    assert as_pairs(path) == rows


def test_a_quote_left_open_in_the_header_is_named(tmp_path: Path) -> None:
    with pytest.raises(HeadwaterError, match=r"a quote opened in the header \(line 1\) was never closed"):
        read_texts(write(tmp_path / "a.csv", 'text,"label\none,a\ntwo,b\n'))


def test_a_label_with_a_line_break_is_a_problem_of_its_row(tmp_path: Path) -> None:
    result = read_texts(write(tmp_path / "a.csv", 'text,label\none,"a\nb"\ntwo,b\n'))
    assert [(p.row, p.reason.split(";")[0]) for p in result.problems] == [
        (1, "column 'label' holds a line break ('a\\nb')")
    ]
    assert [e.text for e in result.examples] == ["two"]


@pytest.mark.parametrize("first", ["sep=;\r\n", '"sep=;"\n'])
def test_the_line_in_which_excel_names_its_separator_is_skipped(tmp_path: Path, first: str) -> None:
    assert as_pairs(write(tmp_path / "a.csv", first + table([("one, two", "a"), ("x", "b")], ";"))) == [
        ("one, two", "a"),
        ("x", "b"),
    ]


def test_japanese_csv_from_a_spreadsheet_is_not_taken_for_chinese(tmp_path: Path) -> None:
    rows = [("返金にはどのくらい時間がかかりますか", "返金"), ("荷物はどこにありますか", "配送")]
    assert as_pairs(write(tmp_path / "a.csv", table(rows), "cp932")) == rows


def test_tsv_takes_quotes_as_they_stand(tmp_path: Path) -> None:
    rows = [('5" tent pegs', "product"), ('"quoted', "other")]
    assert as_pairs(write(tmp_path / "a.tsv", table(rows, "\t"))) == rows


def test_windows_line_ends_and_blank_lines_do_not_shift_row_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "text,label\r\none,a\r\n\r\n,b\r\ntwo,b\r\n")
    result = read_texts(path)
    assert [(e.text, e.source) for e in result.examples] == [("one", "a.csv:1"), ("two", "a.csv:3")]
    assert [str(problem) for problem in result.problems] == [f"{path}:2: column 'text' is empty"]


def test_every_bad_csv_row_is_named_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "text,label\ngood,a\ntoo,many,cells\nshort\n,b\nx,\nfine,b\n")
    result = read_texts(path)
    assert [e.text for e in result.examples] == ["good", "fine"]
    assert [(p.row, p.reason) for p in result.problems] == [
        (2, "3 columns where the header has 2"),
        (3, "1 columns where the header has 2"),
        (4, "column 'text' is empty"),
        (5, "column 'label' is empty"),
    ]


def test_every_bad_jsonl_row_is_named_and_counted(tmp_path: Path) -> None:
    lines = [
        '{"text": "good", "label": "a"}',
        '{"text": "cut',
        "[1, 2]",
        '{"text": "no label"}',
        "",
        '{"text": 7, "label": 1}',
    ]
    path = write(tmp_path / "a.jsonl", "\n".join(lines))
    result = read_texts(path)
    assert [(e.text, e.label, e.source) for e in result.examples] == [
        ("good", "a", "a.jsonl:1"),
        ("7", "1", "a.jsonl:6"),
    ]
    assert [problem.row for problem in result.problems] == [2, 3, 4]
    assert "not JSON" in result.problems[0].reason
    assert result.problems[1].reason == "a JSON list where an object was expected"
    assert result.problems[2].reason == "no field 'label'"


def test_without_a_place_for_problems_the_first_bad_row_stops_the_reading(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "text,label\na,b,c\n")
    with pytest.raises(HeadwaterError, match=r"a\.csv:1: 3 columns where the header has 2"):
        list(stream_rows(path))


def test_parquet_gives_numbers_lists_and_missing_values_their_meaning(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"text": ["one", None, "three"], "label": [1, 2, 3]}), path)
    result = read_texts(path)
    assert [(e.text, e.label) for e in result.examples] == [("one", "1"), ("three", "3")]
    assert [(p.row, p.reason) for p in result.problems] == [(2, "column 'text' is empty")]
    several = tmp_path / "b.parquet"
    parquet.write_table(pa.table({"text": ["one", "two"], "label": [["a", "b"], ["b"]]}), several)
    assert [e.labels for e in read_texts(several).examples] == [("a", "b"), ("b",)]


@pytest.mark.parametrize("name", ["a.csv.gz", "a.jsonl.gz"])
def test_gzip_is_read_through(tmp_path: Path, name: str) -> None:
    lines = [json.dumps({"text": text, "label": label}) for text, label in CHINESE]
    text = table(CHINESE) if ".csv" in name else "\n".join(lines)
    (tmp_path / name).write_bytes(gzip.compress(text.encode()))
    assert as_pairs(tmp_path / name) == CHINESE


@pytest.mark.parametrize("keep", [12, 30, 200])
def test_gzip_that_was_cut_short_is_refused_by_name(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(table([(f"{n * n} text", "l") for n in range(500)]).encode())[:keep])
    with pytest.raises(HeadwaterError, match=r"a\.csv\.gz was cut short or is damaged"):
        read_texts(path)


def test_large_file_is_streamed_rather_than_read_whole(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "a.jsonl"
    line = json.dumps({"text": "x" * 1000, "label": "a"}) + "\n"
    path.write_text(line * 20_000)
    tracemalloc.start()
    count = sum(1 for _ in stream_rows(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 20_000
    assert peak < path.stat().st_size / 8


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("a.csv", b"", HeadwaterError, r"a\.csv is empty"),
        ("a.csv", b"\n\n", HeadwaterError, r"a\.csv is empty"),
        ("a.csv", b"text,label\n", HeadwaterError, r"no usable example: it holds a header and no data"),
        ("a.csv", b"text,text\na,b\n", HeadwaterError, r"the header names a column twice: text, text"),
        ("a.csv", b"text,label\n\x00\x01\x02,b\n", HeadwaterError, r"a\.csv holds NUL bytes: it is a binary file"),
        ("a.gz.csv.gz", b"text,label\n", HeadwaterError, r"ends in \.gz but is not gzip"),
        ("a.parquet", b"PAR1 no", HeadwaterError, r"a\.parquet is not a parquet file"),
        ("a.xlsx", b"PK", Unsupported, r"\.xlsx is not read; use \.csv, \.tsv, \.jsonl or \.parquet"),
        ("data", b"text", Unsupported, r"a file without suffix is not read"),
        ("a.jsonl", b"{}}\n{{", HeadwaterError, r"no usable example; the first problem is .*a\.jsonl:1: not JSON"),
        ("a.csv", b"text,label\n,a\n", HeadwaterError, r"the first problem is .*a\.csv:1: column 'text' is empty"),
    ],
)
def test_file_that_cannot_be_used_is_refused_with_its_reason(
    tmp_path: Path, name: str, content: bytes, error: type[HeadwaterError], message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=message):
        read_texts(tmp_path / name)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"there is no file .*nothing\.csv"):
        read_texts(tmp_path / "nothing.csv")


def test_missing_column_is_answered_with_those_that_exist_and_the_nearest(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "Text,category\na,b\n")
    with pytest.raises(HeadwaterError) as caught:
        read_texts(path, text_column="Text", label_column="categroy")
    assert str(caught.value) == (f"{path} has no column 'categroy'; it has: Text, category; did you mean 'category'?")


def test_missing_column_of_jsonl_is_found_behind_a_broken_first_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '\n{"broken\n{"question": "a", "label": "b"}\n')
    with pytest.raises(HeadwaterError, match="has no column 'text'; it has: question, label"):
        read_texts(path)


def test_several_labels_come_from_a_separator_or_a_json_list(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'text,label\none,a|b\ntwo,\nthree,"[""x"", ""y""]"\n')
    labels = [e.labels for e in read_texts(path, label_separator="|").examples]
    assert labels == [("a", "b"), (), ("x", "y")]


def test_label_that_begins_with_a_bracket_stays_a_label(tmp_path: Path) -> None:
    assert as_pairs(write(tmp_path / "a.csv", "text,label\none,[urgent]\ntwo,b\n"))[0] == ("one", "[urgent]")


def test_rows_without_a_group_form_no_group(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl", '{"text": "a", "label": "x", "who": null}\n{"text": "b", "label": "x", "who": 3}\n'
    )
    assert [e.group for e in read_texts(path, group_column="who").examples] == [None, "3"]


def test_unlabelled_texts_are_read_without_a_label_column(tmp_path: Path) -> None:
    examples = read_texts(write(tmp_path / "a.csv", "text,other\nhello,1\n"), label_column=None).examples
    assert [(e.text, e.labels) for e in examples] == [("hello", ())]


def test_pairs_carry_their_negatives_and_incomplete_ones_are_named(tmp_path: Path) -> None:
    rows = [
        {"query": "q1", "positive": "p1", "negative": ["n1", "n2"]},
        {"query": "q2", "positive": " ", "negative": "n3"},
        {"query": "q3", "positive": "p3", "negative": None},
    ]
    path = write(tmp_path / "a.jsonl", "\n".join(json.dumps(row) for row in rows))
    result = read_pairs(path, negative_column="negative")
    assert [(e.query, e.negatives) for e in result.examples] == [("q1", ("n1", "n2")), ("q3", ())]
    assert [(p.row, p.reason) for p in result.problems] == [(2, "column 'positive' is empty")]
