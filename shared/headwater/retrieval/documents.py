"""What is indexed: documents, their sections, and the chunks they are cut into."""

import hashlib
from dataclasses import dataclass

from headwater.errors import HeadwaterError
from headwater.language import detect_language
from headwater.retrieval.sentences import split_sentences

# Characters of a chunk: a passage that answers one question, and fits the encoders' 256 tokens. CJK text is denser.
_TARGET = 700
_TARGET_DENSE = 260


@dataclass(frozen=True)
class Section:
    """A heading and where its text begins."""

    start: int
    title: str


@dataclass(frozen=True)
class Document:
    """A text to search, with what a citation needs. `sections` are sorted by start."""

    id: str
    text: str
    title: str = ""
    url: str = ""
    language: str = ""
    kind: str = "text"
    sections: tuple[Section, ...] = ()

    def __post_init__(self) -> None:
        if not self.id or len(self.id) > 200 or any(ord(c) < 32 for c in self.id):
            raise HeadwaterError(f"a document's id has 1 to 200 visible characters, not {self.id!r}")
        if not self.text.strip():
            raise HeadwaterError(f"the document {self.id} has no text")


@dataclass(frozen=True)
class Chunk:
    """A passage: `text == document.text[start:end]`. Equal passages of a document have equal ids over time."""

    id: str
    document_id: str
    text: str
    start: int
    end: int
    title: str
    section: str
    url: str
    language: str


def split_document(document: Document) -> list[Chunk]:
    """Chunks along sections and sentences; no text is lost but the space between them."""
    chunks: list[Chunk] = []
    seen: dict[str, int] = {}
    for section, start, end in _sections(document):
        for first, last in _pack(document.text, start, end):
            text = document.text[first:last]
            digest = hashlib.sha256(f"{document.id}\0{section}\0{text}".encode()).hexdigest()[:24]
            repeat = seen[digest] = seen.get(digest, -1) + 1
            language = detect_language(text) if not document.language else document.language
            chunk_id = digest if not repeat else f"{digest}-{repeat}"
            chunks.append(
                Chunk(chunk_id, document.id, text, first, last, document.title, section, document.url, language)
            )
    return chunks


def _sections(document: Document) -> list[tuple[str, int, int]]:
    marks = [section for section in document.sections if 0 <= section.start < len(document.text)]
    parts = []
    if not marks or marks[0].start > 0:
        parts.append(("", 0, marks[0].start if marks else len(document.text)))
    for number, mark in enumerate(marks):
        end = marks[number + 1].start if number + 1 < len(marks) else len(document.text)
        parts.append((mark.title, mark.start, end))
    return parts


def _pack(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Whole sentences up to the target size; a sentence above it is cut at spaces."""
    piece = text[start:end]
    dense = sum("\u3400" <= c <= "\u9fff" for c in piece[:2000]) * 3 > len(piece[:2000])
    target = _TARGET_DENSE if dense else _TARGET
    packed: list[tuple[int, int]] = []
    for first, last in split_sentences(piece):
        for a, b in _cut(piece, first, last, target):
            if packed and b - packed[-1][0] <= target:
                packed[-1] = (packed[-1][0], b)
            else:
                packed.append((a, b))
    return [(start + a, start + b) for a, b in packed]


def _cut(text: str, start: int, end: int, target: int) -> list[tuple[int, int]]:
    parts = []
    while end - start > 2 * target:
        at = text.rfind(" ", start + target // 2, start + 2 * target)
        at = at if at > 0 else start + target
        parts.append((start, at))
        start = at + (text[at] == " ")
    return [*parts, (start, end)]
