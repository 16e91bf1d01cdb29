"""What must not move a label is taken out of a text before the sentiment model reads it.

Countries, persons and genders become fixed words, by order of appearance: so swapping one country for another gives the
model the very same text. Companies are replaced by `finance_monitor.marking`, whose phrases stay as they are.
"""

import functools
import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

from finance_monitor.domain import TARGETS

COUNTRIES = {"en": ("Norway", "Chile", "Kenya"), "zh": ("挪威", "智利", "肯尼亚")}
# Given names that are men's and women's, and family names so rare that they name no other person of a text. The Chinese
# ones have the full length: no longer name begins with one.
PERSONS = (("Alex", "Arden"), ("Robin", "Lorne"), ("Jamie", "Varley"))
PERSONS_ZH = ("林知远", "陈思齐", "许嘉言")

# In babel, but no countries; Jersey is more often New Jersey or a shirt.
_NO_COUNTRIES = {"AQ", "EU", "EZ", "UN", "ZZ", "XA", "XB", "QO", "JE"}
_NOT_A_COUNTRY = (
    "Latin America|Latin American|North America|North American|South America|South American|Central America|"
    "Central American|Native American|African American|Bank of America|New Mexico|Gulf of Mexico|New England|"
    "New South Wales|South China Sea|East China Sea|Indian Ocean"
).split("|")

_WORKS = ("business", "spokes", "sales", "congress", "news", "police", "camera")
_GENDERS = {
    "he she": "they",
    "him her his hers": "their",
    "himself herself": "themselves",
    "woman man gentleman lady": "person",
    "women men gentlemen ladies": "people",
    "chairman chairwoman chairperson": "chair",
    "chairmen chairwomen chairpersons": "chairs",
    "actress": "actor",
    "actresses": "actors",
    "waitress": "waiter",
    "heiress": "heir",
    "landlady": "landlord",
    "hostess": "host",
    "husband wife": "spouse",
    "mother father": "parent",
    "widower": "widow",
    **{f"{work}man {work}woman": f"{work}person" for work in _WORKS},
    **{f"{work}men {work}women": f"{work}people" for work in _WORKS},
}
# Written with a capital these name firms ("Lehman Brothers", "& Sons").
_GENDERS_SMALL = {
    "brother sister": "sibling",
    "brothers sisters": "siblings",
    "son daughter": "child",
    "sons daughters": "children",
    "boy girl": "child",
    "boys girls": "children",
}
_LATIN = re.compile(r"(?<![\w$@#/&])(?:Isle [Oo]f Man|Man (?:Group|City|United|Utd)|Men's Wearhouse|[A-Za-z]+)(?!\w)")
_SEX = re.compile(
    r"\b(?<!male )(?:(?:fe)?male )+(?!(?:fe)?males?\b)(?P<next>[^\W_])|\b(?:fe)?male(?P<plural>s?)\b", re.IGNORECASE
)
_HONORIFICS = re.compile(r"(?<!\w)(?:(?:Mr|Mrs|Ms)\b\.? )+")

_UPPER, _LOWER = "A-ZÀ-ÖØ-ÞĆČĐİŁŃŘŚŞŠŹŻŽ", "a-zß-öø-ÿĀ-ſ"
_PARTICLE = "(?:van der|van den|van de|van|von der|von|de la|de|del|da|dos|di|bin|ibn|al|el|ter|ten) "
_CAPITALISED = re.compile(
    rf"(?<![\w@#$&/-])(?<!\w['’])(?:O['’]|D['’]|Mc|Mac|Di|De|Le|La)?[{_UPPER}][{_LOWER}]+"
    rf"(?:-(?!led\b|backed\b|based\b|owned\b|run\b|style\b|era\b|controlled\b|linked\b|parent\b|maker\b)[A-Za-z][{_LOWER}]+){{0,2}}(?!\w)"
)
# "A" and "I" without a full stop are words.
_INITIAL = r"(?:[A-Z]\.|[B-HJ-Z]) "
_BETWEEN = re.compile(rf" (?:(?:{_INITIAL}){{1,2}}|{_PARTICLE})?")
_CUE = re.compile(
    r"(?:(?<!\w)(?:(?P<honorific>Mr|Mrs|Ms)|President|Speaker|Chancellor|Premier|Minister|Senator|Governor|Secretary|Chair|Judge|Justice|CEO|CFO|"
    rf"COO|[Aa]nalyst|[Ee]conomist|Dr|Prof|Professor|Sir)\.? )(?P<start>(?:{_INITIAL}|{_PARTICLE})?)\Z"
)
_PARTICLE_BEFORE = re.compile(rf"(?<!\w)(?i:{_PARTICLE})\Z")
_AFTER_WORD = re.compile(r"(?<![\w'’-])[a-z]+,? \Z")
_CUE_LENGTH = 24
# A headline In Title Case has no other small words of four letters.
_SMALL = re.compile(
    r"(?<![\w-])(?!(?:after|about|amid|over|with|from|into|versus|under|between|against|despite|before|through|than|near|"
    r"upon|their|they)\b)[a-z]{4}"
)
_HAN = re.compile(r"[\u4e00-\u9fff]")


def neutral(text: str, language: str) -> str:
    """`text` with fixed words for its countries and persons and none for a gender; a second time changes nothing.

    The rules are those of Chinese for "zh" and of English for every other language, as in `marking`.
    """
    if language == "zh":
        return _countries(_persons_zh(_genders_zh(text)), "zh")
    # Genders first: they bring persons together that a word stood between. Countries last: Jordan may be a person.
    return _countries(_persons(_genders(text)), "en")


@functools.cache
def _lists() -> Any:
    return tomllib.loads((files("finance_monitor") / "texts" / "names.toml").read_text(encoding="utf-8"))


@functools.cache
def _words(name: str, section: str = "persons") -> frozenset[str]:
    return frozenset(_lists()[section][name].split())


def _any_of(words: Iterable[str], before: str = "") -> str:
    """A pattern for the longest of the words, not after `before`; by first letters, to which `re` skips fast."""
    groups: dict[str, list[str]] = {}
    for word in sorted(set(words), key=lambda word: (-len(word), word)):
        groups.setdefault(word[0], []).append(re.escape(word[1:]))
    return "|".join(
        first + (f"(?<!{before}{first})" if before else "") + f"(?:{'|'.join(rest)})" for first, rest in groups.items()
    )


@functools.cache
def _country_codes(language: str) -> Mapping[str, str]:
    """Each word for a country -> its code; phrases that only look like one -> nothing."""
    from babel import Locale

    territories = Locale(language).territories.items()
    codes = {name: code for code, name in territories if len(code) == 2 and code not in _NO_COUNTRIES}
    further = _lists()["countries" if language == "en" else "countries_zh"]
    codes |= {word.strip(): code for code, words in further.items() for word in words.split(",")}
    if language == "zh":
        return codes
    for name, code in list(codes.items()):
        forms = {name, name.replace("&", "and"), name.replace("’", "'"), name.replace("St.", "St"), name.split(" (")[0]}
        forms |= {form.replace(" of ", " Of ").replace(" the ", " The ") for form in forms}
        codes |= dict.fromkeys(forms | {form.upper() for form in forms if len(form) > 3}, code)
    return codes | dict.fromkeys(_NOT_A_COUNTRY, "")


@functools.cache
def _country_pattern(language: str) -> re.Pattern[str]:
    names = _country_codes(language)
    if language == "en":
        return re.compile("(?:" + _any_of(names, before=r"[\w/@]") + r")(?![\w$])")
    # 中美国债 is the debt of both, 恒德国际 a firm, and 今日本公司 has no Japan in it.
    special = r"(?<![^在为由对向与和及、，。：；“《\s])日本(?=公司)|日本(?!公司)|(?<!中)美国(?!际)"
    return re.compile(f"{special}|(?:" + _any_of(set(names) - {"日本", "美国"}) + ")(?!(?<=国)际)")


def _countries(text: str, language: str) -> str:
    codes, words = _country_codes(language), COUNTRIES[language]
    seen: dict[str, int] = {}
    parts: list[str] = []
    done, last = 0, len(text.rstrip())
    for match in _country_pattern(language).finditer(text):
        code = codes[match[0]]
        if not code:
            continue
        word = words[min(seen.setdefault(code, len(seen)), 2)]
        start, end = match.span()
        if language == "en":
            start, article = _article(text, done, start)
            possessive = _possessive(text, end)
            word = f"{article}{word}{possessive}"
            # A last full stop goes: that of "in the U.S." may be the sentence's as well.
            end += 1 if possessive or text[end:last] == "." else 0
        parts += [text[done:start], word]
        done = end
    return "".join([*parts, text[done:]]) if parts else text


def _article(text: str, low: int, start: int) -> tuple[int, str]:
    """Where the articles before `start` begin, and what stays of them.

    "the" goes before every country, noun or adjective: no rule tells "the US carmaker" from "in the US carmakers", and
    "in Germany" has none to begin with. "a" and "an" become "a", as the fixed words need it.
    """
    kept = ""
    while True:
        before = text[max(low, start - 5) : start]
        found = re.search(r"(?<![\w-])(the|an?) \Z", before, re.IGNORECASE)
        if not found:
            return start, kept
        start -= len(found[0])
        if found[1][0] in "aA":
            kept = f"{found[1][0]} "


def _possessive(text: str, end: int) -> str:
    """ "Wales' banks" is said like "Norway's banks"; nothing where the word has no bare apostrophe."""
    return f"{text[end]}s" if text[end - 1 : end] in ("s", "S") and text[end : end + 2] in ("' ", "’ ") else ""


@functools.cache
def _gender_words() -> Mapping[str, str]:
    table: dict[str, str] = {}
    for words, word in _GENDERS.items():
        for one in words.split():
            table |= {one: word, one.capitalize(): word.capitalize()}
    table |= {one.upper(): table[one].upper() for one in ("he", "she", "his", "chairman", "chairwoman")}
    return table | {one: word for words, word in _GENDERS_SMALL.items() for one in words.split()}


def _genders(text: str) -> str:
    table = _gender_words()
    text = _LATIN.sub(lambda match: table.get(match[0], match[0]), text)
    return _SEX.sub(_sex, text) if "male" in text.lower() else text


def _sex(match: re.Match[str]) -> str:
    """Nothing before a noun, which takes over a first capital; "person" where no noun follows ("male and female")."""
    if match["next"]:
        return match["next"].upper() if match[0][0].isupper() else match["next"]
    return "people" if match["plural"] else "person"


def _plain(word: str) -> str:
    word = word.lower().replace("’", "'")
    if word.isascii():
        return word
    word = word.translate(str.maketrans("łøđıßæ", "lodisa"))
    return "".join(c for c in unicodedata.normalize("NFD", word) if not unicodedata.combining(c))


class _Reading:
    """The capitalised words of one English text, and which of them are a person's."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.spans = [match.span() for match in _CAPITALISED.finditer(text)]
        self.words = [_plain(text[start:end]) for start, end in self.spans]
        self.sentence = bool(_SMALL.search(text))
        self.people: dict[str, int] = {}  # by full name, by family name, and by "title" with a family name
        self.count = 0
        self.places: list[tuple[int, int, str]] = []

    def read(self) -> list[tuple[int, int, str]]:
        """(start, end, what to write there), in reading order."""
        rest: list[int] = []
        place = 0
        while place < len(self.words):
            length = self._full_name(place)
            length = length or self._after_title(place)
            if not length:
                rest.append(place)
            place += length or 1
        for place in rest if self.people else ():
            if (word := self.words[place]) in self.people and word not in ("will", "may"):
                self._write(*self.spans[place], word, full=False)
        return sorted(self.places)

    def _next(self) -> int:
        self.count += 1
        return self.count - 1

    def _gap(self, place: int) -> str | None:
        """What stands between a word and the next, where both may be one name."""
        if place + 1 >= len(self.words):
            return None
        start, end = self.spans[place][1], self.spans[place + 1][0]
        return self.text[start:end] if end - start < 12 and _BETWEEN.fullmatch(self.text, start, end) else None

    def _full_name(self, place: int) -> int:
        """How many words are a person's name; 0 where none begins."""
        gap = self._gap(place)
        if gap is None:
            return 0
        first, last = self.words[place : place + 2]
        fixed = (first.capitalize(), last.capitalize()) in PERSONS
        if not fixed and not self._named(place, first, last, gap):
            return 0
        eastern = _eastern(first, last)
        if not fixed and self._gap(place + 1) == " " and self.words[place + 2] in _words("firm_words"):
            return 0
        length = self._longer(place, 2, eastern)
        key = first if eastern else self.words[place + length - 1]
        full = " ".join(self.words[place : place + length])
        if full not in self.people:
            number = self.people.get(f"title {key}")
            self.people[full] = self._next() if number is None else number
            self.people.setdefault(key, self.people[full])
        self._write(self.spans[place][0], self.spans[place + length - 1][1], full, full=True)
        return length

    def _named(self, place: int, first: str, last: str, gap: str) -> bool:
        given, family, ordinary = _words("given"), _words("family"), _words("ordinary")
        if {first, last} & _fixed_family() or last in _fixed_given() or f"{first}-{last}" in _words("firms"):
            return False
        before = self.words[place - 1] if place and self.spans[place][0] - self.spans[place - 1][1] <= 2 else ""
        if before in _words("places"):
            return False
        known = (first in given or first in _words("family_first")) and _known(last)
        if known and last != "will" and not {first, last} <= ordinary:
            return first in given or last not in ordinary
        if _no_name(first) or _no_name(last):
            return False
        strong = first not in ordinary and (first in given or first in _words("family_first"))
        if gap != " ":
            return strong or (last in family and first not in ordinary)
        if not self.sentence:
            return False
        start, end = self.spans[place][0], self.spans[place + 1][1]
        inside = _AFTER_WORD.search(self.text[max(0, start - 20) : start])
        signed = self.text[max(0, start - 2) : start] == ": " and self.text[end : end + 1] in ("", ",")
        return strong or ((bool(inside) or signed) and last in family and last not in ordinary)

    def _longer(self, place: int, length: int, eastern: bool) -> int:
        """The length of a name with the further names behind it ("Goh Choon Phong", "Sarah Jessica Parker")."""
        while self._gap(place + length - 1) == " ":
            word = self.words[place + length]
            open_ended = eastern and length == 2 and self.sentence
            if _no_name(word) or word in _words("ordinary") or word in _fixed_given():
                break
            if not (_known(word) or open_ended):
                break
            length += 1
        return length

    def _after_title(self, place: int) -> int:
        """A family name alone behind "Mr" or "President": the first such names the person, as a full name does."""
        start = self.spans[place][0]
        low = max(0, start - _CUE_LENGTH)
        cue = _CUE.search(self.text[low:start])
        word = self.words[place]
        known = word in _words("family") or word in _words("family_first")
        if not cue or word in _fixed_given() or (_no_name(word) and not (known and cue["honorific"])):
            return 0
        if not cue["honorific"] and (not known or (word in _words("ordinary") and word not in self.people)):
            return 0
        length = self._longer(place, 1, eastern=False)
        new = word not in self.people
        if new:
            self.people[word] = self.people[f"title {word}"] = self._next()
        self._write(low + cue.start("start"), self.spans[place + length - 1][1], word, full=new)
        return length

    def _write(self, start: int, end: int, key: str, *, full: bool) -> None:
        if (
            not full
            and key not in _fixed_family()
            and (particle := _PARTICLE_BEFORE.search(self.text[max(0, start - 10) : start]))
        ):
            start -= len(particle[0])
        name = PERSONS[min(self.people[key], 2)]
        more = _possessive(self.text, end)
        self.places.append((start, end + (len(more) and 1), (" ".join(name) if full else name[1]) + more))


@functools.cache
def _fixed_given() -> frozenset[str]:
    return frozenset(given.lower() for given, _ in PERSONS)


@functools.cache
def _fixed_family() -> frozenset[str]:
    return frozenset(family.lower() for _, family in PERSONS)


def _known(word: str) -> bool:
    return word in _words("given") or word in _words("family") or word in _words("family_first")


def _eastern(first: str, last: str) -> bool:
    """Whether the family name stands first: Kim Jong-un, unlike Kim Clark."""
    if first not in _words("family_first"):
        return False
    return first not in _words("given") or (last in _words("given") and last not in _words("family"))


@functools.cache
def _country_words() -> frozenset[str]:
    return frozenset(_plain(name) for name in _country_codes("en") if " " not in name)


def _no_name(word: str) -> bool:
    return any(word in words for words in (_words("never"), _words("firm_words"), _words("places"), _country_words()))


def _persons(text: str) -> str:
    parts: list[str] = []
    done = 0
    for start, end, name in _Reading(text).read():
        parts += [text[done:start], name]
        done = end
    text = "".join([*parts, text[done:]]) if parts else text
    return _HONORIFICS.sub("", text) if "Mr" in text or "Ms" in text else text


@functools.cache
def _zh_patterns() -> Mapping[str, re.Pattern[str]]:
    compound, roles, nouns, firm_words = (
        _any_of(_words(name, "persons_zh")) for name in ("compound", "roles", "nouns", "firm_words")
    )
    stop = _lists()["persons_zh"]["stop"]
    family = f"(?:{compound}|[{''.join(_words('family', 'persons_zh'))}])"
    return {
        "role": re.compile(f"(?:{roles})[ \u3000]?(?={family})"),
        "honorific": re.compile(f"{family}(?:(?![司{stop}])[\u4e00-\u9fff]){{0,2}}(?=先生)"),
        "firm": re.compile(f"[^本{stop}]{{2,3}}(?:{firm_words})"),
        "sex": re.compile(f"(?<![男女])(?<![男女]性)[男女](?:性?[男女])*性?(?={nouns})"),
    }


def _genders_zh(text: str) -> str:
    for words, word in (("她", "他"), ("女士|小姐", "先生"), ("妻子|丈夫", "配偶"), ("女子|男子", "人士")):
        for one in words.split("|"):
            text = text.replace(one, word)
    return _zh_patterns()["sex"].sub("", text) if "男" in text or "女" in text else text


def _persons_zh(text: str) -> str:
    patterns = _zh_patterns()
    spans = [(m.end(), m.end() + _zh_name(text, m.end())) for m in patterns["role"].finditer(text)]
    if "先生" in text:
        spans += [match.span() for match in patterns["honorific"].finditer(text)]
    people: dict[str, int] = {}
    for start, end in sorted(spans):
        if end > start:
            people.setdefault(text[start:end], len(people))
    if not people:
        return text
    # Every further mention of the full name as well; a family name alone only before its 先生.
    parts: list[str] = []
    done = 0
    for match in re.finditer(f"[{''.join({name[0] for name in people})}]", text):
        start = match.start()
        for end in range(start + 4, start, -1) if start >= done else ():
            name = text[start:end]
            if name in people and (len(name) > 1 or text.startswith("先生", end)):
                parts += [text[done:start], PERSONS_ZH[min(people[name], 2)]]
                done = start + len(name)
                break
    return "".join([*parts, text[done:]])


def _zh_name(text: str, start: int) -> int:
    """The length of the name at `start`: a family name and one or two characters, 0 where it reads as other words.

    Two, as most names have, unless the second character ends a name ("李明在…") or begins a known word ("李明宣布…").
    """
    near = text[start : start + 8]
    family = 2 if near[:2] in _words("compound", "persons_zh") else 1
    if near[:2] in _words("not_names", "persons_zh") or _zh_patterns()["firm"].match(near):
        return 0
    stop, after = _lists()["persons_zh"]["stop"], _words("after", "persons_zh")

    def ends(place: int) -> bool:
        if near[place : place + 1] == "和" and near[place + 1 : place + 3] in after:
            return False  # 阮清和辞职: no second person follows
        if not _HAN.match(near, place) or near[place] in stop or near[place : place + 2] in after:
            return True
        return near.startswith(TARGETS["zh"], place) or bool(_country_pattern("zh").match(near, place))

    if ends(family):
        return 0
    return family + (1 if ends(family + 1) else 2)
