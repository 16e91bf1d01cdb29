"""Write the DOCX and PDF pages of the sample help centre from their Markdown sources; the same bytes each time."""

import re
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGES = {"warranty": "docx", "rental": "docx", "size-guide": "pdf", "care": "pdf"}
MOMENT = datetime(2026, 1, 5, tzinfo=UTC)
_BLOCK = re.compile(r"^(#{1,2}|\d+\.|-)\s+(.*)$")


def blocks(text: str) -> list[tuple[str, str]]:
    """(kind, words) of each line: h1, h2, item or p."""
    found = []
    for line in filter(None, (line.strip() for line in text.splitlines())):
        match = _BLOCK.match(line)
        mark = match.group(1) if match else ""
        kind = {"#": "h1", "##": "h2", "": "p"}.get(mark, "item")
        found.append((kind, match.group(2) if match else line))
    return found


def write_docx(parts: list[tuple[str, str]], path: Path) -> None:
    """A Word document with real headings."""
    from docx import Document

    document = Document()
    styles = {"h1": "Title", "h2": "Heading 1", "item": "List Number", "p": "Normal"}
    for kind, words in parts:
        document.add_paragraph(words, style=styles[kind])
    properties = document.core_properties
    properties.created = properties.modified = MOMENT.replace(tzinfo=None)
    properties.author = "Northbeck Outfitters"
    document.save(str(path))
    _fix_times(path)


def _fix_times(path: Path) -> None:
    """A zip file notes when each part was written; the same moment for all keeps the bytes the same."""
    with zipfile.ZipFile(path) as source:
        parts = [(info.filename, source.read(info)) for info in source.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in parts:
            target.writestr(zipfile.ZipInfo(name, MOMENT.timetuple()[:6]), data, zipfile.ZIP_DEFLATED)


def write_pdf(parts: list[tuple[str, str]], path: Path) -> None:
    """A PDF with flowing text."""
    from reportlab.lib.styles import getSampleStyleSheet
    from reportlab.platypus import Flowable, Paragraph, SimpleDocTemplate, Spacer

    styles = getSampleStyleSheet()
    names = {"h1": "Title", "h2": "Heading2", "item": "BodyText", "p": "BodyText"}
    flow: list[Flowable] = []
    for kind, words in parts:
        flow += [Paragraph(words, styles[names[kind]]), Spacer(1, 3)]
    document: Any = SimpleDocTemplate(str(path), title=parts[0][1], author="Northbeck Outfitters", invariant=1)
    document.build(flow)


def main() -> None:
    for name, suffix in PAGES.items():
        parts = blocks((HERE / "sources" / f"{name}.md").read_text(encoding="utf-8"))
        write = write_docx if suffix == "docx" else write_pdf
        write(parts, HERE / "help_centre" / "en" / f"{name}.{suffix}")


if __name__ == "__main__":
    main()
