"""The order of two figures in a headline, worked out, not left to the model: "to 4 from 6" → "to 4 (lower) from 6".

Encoders of this size read words well and compare numbers badly. Where a text sets one figure against another of the
same unit, and words say which of them is the former (or the expected) one, the other is marked as higher, lower or
equal. Nothing is said where the words leave it open.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

MARKERS = {"en": (" (lower)", " (equal)", " (higher)"), "zh": ("（更低）", "（相同）", "（更高）")}
# Longest text that is looked at: what a model reads is shorter.
_LIMIT = 600
_SCALES = {
    **dict.fromkeys(("k", "thousand"), 1e3),
    **dict.fromkeys(("m", "mn", "mln", "mm", "million"), 1e6),
    **dict.fromkeys(("b", "bn", "bln", "billion"), 1e9),
    **dict.fromkeys(("t", "tn", "trn", "trillion"), 1e12),
    **{"lakh": 1e5, "crore": 1e7, "cr": 1e7, "c": 0.01, "cents": 0.01, "cent": 0.01, "p": 0.01, "pence": 0.01},
    **{"十": 10, "百": 1e2, "千": 1e3, "万": 1e4, "百万": 1e6, "千万": 1e7, "亿": 1e8, "十亿": 1e9, "百亿": 1e10},
    **{"千亿": 1e11, "万亿": 1e12, "萬": 1e4, "億": 1e8, "分": 0.01, "成": 10},
}
_MONEY_SCALES = ("c", "cents", "cent", "p", "pence", "分")
_WORDS = dict(
    zip("zero nil one two three four five six seven eight nine ten eleven twelve".split(), (0, *range(13)), strict=True)
)
_NUMERALS = dict(zip("零一二两三四五六七八九十", (0, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10), strict=True))
_CURRENCY = r"(?:US|C|A|S|HK|NZ)?[$€£¥₹]|(?:EUR|USD|SEK|NOK|DKK|CHF|GBP|JPY|CNY|RMB|INR|Rs\.?)\s?"
_PERCENT = r"%|％|pct\b|pc\b|per\s?cent\b|percent\b|percentage points?\b|个百分点|bps?\b|basis points?\b"
_IS_PERCENT = re.compile(_PERCENT, re.IGNORECASE)
_MONEY = r"(?:US |Canadian |Australian )?dollars?\b|euros?\b|pounds?\b|yen\b|yuan\b|rupees?\b|francs?\b|crowns?\b"
_QUANTITY = {
    "en": re.compile(
        rf"(?<![\w.,:/%])(?P<sign>[-−+]|minus )?(?:(?P<currency>{_CURRENCY})(?P<sign2>[-−])?)?"
        rf"(?P<number>\d{{1,3}}(?:,\d{{2,3}})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+|(?:{'|'.join(_WORDS)})\b)"
        rf"(?:[\s-]?(?P<scale>thousand|million|billion|trillion|lakh|crore|cr|cents?|pence|mln|bln|trn|mn|mm|bn|tn|[kmbtcp])(?![a-z]))?"
        rf"\s?(?P<unit>{_PERCENT}|{_MONEY})?(?P<noun>(?:\s|-)[a-z]{{3,}})?(?![\w%]|\.\d)",
        re.IGNORECASE,
    ),
    "zh": re.compile(
        rf"(?<![\d.,:/A-Za-z])(?P<sign>(?<![\d%％元亿万倍家个名股])[-−+]|负)?(?:(?P<currency>{_CURRENCY})(?P<sign2>[-−])?)?"
        r"(?P<number>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|[零一二两三四五六七八九十](?=[成家个台辆座名万亿倍元件起天]))"
        r"\s?(?P<scale>万亿|千亿|百亿|十亿|亿|億|千万|百万|万|萬|千|百|成|分(?!之))?"
        rf"(?P<unit>{_PERCENT}|(?:美|欧|港|日|韩|英)?[元镑])?(?P<noun>[家个台辆座名倍件起天吨人])?(?![\d%]|\.\d)"
    ),
}
# Dates, quarters, terms, codes: numbers that nothing is measured by.
_DATED_AFTER = re.compile(
    r"(?:\s?[年月日号季]|\s?季度|st\b|nd\b|rd\b|th\b|[-/]\d|[-\s]?(?:weeks?|months?|years?|hours?|quarters?)\b|-[A-Z])"
)
_DATED_BEFORE = re.compile(
    r"(?:\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\.?\s|\bFY\s?|第|最近|连续|过去|前)$"
)
# Words by which the figure after them is the former (or expected) one; `_FORMER_AFTER`: the figure before them; and
# `_PRESENT`: by which the figure after them is the later one.
_FORMER = {
    "en": (
        r"\b(?:from(?! [a-z]{4})|vs\.?|versus|against|compar\w+ (?:with|to)|comparative|"
        r"(?<!more )(?<!less )(?<!rather )than|after|having (?:been|earned|\w+ed)|formerly|earlier|"
        r"previous(?:ly)?|prior|former|before|ago|yr|py|expect(?:ed|ations?)|consensus|forecasts?|est\.?|"
        r"estimates?|estimated|targets?|targeted|goal|guided|analysts?|city|street|budget(?:ed)?|projected|"
        r"seen by|looked for|"
        r"bargained|at first|originally|once|used to|not|replaces?|above|below|beats?|tops|misses|missed|exceeds?)\b"
    ),
    "zh": (
        r"由|从|自|较|比|相比|对比|同期|去年|上年|前年|上季|上月|上周|前值|此前|先前|之前|原(?:先|来|定|为)?|曾|年前|期初|年初|预期|预计|预测|预估|预算|目标|"
        r"市场|机构|分析师|华尔街|一致|vs|高于|低于|高出|逊于|好于|差于"
    ),
}
_FORMER_AFTER = {
    "en": (
        r"\b(?:ago|earlier|last (?:year|quarter|month|week|time)|(?:year|quarter|months?) before|previously|before|"
        r"then|(?:had )?expected|consensus|estimates?|forecast|prior|in mind|wanted|looking for|projected|seen by)\b"
    ),
    "zh": r"(?:的)?(?:预期|预测|目标|预算|前值|同期|去年|上年|之后|后)",
}
_PRESENT = {
    "en": (
        r"\b(?:to|now|this|today|delivered|becomes?|is|comes? in|came (?:in|to)|posted|reported|currently|actual|"
        r"brought)\b"
    ),
    "zh": r"至|到|变为|变成|变|成为|如今|现在|今年|本季|本期|当前|今|实际|现",
}
# The same, but weaker: words that stand before other figures too.
_WEAK = re.compile(r"\b(?:was|were|had|last|market)\b", re.IGNORECASE)
_FROM = re.compile(r"(?:\bfrom|\bbetween .{0,20}|由|从|自)[^\d]{0,6}$", re.IGNORECASE)
_FILLERS = re.compile(
    r"\b(?:a|an|the|it|year|years|quarter|month|of|in|by|was|were|is|average|last)\b|的|年|为|是", re.IGNORECASE
)
_ARROW = re.compile(r"\s*(?:→|->|=>|➜|变|[^，,、；;。：:（）()\d\sA-Za-z]{1,5}(?:至|到|为|成))\s*")
_BRACKET = re.compile(r"\s*[(（]\s*$")
_DIFFERENCE = re.compile(
    r"\s?(?:less|more|short|over|under|below|above|higher|lower|ahead|better|worse)\b", re.IGNORECASE
)
_RANGE = re.compile(r"\s*(?:and|-|–|~|～|to|至|到)\s*(?:up|down)?\s*")
_YEAR = re.compile(r"(?<!\d)((?:19|20)\d\d)(?!\d)")
_LOSS = re.compile(r"\bloss\b|\blosses\b|deficit|\bred\b|亏损|净亏|亏", re.IGNORECASE)
_GAIN = re.compile(r"\bprofits?\b|\bearned\b|surplus|\bblack\b|盈利|净赚|赚|净利润|盈余", re.IGNORECASE)
_NO_NOUN = re.compile(f"{_FORMER['en']}|{_PRESENT['en']}|and|year|for|the|with|but|while|per|more")
# How near a word has to be (`_nearest`) to be believed.
_SURE = 0.35
_WINDOW = {"en": 34, "zh": 14}


@dataclass(frozen=True)
class Quantity:
    """A figure: its value, what it counts ("%", "money", a noun, "" where nothing is said), and a named scale."""

    value: float
    unit: str
    scaled: bool
    start: int
    end: int


def with_order(text: str, language: str) -> str:
    """`text` with the outcome of each comparison of two figures behind the later one; unchanged where none is sure."""
    language = "zh" if language == "zh" else "en"
    if any(marker in text for marker in MARKERS[language]):
        return text
    found = list(quantities(text[:_LIMIT], language))
    parts: list[str] = []
    position, number = 0, 0
    while number + 1 < len(found):
        order = _order(text[:_LIMIT], language, found, number)
        if order is None:
            number += 1
            continue
        new, outcome = order
        parts += [text[position : new.end], MARKERS[language][outcome + 1]]
        position = new.end
        number += 2
    return "".join([*parts, text[position:]])


def quantities(text: str, language: str) -> Iterator[Quantity]:
    """Figures of a text that measure something: neither years and dates nor codes."""
    for match in _QUANTITY[language].finditer(text):
        digits = match["number"]
        bare = not (match["currency"] or match["scale"] or match["unit"])
        end = match.start("noun") if match["noun"] and language == "en" else match.end()
        after = text[match.end("number") : match.end("number") + 12]
        if bare and (_YEAR.fullmatch(digits) or _DATED_AFTER.match(after)):
            continue
        front = text[max(0, match.start("number") - 12) : match.start("number")]
        if bare and (_DATED_BEFORE.search(front) or (_BRACKET.search(front) and len(digits) >= 5)):
            continue
        if digits.isalpha() and digits[0].isupper() and digits.isascii():
            continue
        if _DIFFERENCE.match(text, end):
            continue
        end = match.start() + len(text[match.start() : end].rstrip())
        yield Quantity(_value(match), _unit(match), bool(match["scale"]), match.start(), end)


def _value(match: re.Match[str]) -> float:
    word = match["number"].lower()
    number = _WORDS.get(word, _NUMERALS.get(word))
    value = float(number if number is not None else word.replace(",", ""))
    value *= _SCALES.get((match["scale"] or "").lower(), 1)
    negative = (match["sign"] or "").strip() in ("-", "−", "minus", "负") or match["sign2"]
    return -value if negative else value


def _unit(match: re.Match[str]) -> str:
    if match["scale"] == "成":
        return "%"
    if match["unit"]:
        return "%" if _IS_PERCENT.fullmatch(match["unit"]) else "money"
    if match["currency"]:
        return f"money {match['currency'].strip()}"
    if (match["scale"] or "").lower() in _MONEY_SCALES:
        return "money"
    noun = (match["noun"] or "").strip(" -").lower().rstrip("s")
    return "" if _NO_NOUN.fullmatch(noun) else noun


def _comparable(one: Quantity, other: Quantity, before: str, between: str, language: str) -> bool:
    """The same is counted; where that is not said, nothing but words of comparison stands between the two."""
    if one.unit and other.unit:
        money = one.unit.startswith("money") and other.unit.startswith("money") and "money" in (one.unit, other.unit)
        return one.unit == other.unit or money
    if "%" in (one.unit, other.unit):
        return False
    former = _patterns(language)[0]
    if _BRACKET.fullmatch(between):
        return True
    if _RANGE.fullmatch(between):
        return bool(_FROM.search(before))
    if _ARROW.fullmatch(between):
        return True
    between = re.sub(rf"^\W{re.escape(one.unit)}s?\b", "", between) if one.unit else between
    left = _FILLERS.sub("", former.sub("", between))
    return len(left) < len(between) and not left.strip(" ,，;:：(（/.")


def _order(text: str, language: str, found: list[Quantity], number: int) -> tuple[Quantity, int] | None:
    """The later figure of a pair and -1, 0 or 1 against the former; None where the words do not tell."""
    one, other = found[number], found[number + 1]
    before = text[found[number - 1].end if number else 0 : one.start]
    between = text[one.end : other.start]
    after = text[other.end : found[number + 2].start if number + 2 < len(found) else len(text)]
    range_of_two = not between.strip() and other.value < 0  # "115% -145%"
    if range_of_two or not _comparable(one, other, before, between, language):
        return None
    if _LOSS.search(text) and _GAIN.search(text) and min(one.value, other.value) >= 0:
        return None  # a loss against a profit: the words say it
    later = _later(language, before, between, after)
    if later is None:
        return None
    new, old = (one, other) if later == 0 else (other, one)
    a, b = new.value, old.value
    if new.scaled != old.scaled:
        a, b = _same_scale(a, b)
    return new, (a > b) - (a < b)


def _same_scale(a: float, b: float) -> tuple[float, float]:
    """ "from 4 to 6 million": of figures more than a thousandfold apart the smaller one has the other's scale."""
    for scale in (1e3, 1e4, 1e6, 1e8, 1e9):
        if a and b and abs(b / a) >= scale * 0.02 and abs(b) > 100 * abs(a) and 0.01 < abs(a * scale / b) < 100:
            return a * scale, b
        if a and b and abs(a / b) >= scale * 0.02 and abs(a) > 100 * abs(b) and 0.01 < abs(b * scale / a) < 100:
            return a, b * scale
    return a, b


def _later(language: str, before: str, between: str, after: str) -> int | None:
    """0 when the first figure is the later one, 1 when the second is."""
    if _ARROW.fullmatch(between) and not _RANGE.fullmatch(between):
        return 1
    if re.search(r"[(（][^)）]*$", between):
        return 0  # "sales 42 (27)", "profit 42 (year ago: 27)": what stands in brackets is the former one
    window = _WINDOW[language]
    former, former_after, present = _patterns(language)
    if _RANGE.fullmatch(between) and not _FROM.search(before):
        return None
    # Words between two figures belong to the second one, but for those right behind the first.
    one, other = (
        _nearest(former, front)
        + 0.5 * _nearest(_WEAK, front)
        - 0.5 * _nearest(present, front)
        + _behind(former_after, back)
        for front, back in (
            (before[-window:], re.split(r"[,，;；]", between)[0][:window]),
            (between[-window:], after[:window]),
        )
    )
    years = _years(before[-window:], between, after[:12])
    if years and years[0] != years[1]:
        return int(years[0] < years[1])
    return None if max(one, other) < _SURE or abs(one - other) < 0.05 else int(one > other)


def _years(before: str, between: str, after: str) -> tuple[str, str] | None:
    """The years beside two figures, both in front of them or both behind."""
    first, middle, last = (_YEAR.findall(part) for part in (before, between, after))
    if middle and last:
        return middle[0], last[0]
    return (first[-1], middle[-1]) if first and middle else None


def _nearest(pattern: re.Pattern[str], before: str) -> float:
    """1 for a word right in front of a figure, less for one that is farther away, 0 for none."""
    ends = [match.end() for match in pattern.finditer(before)]
    return 1 / (1 + (len(before) - ends[-1]) / 12) if ends else 0.0


def _behind(pattern: re.Pattern[str], after: str) -> float:
    match = pattern.search(after)
    return 0.9 / (1 + match.start() / 12) if match else 0.0


@cache
def _patterns(language: str) -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    named = (_FORMER[language], _FORMER_AFTER[language], _PRESENT[language])
    former, after, present = (re.compile(words, re.IGNORECASE) for words in named)
    return former, after, present
