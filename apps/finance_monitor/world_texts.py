"""How the sample world tells an event: the facts of it, and the wordings of a frame."""

import math
import random
import re
from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from finance_monitor.world_bank import CHINESE_REGIONS, ZONES, Bank, Company, Frame, lines_of

CHOICE = re.compile(r"\[([^\[\]]*)\]")
MONEY = {
    "GB": "£{} million", "US": "${} million", "CA": "C${} million", "AU": "A${} million", "JP": "{} million yen",
    "IN": "{} million rupees", "CN": "{} million yuan", "HK": "HK${} million", "TW": "T${} million",
    "NO": "{} million crowns", "SE": "{} million crowns",
}  # fmt: skip
UNIT = {"GB": "£", "US": "$", "CA": "C$", "AU": "A$", "JP": "¥", "IN": "Rs ", "CN": "CNY ", "TW": "T$"}
MONEY_ZH = {"GB": "英镑", "US": "美元", "JP": "日元", "CN": "元", "TW": "新台币", "DE": "欧元"}
QUARTERS = ("first", "second", "third", "fourth")
QUARTERS_ZH = ("一", "二", "三", "四")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip


class Facts(dict[str, str]):
    """The facts of one event, each drawn when first named and the same from then on.

    `{pct}` and `{pct2}` are two values of one kind. `{rev_lo}` and `{rev_hi}` lie `{pct}` per cent under and over
    `{rev}`, so that "rose {pct}% to {rev} from {rev_lo}" is true; `{prof_lo}` and `{prof_hi}` likewise with `{pct2}`.
    `{eps_hi}` is a cent over `{eps}`, `{eps_lo}` a few under it.
    """

    def __init__(
        self,
        rng: random.Random,
        bank: Bank,
        language: str,
        when: datetime,
        company: Company | None,
        other: Company | None,
    ) -> None:
        super().__init__()
        self.rng, self.language, self.when = rng, language, when
        self.company, self.partner = company, other
        self.names = bank.context[language]["names"]
        self.used: set[str] = set()
        self.cents = 0
        home = company or other
        self.country = (
            home.country if home else rng.choice(("GB", "US", "DE") if language == "en" else CHINESE_REGIONS[:1])
        )
        self.scale = math.exp(rng.uniform(4.2, 8.4))

    def __missing__(self, key: str) -> str:
        base, _, variant = key.partition("_")
        base = base.rstrip("0123456789")
        taken = {self[name] for name in list(self) if name.rstrip("0123456789") == base}
        for _ in range(6):
            value = self._value(base, variant, key)
            if value not in taken:
                break
        self[key] = value
        return value

    def _value(self, base: str, variant: str, key: str) -> str:
        subject = self.partner if base == "other" else self.company
        if base == "other":
            self.used.add("other")
        if base in ("rev", "prof"):
            return self._result(base, variant)
        if base == "eps" and variant:
            self._of_eps()
            return self[key]
        made = getattr(self, f"_of_{base}", None)
        if made is not None:
            return str(made())
        if subject is not None:
            found = self._of_company(variant if base == "other" and variant else base, subject)
            if found:
                return found
        return self.rng.choice(self._pool(base, key))

    def _pool(self, base: str, key: str) -> Sequence[str]:
        by_country = self.names.get(f"{base}_{self.country}")
        pool: Sequence[str] = by_country or self.names.get(base) or ()
        if not pool:
            raise KeyError(f"the frames name a fact that nothing gives: {{{key}}} ({self.language})")
        return pool

    def _of_company(self, key: str, company: Company) -> str:
        zh = self.language == "zh"
        if key in ("co", "other"):
            return company.short(self.language)
        if key == "full":
            return (company.full_zh if zh else company.name) or company.short(self.language)
        if key in ("city", "chief", "product"):
            return company.profile[key + ("_zh" if zh else "")]
        if key == "finance":
            return company.profile["finance"]
        return {"ticker": company.ticker, "exchange": company.exchange}.get(key, "")

    def _money(self, millions: float) -> str:
        if self.language == "zh":
            return _chinese_amount(millions) + MONEY_ZH.get(self.country, "欧元")
        pattern = MONEY.get(self.country, "€{} million")
        if millions >= 1000:
            return pattern.format(f"{millions / 1000:.2f}".rstrip("0").rstrip(".")).replace("million", "billion")
        return pattern.format(f"{millions:.1f}".rstrip("0").rstrip(".") if millions < 100 else f"{millions:.0f}")

    def _result(self, base: str, variant: str) -> str:
        amount = self.scale if base == "rev" else self.scale * 0.11
        change = float(self["pct" if base == "rev" else "pct2"]) / 100
        return self._money(amount * {"lo": 1 / (1 + change), "hi": 1 / (1 - change), "": 1.0}[variant])

    def _of_pct(self) -> str:
        return f"{self.rng.uniform(1.2, 14.8):.1f}"

    def _of_big(self) -> str:
        return str(self.rng.randint(16, 47))

    def _of_money(self) -> str:
        return self._money(float(f"{math.exp(self.rng.uniform(2.3, 6.8)):.2g}"))

    def _of_small(self) -> str:
        return self._money(float(f"{math.exp(self.rng.uniform(0.1, 2.6)):.2g}"))

    def _of_n(self) -> str:
        return str(self.rng.randint(11, 96))

    def _of_few(self) -> str:
        return self.rng.choice(
            ("two", "three", "four", "five", "six", "seven") if self.language == "en" else "两三四五六七"
        )

    def _of_jobs(self) -> str:
        number = self.rng.randint(12, 240) * self.rng.choice((10, 10, 25))
        return f"{number:,}" if self.language == "en" else str(number)

    def _of_eps(self) -> str:
        cents, short = self.rng.randint(18, 240), self.rng.randint(2, 9)
        # Where a neighbour was named first, it has settled the figure.
        self.cents = self.cents or cents
        self["eps_hi"], self["eps_lo"] = self._price(self.cents + 1), self._price(self.cents - short)
        return self._price(self.cents)

    def _price(self, cents: int) -> str:
        if self.language == "zh":
            return f"{cents / 100:.2f}元"
        return f"{cents} pence" if self.country == "GB" else f"{UNIT.get(self.country, '€')}{cents / 100:.2f}"

    def _of_px(self) -> str:
        return self._price(self.rng.randint(340, 9800))

    def _of_bp(self) -> str:
        return str(self.rng.choice((10, 20, 25, 30, 40, 50, 75)))

    def _of_year(self) -> str:
        return str(self.when.year)

    def _of_nextyear(self) -> str:
        return str(self.when.year + 1)

    def _of_lastyear(self) -> str:
        return str(self.when.year - 1)

    def _quarter(self) -> int:
        return ((self.when.month - 1) // 3 + 3) % 4

    def _of_q(self) -> str:
        return (
            f"{QUARTERS[self._quarter()]}-quarter" if self.language == "en" else f"{QUARTERS_ZH[self._quarter()]}季度"
        )

    def _of_period(self) -> str:
        return f"the three months to {MONTHS[self._quarter() * 3 + 2]}" if self.language == "en" else f"第{self['q']}"

    def _of_weekday(self) -> str:
        local = self.when.astimezone(ZoneInfo(ZONES[self.country]))
        return WEEKDAYS[local.weekday()] if self.language == "en" else f"{local.month}月{local.day}日"

    def _of_month(self) -> str:
        month = (self.when.month + self.rng.randint(1, 5)) % 12
        return MONTHS[month] if self.language == "en" else f"{month + 1}月"

    def _of_former(self) -> str:
        return self.company.former if self.company else ""


def _chinese_amount(millions: float) -> str:
    if millions >= 100:
        return f"{millions / 100:.2f}亿"
    return f"{millions * 100:.0f}万"


def tell(text: str, rng: random.Random, facts: Facts) -> str:
    """One wording of a frame's line: choices drawn, facts filled in, the first letter large."""
    text = CHOICE.sub(lambda found: rng.choice(found[1].split("|")), text)
    text = text.format_map(facts)
    return text[:1].upper() + text[1:]


def sentences(bank: Bank, rng: random.Random, frame: Frame, facts: Facts) -> list[str]:
    """The body: the event itself, then the company's trade, its shares and what brokers make of it."""
    context = bank.context[frame.language]
    own = rng.sample(frame.body, min(len(frame.body), rng.randint(4, 7)))
    around: list[str] = []
    if facts.company is not None:
        around += rng.sample(lines_of(context["sector"][facts.company.sector]), rng.randint(1, 2))
        if rng.random() < 0.55:
            around.append(rng.choice(lines_of(context["shares"][frame.polarity])))
        if rng.random() < 0.5:
            around.append(rng.choice(lines_of(context["broker"][frame.polarity])))
        if rng.random() < 0.55:
            around.append(rng.choice(lines_of(context["about"]["company"])))
    around += [rng.choice(lines_of(context["about"]["closing"]))] if rng.random() < 0.35 else []
    return [tell(line, rng, facts) for line in own + around]


def in_paragraphs(rng: random.Random, first: str, told: list[str], language: str) -> tuple[str, ...]:
    """The lede, then paragraphs of one to three sentences, at most seven in all."""
    made, gap = [first], " " if language == "en" else ""
    while told:
        size = rng.choice((1, 2, 2, 3))
        made.append(gap.join(told[:size]))
        told = told[size:]
    while len(made) > 7:
        last = made.pop()
        made[-1] += gap + last
    return tuple(made)
