"""Documents are read in a process of its own: what is endless or takes all memory is refused, and reading goes on."""

import io
import os
import resource
import zipfile

import pytest

from headwater.errors import HeadwaterError, TooLarge, Unavailable
from headwater.settings import Settings
from support_bot.reader import Reader

_W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def docx(body: str, padding: int = 0) -> bytes:
    from docx import Document as Word

    whole, made = io.BytesIO(), io.BytesIO()
    Word().save(whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in source.namelist():
            archive.writestr(name, source.read(name) if name != "word/document.xml" else _document(body))
        archive.writestr("word/media/noise.bin", os.urandom(padding))
    return made.getvalue()


def _document(body: str) -> str:
    return f"<w:document {_W}><w:body>{body}</w:body></w:document>"


def test_a_document_comes_back_whole() -> None:
    with Reader(Settings()) as reader:
        first = reader.read("a.md", "# 退货\n\n## 期限\n\n四十五天。".encode(), url="https://shop.example/a")
        second = reader.read("b.txt", b"Two.", document_id="second", title="The second")

    assert (first.id, first.title, first.text, first.language) == ("a", "退货", "期限\n四十五天。", "zh")
    assert [(section.start, section.title) for section in first.sections] == [(0, "期限")]
    assert (second.id, second.title, second.text) == ("second", "The second", "Two.")


def test_a_file_that_takes_too_long_is_refused_and_the_next_one_is_read() -> None:
    with Reader(Settings(max_reading_seconds=2)) as reader:
        with pytest.raises(TooLarge, match=r"slow.docx takes longer than 2 s to read.*HEADWATER_MAX_READING_SECONDS"):
            reader.read("slow.docx", docx("<w:p/>" * 2_000_000, 100_000))
        assert reader.read("next.txt", b"Still here.").text == "Still here."


def test_a_file_that_takes_too_much_memory_is_refused_and_the_next_one_is_read() -> None:
    with Reader(Settings(max_reading_seconds=30)) as reader:
        with pytest.raises(HeadwaterError, match=r"large.docx"):
            reader.read("large.docx", docx("<w:p/>" * 20_000_000, 1_000_000))
        assert reader.read("next.txt", b"Still here.").text == "Still here."


def test_more_passages_than_can_be_embedded_are_refused() -> None:
    with Reader(Settings()) as reader, pytest.raises(TooLarge, match=r"many.txt comes to [\d,]+ passages"):
        reader.read("many.txt", b"Short heading\n\nText.\n\n" * 40_000)


def test_a_text_of_nothing_but_abbreviations_is_cut_in_time() -> None:
    with Reader(Settings(max_reading_seconds=20)) as reader:
        assert len(reader.read("cut.txt", b"see No. 1 " * 200_000).text) > 1_900_000


def test_a_full_disk_is_named_rather_than_the_file_blamed() -> None:
    # The language model unpacks into a temporary file.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with Reader(Settings()) as reader, pytest.raises(Unavailable, match=r"a.txt cannot be read now: .*make room"):
            reader.read("a.txt", b"A sentence that is long enough for its language to be told. " * 3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
