"""Documents of every kind become text with sections; what cannot be read is refused with file and reason."""

import io
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
        ("scan.pdf", lambda: pdf([]), HeadwaterError, "no text"),
    ],
)
def test_what_cannot_be_read_is_refused_with_file_and_reason(
    name: str, make: Callable[[], bytes], kind: type[Exception], reason: str
) -> None:
    with pytest.raises(kind, match=reason) as refusal:
        read_document(name, make())
    assert name in str(refusal.value)


def test_a_file_above_the_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(TooLarge, match=r"big.md has 2,000 bytes; the limit is 1,000"):
        read_document("big.md", b"x" * 2000, max_bytes=1000)


def test_control_characters_are_left_out() -> None:
    text = "Standard delivery within the country takes three to five working days, express delivery one. " * 3

    assert read_document("a.txt", f"Delivery\x07 costs. {text}".encode()).text == f"Delivery costs. {text}".strip()
