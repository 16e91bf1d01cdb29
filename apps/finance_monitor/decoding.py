"""Bytes from the web → text, whatever they claim to be."""

import codecs
import re

from charset_normalizer import from_bytes

_META = re.compile(rb"""<(?:meta|\?xml)[^>]{0,300}?(?:charset|encoding)\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE)
_HEADER = re.compile(r"""charset\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE)
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"))
_BOMS += ((codecs.BOM_UTF16_BE, "utf-16"),)
# What browsers take these labels for (https://encoding.spec.whatwg.org/#names-and-labels).
_LABELS = {"gb2312": "gb18030", "gbk": "gb18030", "gb_2312-80": "gb18030", "x-gbk": "gb18030"}
_LABELS |= dict.fromkeys(("iso-8859-1", "latin1", "latin-1", "iso8859-1", "ascii", "us-ascii"), "cp1252")
_LABELS |= {"big5": "big5hkscs", "big5-hkscs": "big5hkscs", "x-x-big5": "big5hkscs"}
_LABELS |= {"shift_jis": "cp932", "shift-jis": "cp932", "sjis": "cp932", "x-sjis": "cp932", "windows-31j": "cp932"}
_LABELS |= {"utf8": "utf-8", "iso-8859-9": "cp1254", "iso-8859-11": "cp874", "tis-620": "cp874", "euc-kr": "cp949"}
_SAMPLE = 65_536
# A declared encoding with more bad bytes than this is a lie, not a slip of the pen.
_BAD = 0.002


def decode(data: bytes, content_type: str = "") -> tuple[str, str]:
    """The text and the encoding that it was read with; never raises.

    In order: byte-order mark, valid UTF-8, the header's charset, the declaration in the first 2 kB, then what
    charset-normalizer finds. A declaration that does not fit the bytes is overruled.
    """
    for mark, name in _BOMS:
        if data.startswith(mark):
            return data.decode(name, "replace"), name
    found = [m.group(1) for m in (_HEADER.search(content_type),) if m]
    found += [m.group(1).decode("ascii", "replace") for m in (_META.search(data[:2048]),) if m]
    if _is_utf8(data):
        return data.decode("utf-8"), "utf-8"  # what no other encoding gives by chance, whatever is declared
    best: tuple[float, str, str] | None = None
    for label in [*found, "utf-8"]:
        name = _codec(label)
        if name is None:
            continue
        text = data.decode(name, "replace")
        bad = (text.count("\ufffd") + sum(text.count(c) for c in "\x81\x8d\x8f\x90\x9d")) / max(1, len(text))
        if bad == 0:
            return text, name
        if best is None or bad < best[0]:
            best = (bad, text, name)
    if best is not None and best[0] <= _BAD:
        return best[1], best[2]
    guess = from_bytes(data[:_SAMPLE]).best()
    name = _codec(guess.encoding) if guess is not None else None
    if name is not None:
        return data.decode(name, "replace"), name
    return (best[1], best[2]) if best else (data.decode("cp1252", "replace"), "cp1252")


def _is_utf8(data: bytes) -> bool:
    if data.isascii():
        return False
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _codec(label: str) -> str | None:
    name = label.strip().lower()
    name = _LABELS.get(name, name)
    try:
        # Encodings such as "base64" are codecs as well, though not of text.
        return name if codecs.lookup(name)._is_text_encoding else None  # type: ignore[attr-defined]
    except (LookupError, ValueError):
        return None
