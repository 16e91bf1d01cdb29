"""Documents of every kind become text with sections; what cannot be read is refused with file and reason."""

import io
import time
import zipfile
from collections.abc import Callable

import pytest

from headwater.errors import HeadwaterError, TooLarge, Unsupported
from headwater.retrieval import Document, split_document
from support_bot.reading import read_document


def titles(document: Document) -> list[str]:
    return [section.title for section in document.sections]


def docx(paragraphs: list[tuple[str, str]]) -> bytes:
    from docx import Document as Word

    document = Word()
    for style, text in paragraphs:
        document.add_paragraph(text, style=style)
    sink = io.BytesIO()
    document.save(sink)
    return sink.getvalue()


def pdf(lines: list[str], password: str = "") -> bytes:
    from reportlab.lib.pdfencrypt import StandardEncryption
    from reportlab.pdfgen.canvas import Canvas

    sink = io.BytesIO()
    canvas = Canvas(sink, encrypt=StandardEncryption(password) if password else None)
    for number, line in enumerate(lines):
        canvas.drawString(72, 780 - 18 * number, line)
    canvas.save()
    return sink.getvalue()


def test_markdown_keeps_words_and_drops_marks() -> None:
    text = "# Returns\n\nIntro **bold** and [a link](https://x.example).\n\n## How long\n\n45 days.\n- one\n- two\n"

    document = read_document("returns.md", text.encode())

    assert document.title == "Returns"
    assert titles(document) == ["How long"]
    assert "Intro bold and a link." in document.text
    assert "**" not in document.text


def test_front_matter_and_code_fences_make_no_headings() -> None:
    text = "---\ntitle: x\n---\n# Setup\n\n```\n# not a heading\n```\n\nDone.\n"

    document = read_document("a.md", text.encode())

    assert titles(document) == []
    assert "# not a heading" in document.text


def test_html_gives_the_main_text_without_scripts_or_menus() -> None:
    page = """<html><head><title>Tracking</title><script>alert('x')</script><style>p{}</style></head><body>
    <nav><a href="/">Home</a><a href="/shop">Shop</a></nav><main><h1>Tracking</h1><h2>Your link</h2>
    <p onclick="steal()">We e-mail you a tracking link when your parcel leaves our warehouse in the north.</p>
    <p>It can take up to 24 hours until the first scan of the carrier appears in the list.</p></main>
    <footer>All rights reserved</footer></body></html>"""

    document = read_document("tracking.html", page.encode())

    assert "We e-mail you a tracking link" in document.text
    for unwanted in ("alert", "steal", "p{}", "<p", "Shop"):
        assert unwanted not in document.text


def test_word_headings_become_sections() -> None:
    data = docx([("Title", "Warranty"), ("Heading 1", "What is covered"), ("Normal", "Three years on all gear.")])

    document = read_document("warranty.docx", data)

    assert titles(document) == ["What is covered"]
    assert "Three years on all gear." in document.text


def test_pdf_text_is_read_whole() -> None:
    document = read_document("care.pdf", pdf(["Washing", "Wash jackets at 30 degrees with a technical wash."]))

    assert "Wash jackets at 30 degrees with a technical wash." in document.text


def test_plain_text_headings_become_sections() -> None:
    text = "Complaints\n\nHow to complain\n\nWrite to us.\nWe answer.\n\nIf unhappy\n\nAsk again.\n"

    assert titles(read_document("complaints.txt", text.encode())) == ["How to complain", "If unhappy"]


def test_a_question_answer_sheet_becomes_sections_of_questions() -> None:
    sheet = 'question,answer\nDo you ship?,"Yes, we do."\nIs it free?,Over £60.\n'

    document = read_document("faq.csv", sheet.encode())

    assert titles(document) == ["Do you ship?", "Is it free?"]
    assert "Yes, we do." in document.text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_chinese_text_is_read_in_any_encoding(encoding: str) -> None:
    text = "退货说明\n\n商品签收后45天内，未使用且吊牌完好即可退货。退款将在5个工作日内退回原支付账户。\n"

    document = read_document("returns.txt", text.encode(encoding))

    assert "商品签收后45天内" in document.text
    assert document.language == "zh"


def test_every_chunk_is_a_piece_of_its_document() -> None:
    body = "\n\n".join(f"## Part {n}\n\n" + " ".join(f"Sentence {k} of part {n}." for k in range(80)) for n in range(4))

    document = read_document("long.md", body.encode())
    chunks = split_document(document)

    assert len(chunks) > 4
    assert all(chunk.text == document.text[chunk.start : chunk.end] for chunk in chunks)
    assert len({chunk.id for chunk in chunks}) == len(chunks)
    assert {chunk.section for chunk in chunks} == {f"Part {n}" for n in range(4)}


def test_a_page_is_read_by_the_encoding_that_it_declares_where_that_is_true() -> None:
    def page(head: str) -> str:
        return f"<html><head>{head}</head><body><p>退款需要五个工作日。</p></body></html>"

    declared = page('<meta charset="gb2312">').encode("gbk")
    wrong = page('<meta charset="utf-16">').encode()
    unknown = page('<meta charset="nonsense">').encode()
    strict = f'<?xml version="1.0" encoding="utf-8"?>{page("")}'.encode()
    silent = page("<!-- the charset is not declared -->").encode()

    for data in (declared, wrong, unknown, strict, silent):
        assert read_document("page.html", data).text == "退款需要五个工作日。"


def test_a_sheet_is_read_with_tabs_blank_lines_and_old_line_ends() -> None:
    for sheet in (b"question\tanswer\nHow?\tSo.\n", b"\n\nquestion,answer\nHow?,So.\n", b"question;answer\rHow?;So.\r"):
        assert read_document("faq.csv", sheet).text == "How?\nSo."


def test_a_file_in_utf8_with_other_bytes_in_it_names_the_line() -> None:
    data = b"# Returns\n\n" + "Größe und Maß.\n".encode() * 5 + b"caf\xe9\n"

    with pytest.raises(Unsupported, match=r"mixed.md: line 8 is not utf-8"):
        read_document("mixed.md", data)


def test_headings_keep_their_marks_and_long_ones_are_paragraphs() -> None:
    long = "word " * 100
    text = f"# Shop #\n\n## C#\n\nOne.\n\n## Closed ##\n\nTwo.\n\n## {long}\n\nThree.\n"

    document = read_document("a.md", text.encode())

    assert document.title == "Shop"
    assert titles(document) == ["C#", "Closed"]
    assert long.strip() in document.text


@pytest.mark.parametrize(
    "text",
    [
        "# a" + " " * 20_000 + "b\n\nText.",
        "```\nx\n```\n# h\n" * 15_000,
        "a" + "." * 100_000 + "b",
        "#" + "\n" * 100_000 + "x",
    ],
)
def test_texts_made_to_be_slow_are_read_at_once(text: str) -> None:
    started = time.monotonic()

    split_document(read_document("slow.md", text.encode()))

    assert time.monotonic() - started < 5


def test_a_title_is_one_line_of_visible_characters() -> None:
    page = "<h1>\x1b[31mRed \u202e" + "word " * 5_000 + "</h1><p>Text of the page that is read.</p>"

    title = read_document("title.html", page.encode()).title

    assert title.startswith("[31mRed word")
    assert len(title) <= 300


def test_cells_are_read_once_however_many_columns_they_claim() -> None:
    from docx import Document as Word
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn

    document = Word()
    table = document.add_table(1, 2)
    table.cell(0, 0).text, table.cell(0, 1).text = "Tarn 2", "2.1 kg"
    span = OxmlElement("w:gridSpan")
    span.set(qn("w:val"), "300000000")
    table.cell(0, 0)._tc.get_or_add_tcPr().append(span)
    sink = io.BytesIO()
    document.save(sink)

    assert read_document("weights.docx", sink.getvalue()).text == "Tarn 2 | 2.1 kg"


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "https://a.example/ x", "/page"])
def test_an_address_that_a_browser_would_run_is_refused(url: str) -> None:
    with pytest.raises(HeadwaterError, match=r"a.md: the address .* is refused"):
        read_document("a.md", b"# A\n\nText.", url=url)


@pytest.mark.parametrize("document_id", [".", "..", " ", "/"])
def test_an_id_that_leads_elsewhere_in_an_address_is_refused(document_id: str) -> None:
    with pytest.raises(HeadwaterError, match=r"a.md: .* cannot be a document's id"):
        read_document("a.md", b"# A\n\nText.", document_id=document_id)


def test_a_name_that_is_not_unicode_is_read_without_what_is_broken() -> None:
    assert read_document("caf\udce9.md", b"# A\n\nText.").id == "caf"


def bomb() -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b"0" * 300_000_000)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("name", "make", "kind", "reason"),
    [
        ("empty.md", lambda: b"", HeadwaterError, "empty"),
        ("blank.txt", lambda: b" \n\t ", HeadwaterError, "empty"),
        ("photo.jpg", lambda: b"\xff\xd8\xff", Unsupported, "not read"),
        ("binary.txt", lambda: bytes(range(256)) * 50, Unsupported, "binary|encoding"),
        ("locked.pdf", lambda: pdf(["secret"], "pw"), Unsupported, "encrypted"),
        ("broken.pdf", lambda: b"%PDF-1.7 nothing", HeadwaterError, "not a readable PDF"),
        ("broken.docx", lambda: b"PK\x03\x04 nothing", HeadwaterError, "broken.docx"),
        ("bomb.docx", bomb, HeadwaterError, "bomb.docx"),
        ("noanswer.csv", lambda: b"name,price\ntent,3\n", HeadwaterError, "question"),
        ("mark.csv", lambda: b"\xef\xbb\xbf", HeadwaterError, "no text"),
        ("binary.md", lambda: bytes(range(1, 256)) * 50, Unsupported, "binary|encoding"),
        ("locked.docx", lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 x", Unsupported, "encrypted"),
        ("n" * 300 + ".md", lambda: b"text", HeadwaterError, "303 characters"),
        ("scan.pdf", lambda: pdf([]), HeadwaterError, "no text"),
    ],
)
def test_what_cannot_be_read_is_refused_with_file_and_reason(
    name: str, make: Callable[[], bytes], kind: type[Exception], reason: str
) -> None:
    with pytest.raises(kind, match=reason) as refusal:
        read_document(name, make())
    assert name[:40] in str(refusal.value)


def test_a_file_above_the_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(TooLarge, match=r"big.md has 2,000 bytes; the limit is 1,000"):
        read_document("big.md", b"x" * 2000, max_bytes=1000)


def test_control_characters_are_left_out() -> None:
    text = "Standard delivery within the country takes three to five working days, express delivery one. " * 3

    assert read_document("a.txt", f"Delivery\x07 costs. {text}".encode()).text == f"Delivery costs. {text}".strip()
