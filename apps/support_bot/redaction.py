"""Personal data out of texts before anything is stored or logged.

Patterns with checksums where the standard has one: cards (Luhn, ISO/IEC 7812-1), IBAN (mod 97, ISO 13616), Chinese
resident identity numbers (GB 11643). Telephone numbers by libphonenumber's rules.
"""

import re

_EMAIL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._%+-]*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b", re.IGNORECASE)
_CARD = re.compile(r"(?<![\d-])(?:\d[ -]?){12,18}\d(?![\d-])")
_CHINESE_ID = re.compile(r"(?<!\d)\d{17}[\dXx](?!\d)")
_PHONE = re.compile(r"(?<![\w-])(?:\+|00)?\(?\d[\d\s().-]{6,18}\d(?![\w-])")
_CHINA_MOBILE = re.compile(r"(?<!\d)(?:\+?86[- ]?)?1[3-9]\d[- ]?\d{4}[- ]?\d{4}(?!\d)")
# Regions tried for numbers without a country code.
_REGIONS = ("GB", "US", "CN", "DE")
_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_ID_CHECKS = "10X98765432"


def redact(text: str) -> str:
    """`text` with personal data replaced by [EMAIL], [IBAN], [CARD], [ID] and [PHONE].

    >>> redact("Mail me: ann@example.com")
    'Mail me: [EMAIL]'
    """
    text = _EMAIL.sub("[EMAIL]", text)
    text = _IBAN.sub(lambda match: "[IBAN]" if is_iban(match.group()) else match.group(), text)
    text = _CHINESE_ID.sub(lambda match: "[ID]" if is_chinese_id(match.group()) else match.group(), text)
    text = _CARD.sub(lambda match: "[CARD]" if is_card(match.group()) else match.group(), text)
    text = _CHINA_MOBILE.sub("[PHONE]", text)
    return _PHONE.sub(lambda match: "[PHONE]" if _is_phone(match.group()) else match.group(), text)


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
    compact = text.replace(" ", "").upper()
    if not 15 <= len(compact) <= 34:
        return False
    moved = compact[4:] + compact[:4]
    return int("".join(str(int(c, 36)) for c in moved)) % 97 == 1


def is_chinese_id(text: str) -> bool:
    """18 characters with a right GB 11643 check character."""
    total = sum(int(c) * weight for c, weight in zip(text[:17], _ID_WEIGHTS, strict=True))
    return _ID_CHECKS[total % 11] == text[17].upper()


def _is_phone(text: str) -> bool:
    import phonenumbers

    digits = sum(c.isdigit() for c in text)
    # Dates, times and amounts look like numbers of seven digits; those must be written as numbers are.
    if digits < 9 and not re.search(r"[()+]", text):
        return False
    international = text.strip().startswith(("+", "00"))
    # A row of sizes or prices has no group of three digits.
    if not international and not re.search(r"\d{3}", text):
        return False
    regions: tuple[str | None, ...] = (None,) if international else _REGIONS
    # With a country code the length alone decides: numbers are given out faster than the rules are brought up to date.
    accepted = phonenumbers.is_possible_number if international else phonenumbers.is_valid_number
    for region in regions:
        try:
            if accepted(phonenumbers.parse(re.sub(r"^00", "+", text.strip()), region)):
                return True
        except phonenumbers.NumberParseException:
            continue
    return False
