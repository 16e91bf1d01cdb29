"""Personal data out of texts before anything is stored or logged.

Patterns with checksums where the standard has one: cards (Luhn, ISO/IEC 7812-1), IBAN (mod 97, ISO 13616), Chinese
resident identity numbers (GB 11643). Telephone numbers by libphonenumber's rules.
"""

import re
from collections.abc import Callable, Iterator

_INVISIBLE = re.compile(r"[\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\ud800-\udfff]")
# Full-width forms, special spaces and dashes stand for their plain ones; each is one character, so places agree.
_PLAIN = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_PLAIN |= dict.fromkeys((0xA0, 0x2007, 0x2009, 0x202F, 0x3000), 0x20) | dict.fromkeys(
    (*range(0x2010, 0x2016), 0x2212), 0x2D
)
# What may stand beside a number is judged by ASCII alone: Chinese is written without spaces around it.
_LETTERS = "A-Za-z\u00c0-\u024f0-9_"
_EMAIL = re.compile(
    rf"(?<![{_LETTERS}.%+'-])[{_LETTERS}][{_LETTERS}.%+'-]*(?:@|%40)[{_LETTERS}-]+(?:\.[{_LETTERS}-]+)+"
)
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?=[ -]?[A-Za-z0-9])")
_CARD = re.compile(r"(?<![0-9+])[0-9](?:[ .-]?[0-9]){12,}")
_CHINESE_ID = re.compile(r"(?<![0-9])[0-9]{6}[ -]?[0-9]{8}[ -]?[0-9]{3}[0-9Xx](?![0-9])")
_PHONE = re.compile(r"(?<![A-Za-z0-9_-])(?:\+|\()?\(?[0-9][0-9\s().-]{5,}[0-9](?![A-Za-z0-9_-])")
_CHINA_MOBILE = re.compile(r"(?<![0-9])(?:(?:\+|00)?86[- ]?)?1[3-9][0-9][- ]?[0-9]{4}[- ]?[0-9]{4}(?![0-9])")
_DATE = re.compile(r"(?<![0-9])(?:19|20)[0-9]{2}[./-][0-9]{1,2}[./-][0-9]{1,2}(?![0-9])")
# Regions tried for numbers without a country code.
_REGIONS = ("GB", "US", "CN", "DE")
_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_ID_CHECKS = "10X98765432"
# Country and length of an IBAN, from the SWIFT registry of ISO 13616.
_IBAN_LENGTHS = {
    entry[:2]: int(entry[2:])
    for entry in (
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 "
        "ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 "
        "LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 "
        "PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 "
        "YE30"
    ).split()
}
# A shorter group than this begins or goes on no card number, but a date, a size or a price.
_CARD_GROUP = 4

Spans = Iterator[tuple[int, int]]


def redact(text: str) -> str:
    """`text` with [EMAIL], [IBAN], [CARD], [ID] and [PHONE] for personal data, and without invisible characters.

    >>> redact("Mail me: ann@example.com")
    'Mail me: [EMAIL]'
    """
    text = _INVISIBLE.sub("", text)
    for name, find in _KINDS:
        for start, end in reversed(list(find(text.translate(_PLAIN)))):
            text = f"{text[:start]}[{name}]{text[end:]}"
    return text


def is_card(text: str) -> bool:
    """13 to 19 digits with a right Luhn digit."""
    digits = [int(c) for c in text if c.isdigit()]
    if not 13 <= len(digits) <= 19 or len(set(digits)) == 1:
        return False
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = digit * 2 if place % 2 else digit
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def is_iban(text: str) -> bool:
    """A right ISO 13616 check by mod 97."""
    compact = re.sub("[ -]", "", text).upper()
    if not 15 <= len(compact) <= 34:
        return False
    moved = compact[4:] + compact[:4]
    return int("".join(str(int(c, 36)) for c in moved)) % 97 == 1


def is_chinese_id(text: str) -> bool:
    """18 characters with a right GB 11643 check character."""
    compact = re.sub("[ -]", "", text)
    total = sum(int(c) * weight for c, weight in zip(compact[:17], _ID_WEIGHTS, strict=True))
    return _ID_CHECKS[total % 11] == compact[17].upper()


def _emails(text: str) -> Spans:
    return (match.span() for match in _EMAIL.finditer(text))


def _ibans(text: str) -> Spans:
    """As many characters as the country's numbers have: what follows may be a word of the sentence."""
    for match in _IBAN.finditer(text):
        length = _IBAN_LENGTHS.get(match.group()[:2].upper(), 0)
        found = re.compile(rf"[A-Za-z0-9](?:[ -]?[A-Za-z0-9]){{{max(length - 1, 0)}}}").match(text, match.start())
        if length and found and is_iban(found.group()):
            yield found.span()


def _chinese_ids(text: str) -> Spans:
    return (match.span() for match in _CHINESE_ID.finditer(text) if is_chinese_id(match.group()))


def _cards(text: str) -> Spans:
    """Whole rows of digits, and groups of four and more in a row that holds more (an expiry date, a second card)."""
    for match in _CARD.finditer(text):
        if is_card(match.group()):
            yield match.span()
            continue
        groups = [(match.start() + g.start(), match.start() + g.end()) for g in re.finditer("[0-9]+", match.group())]
        yield from _windows(groups, lambda start, end: _grouped_as_card(text[start:end]))


def _grouped_as_card(text: str) -> bool:
    *most, last = re.split("[ .-]", text)
    return all(len(group) >= _CARD_GROUP for group in most) and len(last) >= _CARD_GROUP - 1 and is_card(text)


def _china_mobiles(text: str) -> Spans:
    return (match.span() for match in _CHINA_MOBILE.finditer(text))


def _phones(text: str) -> Spans:
    """Whole rows of digits, and the numbers with an area or country code in a row that holds more than one."""
    for match in _PHONE.finditer(text):
        # Dates are no part of a number, but may stand beside one.
        edges = [match.start(), *(e for d in _DATE.finditer(text, *match.span()) for e in d.span()), match.end()]
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            if _is_phone(text[start:end].strip()):
                yield (
                    start + len(text[start:end]) - len(text[start:end].lstrip()),
                    start + len(text[start:end].rstrip()),
                )
                continue
            groups = [(start + g.start(), start + g.end()) for g in re.finditer(r"\S+", text[start:end])]
            yield from _windows(groups, lambda a, b: text[a] in "+0(" and _is_phone(text[a:b]))


def _windows(groups: list[tuple[int, int]], accepted: Callable[[int, int], bool]) -> Spans:
    """The longest accepted rows of neighbouring groups, from the left; none is longer than 8 groups."""
    first = 0
    while first < len(groups):
        for last in range(min(first + 8, len(groups)) - 1, first - 1, -1):
            if accepted(groups[first][0], groups[last][1]):
                yield groups[first][0], groups[last][1]
                first = last
                break
        first += 1


_KINDS: tuple[tuple[str, Callable[[str], Spans]], ...] = (
    ("EMAIL", _emails),
    ("IBAN", _ibans),
    ("ID", _chinese_ids),
    ("CARD", _cards),
    ("PHONE", _china_mobiles),
    ("PHONE", _phones),
)


def _is_phone(text: str) -> bool:
    import phonenumbers

    digits = sum(c.isdigit() for c in text)
    # Dates, times and amounts look like numbers of seven digits; those must be written as numbers are.
    if not 7 <= digits <= 17 or (digits < 9 and not re.search(r"[()+]", text)):
        return False
    international = text.startswith(("+", "(+", "00"))
    # A row of sizes or prices has no group of three digits.
    if not international and not re.search(r"\d{3}", text):
        return False
    regions: tuple[str | None, ...] = (None,) if international else _REGIONS
    # With a country code the length alone decides: numbers are given out faster than the rules are brought up to date.
    accepted = phonenumbers.is_possible_number if international else phonenumbers.is_valid_number
    for region in regions:
        try:
            if accepted(phonenumbers.parse(re.sub(r"^00", "+", text), region)):
                return True
        except phonenumbers.NumberParseException:
            continue
    return False
