"""Whether a match is a company or a word, by what stands around it, English and Chinese."""

import functools
import re
from collections.abc import Iterable
from importlib.resources import files

# What stands after a company's name and after few other words; it tells Orchard plc from an orchard.
_NEXT = re.compile(
    r"^(?:'s|’s)?\s*(?:,\s*)?(?:plc|inc|corp|ltd|group|holdings|shares?|stock|said|says|reports?|reported|posts?|posted|"
    r"names?|appoints?|raises?|cuts?|lifts?|lowers?|beats?|misses|warns?|recalls?|sues|sued|wins?|agrees?|launches|"
    r"plans?|unveils?|unveiled|rose|rises|fell|falls|jumps|jumped|slides|slid|gains|gained|drops|dropped|tumbles|soars|"
    r"plunges|surges|climbs|fined|settles?|settled|will\b|did\b|"
    r"is (?:in talks|suing|buying|selling|cutting|planning|considering)|"
    r"has (?:agreed|bought|sold|cut|raised|put|won|lost|filed|named)|"
    r"to (?:cut|buy|sell|hire|lay|acquire|pay|launch|raise|build|close|open|invest|spin)\b|[-+−]?\d+(?:\.\d+)?\s?%|"
    r"faces|profits?|revenue|sales|chief|ceo|cfo|chair|board|shareholders|investors|results|earnings|bonds?|\()",
    re.IGNORECASE,
)
_BEFORE = re.compile(
    r"(?:(?:shares?|stock) (?:of|in)|maker|giant|rivals?|parent|owner|chain|fines|fined|sues|sued|acquires?)\s+$",
    re.IGNORECASE,
)
# What follows a company in Chinese, and seldom the thing that it is called after (机器人, 太阳能, 老百姓).
_NEXT_ZH = re.compile(
    r"^[”》】]?(?:[（(](?:SH|SZ|BJ)?\d{5,6}|(?:股份|集团|公司|控股)?(?:公告|披露|表示|宣布|称|回应)|(?:股份|集团|公司|控股)(?=[，。、；：:！？\s]|$)|"
    r"发布(?:公告|业绩|年报|半年报|季报)|股价|涨停|跌停|(?:早盘|午后|盘中)?(?:上涨|下跌|涨|跌|涨超|跌超|拉升|跳水)(?=\d|超|逾|近|$)|"
    r"(?:早盘|午后|盘中)|(?:\d{4}年)?(?:上半年|前三季度|[一二三四]季度|全年)?(?:归母)?(?:净利|营收|业绩)|董事|高管|股东|"
    r"拟(?:投资|收购|回购|定增|发行|出售|设立)|(?:被|遭)(?:立案|处罚|问询|减持))"
)
_TITLE_ZH = re.compile(r"^[:：]")
_EXCHANGE_BEFORE = re.compile(
    r"(?:NYSE|NASDAQ|LSE|AMEX|HKEX|SEHK|SSE|SZSE|TSX|ASX|XETRA|SH|SZ|HK)\s*[:：]\s*$", re.IGNORECASE
)
_ADDRESS_NEXT = re.compile(r"^(?:\.[a-z]{2,}|[/@_-])")
# Of a name, words that a text may hold before a ticker for other reasons.
_GENERIC = frozenset("the and for first united general national international american global new".split())
_WORD = re.compile(r"[^\W_]+")


def in_prose(text: str, start: int, end: int) -> bool:
    """Not within an address, a handle or a tag (tesla.com, press@tesla.com, @tesla)."""
    before = text[start - 1] if start else " "
    return before not in "@#/._-:" and not _ADDRESS_NEXT.match(text[end : end + 6])


def is_common(name: str) -> bool:
    """Whether a name, folded (small, simplified characters), is also an everyday word."""
    return name in _common_words()


def reads_as_company(text: str, start: int, end: int) -> bool:
    """A company's surroundings: what it does, owns or is; and a capital, where there are any."""
    following = text[end : end + 32].lstrip(" ")
    if not text[start].isascii():
        heads = start == 0 or text[start - 1] == "\n"
        return bool(_NEXT_ZH.match(following) or (heads and _TITLE_ZH.match(following)))
    if text[start:end].islower():
        return False
    return bool(_NEXT.match(following) or _BEFORE.search(text[max(0, start - 24) : start]))


def marked_as_ticker(text: str, start: int, end: int, ticker: str, names: Iterable[str]) -> bool:
    """$ABC, NYSE: ABC, ABC.L, six figures in brackets, and (ABC) behind the company's name: agencies and parties have
    letters in brackets too. Never the bare letters, which may be a word."""
    if text[start:end].upper() != text[start:end]:
        return False
    if "." in ticker:
        return True
    before, after = text[max(0, start - 12) : start], text[end : end + 1]
    if before.endswith("$") or _EXCHANGE_BEFORE.search(before):
        return True
    in_brackets = before[-1:] in "([（［" and before != "" and after in tuple(")]）］,，;. :")
    return in_brackets and (ticker.isdigit() or _named_before(text[max(0, start - 80) : start], ticker, names))


def _named_before(before: str, ticker: str, names: Iterable[str]) -> bool:
    """Whether one of the company's names, its initials or what the ticker begins like stands in `before`."""
    words = _words_of(before)
    if not words:
        return False
    last = words[-1]
    if len(ticker) >= 3 and (last == ticker.lower() or last[:4] == ticker.lower()[:4]):
        return True
    for name in names:
        own = _words_of(name)
        distinctive = {word for word in own if len(word) >= (3 if word.isascii() else 2)} - _GENERIC
        initials = "".join(word[0] for word in own)
        if distinctive & set(words) or (len(last) >= 3 and initials.startswith(last)):
            return True
        if not name.isascii() and name[:2] in before:
            return True
    return False


def _words_of(text: str) -> list[str]:
    return _WORD.findall(re.sub(r"['’&.]", "", text).lower())


@functools.cache
def _common_words() -> frozenset[str]:
    text = (files("finance_monitor") / "texts" / "common_words.txt").read_text(encoding="utf-8")
    return frozenset(text.split())
