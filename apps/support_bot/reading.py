"""Files → documents: Markdown, HTML, PDF, DOCX, text and CSV question-answer sheets, with exact section offsets."""

import functools
import html
import io
import re
import zipfile
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

from headwater.errors import HeadwaterError, TooLarge, Unsupported
from headwater.language import detect_language
from headwater.retrieval import Document, Section

# A DOCX file is a zip: above this ratio or size it is a bomb, not a document.
_ZIP_RATIO = 200
_ZIP_BYTES = 200_000_000
_PDF_PAGES = 2_000
_CFB = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # the container of old .doc files, and of DOCX files with a password
# A fenced block, in which nothing is a heading, or a heading.
_FENCE_OR_HEADING = re.compile(r"^```(?s:.*?)^```|^(#{1,6})[ \t]+([^\n]+)$", re.MULTILINE)
_HEADING_LENGTH = 60
_FULL_STOPS = (".", "!", "?", "。", "！", "？", ":", "：")
# A title or heading above this is a paragraph; each passage carries both.
_TITLE_LENGTH = 300
_NAME_LENGTH = 255
# Control characters, those that turn the direction of what follows, and halves of surrogate pairs.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
# What no text file holds, but binary data that decodes by chance.
_UNPRINTED = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f]")
# Dot leaders of a table of contents; whoever looks for sentences tries each of the dots.
_STOPS = re.compile(r"[.!?…]{10,}")
_META_CHARSET = re.compile(
    rb"""<(?:meta|\?xml)[^>]{0,200}?(?:charset|encoding)\s*=\s*["']?\s*([\w-]+)""", re.IGNORECASE
)
_XML_DECLARATION = re.compile(r"\A\s*<\?xml[^>]*\?>")
# What browsers take these for (https://encoding.spec.whatwg.org/#names-and-labels).
_CHARSETS = {"utf-16": "utf-8", "utf-16le": "utf-8", "utf-16be": "utf-8", "gb2312": "gb18030", "gbk": "gb18030"}
_CHARSETS |= dict.fromkeys(("iso-8859-1", "latin1", "latin-1", "ascii", "us-ascii"), "cp1252")


def read_document(
    name: str, data: bytes, *, document_id: str = "", title: str = "", url: str = "", max_bytes: int = 20_000_000
) -> Document:
    """The document in `data`; its format follows from the suffix of `name`.

    Raises TooLarge, Unsupported (unknown, binary, encrypted) or HeadwaterError (empty, malformed), naming the file.
    """
    name = _line(name)
    if len(name) > _NAME_LENGTH:
        raise HeadwaterError(
            f"the file name {name[:40]}… has {len(name):,} characters; at most {_NAME_LENGTH} are possible"
        )
    if len(data) > max_bytes:
        raise TooLarge(f"{name} has {len(data):,} bytes; the limit is {max_bytes:,} (HEADWATER_MAX_DOCUMENT_BYTES)")
    if not data.strip():
        raise HeadwaterError(f"{name} is empty")
    if url and not re.fullmatch(r"https?://[^\s\x00-\x1f\x7f]+", url, re.IGNORECASE):
        raise HeadwaterError(
            f"{name}: the address {url!r} is refused; it begins with http:// or https://, without spaces"
        )
    suffix = PurePath(name).suffix.lower()
    reader = _READERS.get(suffix)
    if reader is None:
        raise Unsupported(f"{name}: {suffix or 'a file without suffix'} is not read; use {', '.join(sorted(_READERS))}")
    stem = PurePath(name).stem
    found_title, parts = _parsed(reader, name, data)
    text, sections = _join(parts)
    if not text.strip():
        raise HeadwaterError(f"{name} holds no text{' (a scanned PDF needs OCR first)' if suffix == '.pdf' else ''}")
    return Document(
        id=_identifier(name, document_id or stem),
        text=text,
        title=_line(title)[:_TITLE_LENGTH]
        or _line(found_title)[:_TITLE_LENGTH]
        or stem.replace("-", " ").replace("_", " "),
        url=url,
        language=detect_language(text[:4000]),
        kind=suffix.lstrip("."),
        sections=tuple(sections),
    )


def _line(text: str) -> str:
    """Text on one line, without what cannot be seen."""
    return " ".join(_CONTROL.sub("", text).split())


def _identifier(name: str, text: str) -> str:
    """A document's id; it becomes part of an address, where `.` and `..` would lead elsewhere."""
    if _line(text).strip("./") == "":
        raise HeadwaterError(f"{name}: {text!r} cannot be a document's id; name it with letters or digits")
    return text.strip()


def _parsed(reader: "_Reader", name: str, data: bytes) -> "tuple[str, Parts]":
    try:
        return reader(name, data)
    except (HeadwaterError, MemoryError):
        raise
    except Exception as error:  # on a damaged file a parser may raise anything
        kind = PurePath(name).suffix.lstrip(".").upper()
        reason = _line(str(error))[:200] or type(error).__name__
        raise HeadwaterError(f"{name} is not a readable {kind} file: {reason}") from error


# A reader gives the title and the parts of a document: (heading or "", text).
Parts = list[tuple[str, str]]
_Reader = Callable[[str, bytes], tuple[str, Parts]]


def _join(parts: Parts) -> tuple[str, list[Section]]:
    """One text, with the heading of each part as its first line, and where the parts begin."""
    text, sections = "", []
    for heading, body in parts:
        heading, body = _line(heading), _tidy(body)
        if not body and not heading:
            continue
        if text:
            text += "\n\n"
        if 0 < len(heading) <= _TITLE_LENGTH:
            sections.append(Section(len(text), heading))
        text += f"{heading}\n{body}" if heading else body
    return text.strip("\n"), sections


def _tidy(text: str) -> str:
    text = _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n").replace("\u00a0", " "))
    lines = [re.sub(r"[ \t]+", " ", _STOPS.sub("...", line)).rstrip() for line in text.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def decode(name: str, data: bytes) -> str:
    """Text of unknown encoding. Raises Unsupported for binary data, and for UTF-8 or UTF-16 with other bytes in it."""
    from headwater.data.rows import detect_encoding

    try:
        encoding = detect_encoding(data[: 1 << 18], name)
    except HeadwaterError as error:
        raise Unsupported(str(error)) from error
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding.startswith("utf"):
            line = data.count(b"\n", 0, error.start) + 1
            raise Unsupported(
                f"{name}: line {line} is not {encoding}, as the rest is; save the file as UTF-8"
            ) from error
        text = _guessed(name, data)
    beginning = text[:10_000]
    if len(_UNPRINTED.findall(beginning)) > 0.02 * len(beginning):
        raise Unsupported(f"{name} is a binary file, not text")
    return text


def _guessed(name: str, data: bytes) -> str:
    from charset_normalizer import from_bytes

    best = from_bytes(data).best()
    if best is None:
        raise Unsupported(f"{name}: its encoding cannot be told; save it as UTF-8")
    return str(best)


def _read_text(name: str, data: bytes) -> tuple[str, Parts]:
    text = decode(name, data)
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return (first if len(first) <= 80 else ""), _text_sections(text)


def _text_sections(text: str) -> Parts:
    """Plain text cut at its headings: short lines of their own, without a full stop, before another paragraph."""
    parts: Parts = [("", "")]
    paragraphs = re.split(r"\n[ \t]*\n", text.replace("\r\n", "\n").strip())
    for number, paragraph in enumerate(paragraphs):
        line = paragraph.strip()
        alone = (
            "\n" not in line and 0 < len(line) <= _HEADING_LENGTH and not line.endswith((*_FULL_STOPS, ",", "，", "；"))
        )
        if alone and 0 < number < len(paragraphs) - 1 and not line.startswith(("-", "*", "•")):
            parts.append((line, ""))
        else:
            parts[-1] = (parts[-1][0], f"{parts[-1][1]}{paragraph}\n\n")
    return [(heading, body) for heading, body in parts if heading or body.strip()]


def _read_markdown(name: str, data: bytes) -> tuple[str, Parts]:
    text = decode(name, data)
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)
    title, parts, start, heading = "", [], 0, ""
    for match in _FENCE_OR_HEADING.finditer(text):
        if match.group(1) is None:
            continue
        parts.append((heading, _plain_markdown(text[start : match.start()])))
        start, heading = match.end(), _plain_markdown(_without_closing_marks(match.group(2)))
        if len(match.group(1)) == 1 and not title:
            title, heading = heading, ""
    parts.append((heading, _plain_markdown(text[start:])))
    return title, parts


def _without_closing_marks(heading: str) -> str:
    """`Delivery ##` is the heading Delivery; `C#` keeps its mark."""
    bare = heading.rstrip().rstrip("#")
    return bare.rstrip() if bare != bare.rstrip() or not bare else heading.strip()


@functools.cache
def _markdown() -> Any:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").enable("table")


def _plain_markdown(text: str) -> str:
    """The visible text of Markdown: rendered by CommonMark's rules, list items and table rows a line each."""
    lines: list[str] = []
    row: list[str] | None = None
    depth = 0
    for token in _markdown().parse(text):
        if token.type == "tr_open":
            row = []
        elif token.type == "tr_close" and row is not None:
            lines.append(" | ".join(row))
            row = None
        elif token.type in ("list_item_open", "list_item_close"):
            depth += token.nesting
        elif token.type == "inline":
            content = "".join(_inline(child) for child in token.children or [])
            if row is not None:
                row.append(content)
            else:
                lines.append(f"- {content}" if depth else content)
        elif token.type in ("fence", "code_block"):
            lines.append(token.content.rstrip())
        if token.type in ("paragraph_close", "heading_close") and not depth:
            lines.append("")
    return "\n".join(lines)


def _inline(token: Any) -> str:
    if token.type in ("text", "code_inline"):
        return str(token.content)
    if token.type in ("softbreak", "hardbreak"):
        return " "
    if token.type == "image":
        return str(token.content)
    return ""


def _read_html(name: str, data: bytes) -> tuple[str, Parts]:
    """The main text by trafilatura, else the visible text; scripts and styles never."""
    import trafilatura
    from lxml import html as lxml_html

    tree = lxml_html.fromstring(_XML_DECLARATION.sub("", _decode_html(name, data)))
    titles = tree.xpath("//h1//text()") or tree.xpath("//title/text()")
    title = " ".join(" ".join(titles).split())
    extracted = trafilatura.extract(
        lxml_html.tostring(tree, encoding="unicode"), output_format="markdown", include_tables=True, favor_recall=True
    )
    if extracted and len(extracted) > 80:
        _, parts = _read_markdown(name, html.unescape(extracted).encode())
        return title, [(heading, body) for heading, body in parts if heading != title or body]
    for node in tree.xpath("//script|//style|//noscript|//template|//nav|//footer|//header|//head|//form"):
        node.drop_tree()
    return title, [("", "\n".join(line.strip() for line in tree.text_content().splitlines() if line.strip()))]


def _decode_html(name: str, data: bytes) -> str:
    """The page's text by the encoding that it declares, where that is true, else by what its bytes look like."""
    declared = _META_CHARSET.search(data[:2048])
    if declared:
        charset = declared.group(1).decode().lower()
        try:
            return data.decode(_CHARSETS.get(charset, charset))
        except (UnicodeDecodeError, LookupError):
            return decode(name, data)
    return decode(name, data)


def _read_pdf(name: str, data: bytes) -> tuple[str, Parts]:
    from pypdf import PdfReader

    reader = PdfReader(io.BytesIO(data))
    if reader.is_encrypted and not reader.decrypt(""):
        raise Unsupported(f"{name} is encrypted; remove its password and try again")
    if len(reader.pages) > _PDF_PAGES:
        raise TooLarge(f"{name} has {len(reader.pages)} pages; the limit is {_PDF_PAGES}")
    pages = [_unwrap(page.extract_text()) for page in reader.pages]
    title = str((reader.metadata.title if reader.metadata else "") or "")
    parts = [part for number, text in enumerate(pages, start=1) for part in _pdf_sections(text, f"p. {number}")]
    return title, parts


def _pdf_sections(text: str, page: str) -> Parts:
    """A page cut at its headings: short lines without a full stop before a line that has one."""
    lines = text.splitlines()
    parts: Parts = [(page, "")]
    for number, line in enumerate(lines):
        following = lines[number + 1] if number + 1 < len(lines) else ""
        short = 0 < len(line) <= _HEADING_LENGTH and not line.endswith(_FULL_STOPS) and not line[0].islower()
        if short and following.endswith(_FULL_STOPS):
            parts.append((line, ""))
        else:
            parts[-1] = (parts[-1][0], f"{parts[-1][1]}{line}\n")
    return [(heading, body) for heading, body in parts if body.strip()]


def _unwrap(text: str) -> str:
    """Lines that a PDF broke for width become sentences again; short lines stay headings."""
    lines = [line.strip() for line in text.splitlines()]
    width = max((len(line) for line in lines), default=0)
    result = ""
    for number, line in enumerate(lines):
        result += line
        following = lines[number + 1] if number + 1 < len(lines) else ""
        ends = not line or len(line) < 0.6 * width or line.endswith(_FULL_STOPS) or not following
        dense = bool(line) and "\u3400" <= line[-1] <= "\u9fff"
        result += "\n" if ends else ("" if dense else " ")
    return result


def _read_docx(name: str, data: bytes) -> tuple[str, Parts]:
    import docx

    _check_zip(name, data)
    try:
        document = docx.Document(io.BytesIO(data))
    except ValueError as error:
        raise Unsupported(f"{name} is a zip, but no Word document; save it as DOCX") from error
    title, parts, heading, lines = "", [], "", list[str]()
    for block in document.iter_inner_content():
        if hasattr(block, "rows"):
            lines += [_row_text(row) for row in block.rows]
            continue
        style = (block.style.name or "") if block.style is not None else ""
        if style == "Title" and not title:
            title = block.text.strip()
        elif style.startswith("Heading"):
            parts.append((heading, "\n".join(lines)))
            heading, lines = block.text.strip(), []
        elif block.text.strip():
            lines.append(f"- {block.text.strip()}" if style.startswith("List") else block.text.strip())
    parts.append((heading, "\n".join(lines)))
    return title, parts


def _row_text(row: Any) -> str:
    """The cells that are in the file, not `row.cells`: that repeats each for as many columns as it claims to span."""
    from docx.table import _Cell

    return " | ".join(_Cell(cell, row.table).text.strip() for cell in row._tr.tc_lst)


def _check_zip(name: str, data: bytes) -> None:
    if data.startswith(_CFB):
        raise Unsupported(f"{name} is encrypted, or an old .doc file; save it as DOCX without a password")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
    except zipfile.BadZipFile as error:
        raise HeadwaterError(f"{name} is not a readable DOCX file: {error}") from error
    if any(info.flag_bits & 1 for info in infos):
        raise Unsupported(f"{name} is encrypted; remove its password and try again")
    size = sum(info.file_size for info in infos)
    if size > _ZIP_BYTES or size > _ZIP_RATIO * max(len(data), 1):
        raise TooLarge(f"{name} unpacks to {size:,} bytes from {len(data):,}; it is refused as a zip bomb")


def _read_csv(name: str, data: bytes) -> tuple[str, Parts]:
    """A sheet with a question and an answer column (English or Chinese headings); each row is a section."""
    import csv

    text = decode(name, data).replace("\r\n", "\n").replace("\r", "\n").strip("\n")
    first = text.split("\n", 1)[0]
    rows = list(csv.reader(io.StringIO(text), delimiter=max(",;\t", key=first.count)))
    if not rows:
        return "", []
    header = [cell.strip().lower() for cell in rows[0]]
    columns = [next((header.index(n) for n in names if n in header), -1) for names in (_QUESTION, _ANSWER)]
    if min(columns) < 0:
        raise HeadwaterError(f"{name} needs the columns question and answer; it has: {', '.join(header)}")
    short = [number for number, row in enumerate(rows[1:], start=2) if row and len(row) <= max(columns)]
    if short:
        raise HeadwaterError(f"{name}: row {short[0]} has no {header[max(columns)]}")
    return "", [(row[columns[0]].strip(), row[columns[1]]) for row in rows[1:] if row]


_QUESTION = ("question", "q", "问题", "提问")
_ANSWER = ("answer", "a", "答案", "回答")
_READERS: dict[str, _Reader] = {
    ".md": _read_markdown,
    ".markdown": _read_markdown,
    ".html": _read_html,
    ".htm": _read_html,
    ".pdf": _read_pdf,
    ".docx": _read_docx,
    ".txt": _read_text,
    ".csv": _read_csv,
}
SUFFIXES = tuple(sorted(_READERS))
