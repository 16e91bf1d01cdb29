"""Slots of a message: by pattern (order number, e-mail, size, date …) and by names (product, store …)."""

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

_ORDER = r"(?:(?<![A-Za-z0-9])[A-Za-z]{2,3}-\d{4,8}|#\d{5,10})(?![A-Za-z0-9])"
_EMAIL = r"[A-Za-z0-9][A-Za-z0-9._%+-]*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"
_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?"
    r"|Nov(?:ember)?|Dec(?:ember)?)"
)
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_LETTER_SIZE = "XXS|XS|XXL|XL|S|M|L"
_SLOTS = {
    "order_number": re.compile(f"({_ORDER})"),
    "email": re.compile(f"({_EMAIL})"),
    "size": re.compile(
        rf"((?i:\bsize)\s+(?:(?:EU|UK|US)\s?)?(?:\d{{1,2}}(?:\.5)?|{_LETTER_SIZE}|small|medium|large)\b"
        rf"|\b(?:EU|UK|US)\s?\d{{1,2}}(?:\.5)?\b|\b(?:XXS|XS|XXL|XL)\b"
        rf"|\d{{2}}(?:\.5)?\s*码|(?:{_LETTER_SIZE})[号码]|[大中小]码)"
    ),
    "amount": re.compile(
        r"((?:£|€|\$|¥)\s?\d[\d,]*(?:\.\d{2})?|\d+(?:[.,]\d{2})?\s?(?:pounds?\b|euros?\b|dollars?\b|元|英镑|欧元|美元))",
        re.IGNORECASE,
    ),
    "quantity": re.compile(
        r"(?<!size )(?<!EU )\b(\d{1,4})\s+(?:pieces|items|units|people|persons|pairs|jackets|fleeces|shirts|t-shirts|"
        r"tents|packs|backpacks|boots|sleeping bags|hats)\b"
        r"|(\d{1,4})\s*(?:件|双|顶|套|条|人|份|个(?!工作日|月|小时|星期))",
        re.IGNORECASE,
    ),
    "date": re.compile(
        rf"((?:\b{_DAY}\s+(?:of\s+)?{_MONTH}\b|\b{_MONTH}\s+{_DAY}\b)(?:,?\s+20\d\d)?|\b20\d\d-\d{{2}}-\d{{2}}\b"
        r"|\b(?:today|tomorrow|Christmas|(?:next\s+)?(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day)\b"
        r"|(?:20\d\d年)?\d{1,2}月\d{1,2}[日号]|今天|明天|后天|[本下这]?(?:周|星期|礼拜)[一二三四五六日天]|圣诞节)",
        re.IGNORECASE,
    ),
    "discount_code": re.compile(
        r"(?i:\bcode|\bvoucher|\bcoupon|优惠码|折扣码|优惠券)(?i:\s+is)?[\s:：“\"']*([A-Z][A-Z0-9]{3,15})(?![A-Za-z0-9])"
    ),
}
# How a help page speaks of what only this customer's message names, in place of it and the words that introduce it.
_GENERAL = {
    "en": (
        (
            rf"(?:(?:\b(?:my|the|this|our)\s+)?\border(?:\s+(?:number|no\.?|id))?(?:\s+is)?[\s:]*)?(?:{_ORDER}|\({_ORDER}\))",
            "my order",
        ),
        (rf"(?:\bmy\s+e-?mail(?:\s+address)?(?:\s+is)?[\s:]*)?(?:{_EMAIL}|\({_EMAIL}\))", "my e-mail address"),
    ),
    "zh": (
        (
            rf"(?:(?:我的|这个)?订单(?:号码|编号|号)?(?:是|为)?[\s:：]*)?(?:{_ORDER}|[(（]{_ORDER}[)）])(?:号?的?订单)?",
            "我的订单",
        ),
        (rf"(?:我的(?:邮箱|邮件地址)(?:是|为)?[\s:：]*)?(?:{_EMAIL}|[(（]{_EMAIL}[)）])", "我的邮箱"),
    ),
}
_GENERAL_ELSEWHERE = ((_ORDER, ""), (_EMAIL, ""))
# The slots that no page can say anything about, and those that a customer may mention in passing.
_PERSONAL = frozenset({"order_number", "email"})
_ASIDE = _PERSONAL | {"date", "amount", "quantity"}


@dataclass(frozen=True)
class Vocabulary:
    """Names that fill a slot: {slot: {name as written: value}}."""

    names: Mapping[str, Mapping[str, str]]


def find_slots(text: str, vocabulary: Vocabulary | None = None) -> dict[str, str]:
    """The first value of each slot.

    >>> find_slots("Where is NB-20481?")
    {'order_number': 'NB-20481'}
    """
    found: dict[str, str] = {}
    for slot, pattern in _SLOTS.items():
        match = pattern.search(text)
        if match:
            value = next(group for group in match.groups() if group).strip()
            found[slot] = value.upper() if slot == "order_number" else value
    for slot, names in (vocabulary.names if vocabulary else {}).items():
        value_found = _first(text, list(names))
        if value_found:
            found[slot] = names[value_found]
    return found


def takes_up(taken: Set[str], found: Mapping[str, str]) -> bool:
    """Whether an answer with the slots `taken` speaks of this customer's own order or address, and of all else asked.

    >>> takes_up({"order_number"}, {"order_number": "NB-20481", "product": "rope"})
    False
    """
    return bool(_PERSONAL & taken & found.keys()) and not found.keys() - taken - _ASIDE


def without_personal(text: str, language: str = "") -> str:
    """The message in general words: numbers of orders and addresses say nothing that a page could be found by.

    Without a language they are left out.

    >>> without_personal("Where is my order NB-20481?", "en")
    'Where is my order?'
    """
    masked = text
    for pattern, general in _GENERAL.get(language, _GENERAL_ELSEWHERE):
        masked = re.sub(pattern, general, masked, flags=re.IGNORECASE)
    return masked.strip() or text


def _first(text: str, names: Sequence[str]) -> str | None:
    folded = text.casefold()
    for name in sorted(names, key=len, reverse=True):
        key = name.casefold()
        place = folded.find(key)
        while place >= 0:
            edges = folded[max(0, place - 1) : place] + folded[place + len(key) : place + len(key) + 1]
            # Latin words need a boundary; CJK is written without.
            if not key.isascii() or not any(c.isascii() and c.isalnum() for c in edges):
                return name
            place = folded.find(key, place + 1)
    return None
