"""Bytes from the web → text, whatever they claim to be."""

import codecs
import re

from charset_normalizer import from_bytes

# The captures keep as much of the header, and a replay must read what the crawl has read.
_HEADER_LENGTH = 200
_META = re.compile(rb"""<(?:meta|\?xml)[^>]{0,300}?(?:charset|encoding)\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE)
_HEADER = re.compile(r"""charset\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE)
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"))
_BOMS += ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
# Where the first two characters are ASCII, as markup and JSON are (https://www.w3.org/TR/xml/#sec-guessing).
_WIDE = (
    (re.compile(rb"[^\0]\0\0\0[^\0]\0\0\0", re.DOTALL), "utf-32-le"),
    (re.compile(rb"\0\0\0[^\0]\0\0\0[^\0]", re.DOTALL), "utf-32-be"),
    (re.compile(rb"[^\0]\0[^\0]\0", re.DOTALL), "utf-16-le"),
    (re.compile(rb"\0[^\0]\0[^\0]", re.DOTALL), "utf-16-be"),
)
# What browsers take these names for (https://encoding.spec.whatwg.org/#names-and-labels): Python's name → its superset.
_SUPERSETS = {"gb2312": "gb18030", "gbk": "gb18030", "big5": "big5hkscs", "shift_jis": "cp932", "euc_kr": "cp949"}
_SUPERSETS |= {"ascii": "cp1252", "iso8859-1": "cp1252", "iso8859-9": "cp1254", "iso8859-11": "cp874"}
_SUPERSETS |= {"tis-620": "cp874", "utf-16": "utf-16-le"}
_LABELS = {"x-gbk": "gbk", "gb_2312-80": "gbk", "x-x-big5": "big5", "x-sjis": "cp932", "windows-31j": "cp932"}
_LABELS |= {"iso8859-1": "latin-1", "windows-949": "cp949", "x-euc-jp": "euc_jp", "windows-874": "cp874"}
_LABELS |= {"x-mac-cyrillic": "mac-cyrillic", "unicode": "utf-16", "iso-8859-8-i": "iso-8859-8"}
_LABELS |= {"ks_c_5601-1987": "cp949"}
_TEXT = {"utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "cp866", "koi8-r", "koi8-u", "mac-cyrillic"}
_TEXT |= {"mac-roman", "cp874", "gb18030", "big5hkscs", "cp932", "euc_jp", "iso2022_jp", "cp949"}
_TEXT |= {f"iso8859-{number}" for number in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)}
_TEXT |= {f"cp125{number}" for number in range(9)}
# What charset-normalizer may find; left to itself it takes Russian of Windows for that of the Macintosh.
_GUESSED = ["utf_8", "gb18030", "big5hkscs", "cp932", "euc_jp", "euc_jis_2004", "iso2022_jp", "cp949", "cp874"]
_GUESSED += ["koi8_r", "cp866", "iso8859_2", *(f"cp125{number}" for number in range(9))]
_SAMPLE = 65_536
# A declared encoding in which more of the non-ASCII characters are bad is a lie, not a slip of the pen. Bytes of
# another encoding are never mostly right as UTF-8.
_BAD, _BAD_UTF8 = 0.02, 0.3
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_SURROGATE = re.compile(
    r"&#(?:x0*d[89a-f][0-9a-f]{2}(?![0-9a-f])|0*(?:5529[6-9]|55[3-9]\d\d|56\d{3}|57[0-2]\d\d|573[0-3]\d|5734[0-3])(?!\d));?",
    re.IGNORECASE | re.ASCII,
)
_KANA = re.compile("[\u3041-\u30ff]")
_WRONG = re.compile("[\ufffd\x80-\x84\x86-\x9f]")


def decode(data: bytes, content_type: str = "") -> tuple[str, str]:
    """The text and the encoding that it was read with; never raises.

    In order: byte-order mark, UTF-16 and UTF-32 by their zeros, valid UTF-8, the header's charset, the declaration in
    the first 2 kB, then what charset-normalizer finds. A declaration that does not fit the bytes is overruled, and
    Latin-1 in the header, which servers say by default, by any other in the document. A character that is cut off at
    the end is left out.
    """
    name, start = _marked(data)
    if name:
        return _read(data[start:], name), name
    if (valid := _utf8(data)) is not None:
        return valid, "utf-8"  # what no other encoding gives by chance, whatever is declared
    least, text, name = min(
        (_rated(data, label) for label in _declared(data, content_type)), key=lambda rated: rated[0]
    )
    if least <= (_BAD_UTF8 if name == "utf-8" else _BAD):
        return text, name
    name = _guess(data[:_SAMPLE]) or (name if name != "utf-8" else "cp1252")
    return _read(data, name), name


def cleaned(text: str) -> str:
    """Without control, direction and surrogate characters, which no database need take; tabs and line ends stay."""
    return _CONTROL.sub("", text).replace("\x85", "\n")


def for_lxml(text: str) -> str:
    """Cleaned, also of references to surrogates: lxml keeps them, and then cannot give the text out."""
    return _SURROGATE.sub("", cleaned(text))


def _marked(data: bytes) -> tuple[str, int]:
    """The encoding that the bytes show by themselves, and where the text starts."""
    for mark, name in _BOMS:
        if data.startswith(mark):
            return name, len(mark)
    name = next((name for pattern, name in _WIDE if pattern.match(data)), "")
    # ISO-2022-JP is ASCII with escapes.
    return name or ("iso2022_jp" if b"\x1b$" in data and data.isascii() else ""), 0


def _guess(data: bytes) -> str:
    found = from_bytes(data, cp_isolation=_GUESSED)
    best = found.best()
    if best is None:
        # Japanese with ① or ㈱ is too strange for charset-normalizer.
        texts = ((name, *_rated(data, name)) for name in ("cp932", "euc_jis_2004"))
        return next((n for n, bad, text, _ in texts if bad == 0 and len(_KANA.findall(text)) * 10 > len(text)), "")
    # Of equals the one that browsers take for what is not declared.
    equals = (match for match in found if (match.chaos, match.coherence) == (best.chaos, best.coherence))
    return "cp1252" if any("cp1252" in match.could_be_from_charset for match in equals) else best.encoding


def _read(data: bytes, name: str) -> str:
    return codecs.getincrementaldecoder(name)("replace").decode(data)


def _rated(data: bytes, name: str) -> tuple[float, str, str]:
    """The share of the non-ASCII characters for which the encoding has none, the text, and the encoding."""
    text = _read(data, name)
    foreign = len(text) - len(text.encode("ascii", "ignore"))
    # Nothing but a character that is cut off at the end is one of another encoding.
    bad = len(_WRONG.findall(text)) / foreign if foreign else float(not data.isascii())
    if bad and name == "euc_jp":
        return min((bad, text, name), _rated(data, "euc_jis_2004"))  # ①, ㈱
    return bad, text, name


def _utf8(data: bytes) -> str | None:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return None
    # One accent at the very end looks like a character that is cut off.
    return text if data.isascii() or not text.isascii() else None


def _declared(data: bytes, content_type: str) -> list[str]:
    """Codecs by the header and the document, in the order in which they are tried."""
    header = _HEADER.search(content_type[:_HEADER_LENGTH])
    meta = _META.search(data[:2048])
    named = [header.group(1)] if header else []
    named += [meta.group(1).decode("ascii", "replace")] if meta else []
    found = [name for label in named if (name := _codec(label))]
    if found and found[0] == "cp1252":
        found.reverse()
    # Without a zero it is none of these: the markup itself would have some.
    wide = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
    return [*(name for name in found if name not in wide or b"\0" in data), "utf-8"]


def _codec(label: str) -> str | None:
    """Python's name for it. None for what is no text encoding of the web: base64, idna, utf-7."""
    label = label.strip().lower()
    try:
        name = codecs.lookup(_LABELS.get(label, label)).name
    except (LookupError, ValueError):
        return None
    name = _SUPERSETS.get(name, name)
    return name if name in _TEXT else None
