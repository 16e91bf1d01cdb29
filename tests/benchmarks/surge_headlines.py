"""Dated headlines of March 2018 to July 2020 as streams of entities: names by word, negative ones by a list of words.

Run it to see how those companies' days vary before 2020, which is what surge_streams.py takes its figures from.
"""

import csv
import re
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray
from surge_streams import DAY, HOUR, Stream

from headwater.data.public import data_folder

NAMES = tuple(
    "China Boeing Fed Tesla Huawei Amazon Apple Facebook Saudi Nissan Airbus Google Deutsche Uber Renault Volkswagen"
    " OPEC Ford Goldman Fiat SoftBank Aramco Brexit Mexico Canada Japan Walmart JPMorgan Fargo Daimler".split()
)
GROUPS = {
    "airlines": "airlines?|airways|flights?|Boeing|Airbus|Ryanair|Lufthansa",
    "cars": "Tesla|Nissan|Renault|Volkswagen|Ford|Fiat|Daimler|BMW|Toyota|automakers?|carmakers?",
    "banks": "banks?|Goldman|JPMorgan|Fargo|Citi|Citigroup|HSBC|Barclays|UBS|Deutsche",
    "oil": "oil|OPEC|crude|Exxon|Chevron|Aramco",
    "trade": "trade|tariffs?",
    "technology": "Huawei|Amazon|Apple|Facebook|Google|Twitter|Microsoft|tech",
}
_NEGATIVE = re.compile(
    r"\b(cuts?|falls?|fell|drops?|dropped|loss(es)?|probes?|lawsuits?|sue[sd]?|fears?|warns?|warning|slump\w*|slides?|plunge\w*|"
    r"crash\w*|recall\w*|fraud|crisis|concerns?|hits?|weak\w*|downgrad\w*|bankrupt\w*|default\w*|layoffs?|strikes?|scandal|"
    r"fine[sd]?|charges?|accus\w+|bans?|banned|delay\w*|miss(es|ed)?|halt\w*|sanction\w*|war|worries|investigat\w+|resign\w*|"
    r"sinks?|tumbl\w+|woes|threat\w*|slow\w*|grounded|grounding)\b",
    re.IGNORECASE,
)


def streams(since: str, until: str, seed: int = 0) -> list[Stream]:
    """Streams of companies, groups and all together, from `since` to before `until` (dates); hours are drawn."""
    rng = np.random.default_rng(seed)
    day = np.concatenate([np.full(7, 0.3), np.full(12, 1.6), np.full(5, 0.6)])
    rows = [(when, text) for when, text in _headlines() if since <= when < until]
    begins = np.array([datetime.fromisoformat(when).replace(tzinfo=UTC).timestamp() for when, _ in rows])
    moments = begins + (rng.choice(24, len(rows), p=day / day.sum()) + rng.random(len(rows))) * HOUR
    negative = np.array([1.0 if _NEGATIVE.search(text) else 0.0 for _, text in rows])
    order = np.argsort(moments, kind="stable")
    found = []
    for name, pattern in {**{name: name for name in NAMES}, **GROUPS, "all": ""}.items():
        wanted = re.compile(rf"\b({pattern})\b", re.IGNORECASE if name in GROUPS else 0) if pattern else re.compile("")
        own = order[[wanted.search(rows[row][1]) is not None for row in order]]
        days = len({rows[row][0] for row in order})
        found.append(Stream(name, negative[own].sum() / days, moments[own], negative[own], np.ones(len(own)), ()))
    return found


def _headlines() -> list[tuple[str, str]]:
    path = data_folder("financial_news_headlines") / "reuters_headlines.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return [(row[0], row[1]) for row in csv.reader(file)]


def main() -> None:
    """Days without the 3 % busiest, around the mean of 41 weekdays: Var = mean + mean² / k."""
    print("entity: stories a weekday, share of negative ones, dispersion k, correlation of the share within a day")
    figures = []
    for one in streams("2018-03-20", "2020-01-01"):
        total, bad = _weekdays(one, np.ones(len(one.moments))), _weekdays(one, one.negative)
        usual = total <= np.quantile(total, 0.97)
        x, y = total[usual], bad[usual]
        many = x >= 2
        if x.mean() < 0.3 or not many.any():
            continue
        level = np.convolve(x, np.ones(41), "same") / np.convolve(np.ones(len(x)), np.ones(41), "same")
        excess = (((x - level) ** 2) * 41 / 40 - level).sum()
        k = (level**2).sum() / excess if excess > 0 else np.inf
        share = y.sum() / x.sum()
        spread = ((y - share * x) ** 2 - share * (1 - share) * x)[many].sum()
        rho = spread / (share * (1 - share) * x * (x - 1))[many].sum()
        if one.name in NAMES:
            figures.append((k, rho))
        print(f"{one.name:12s} {x.mean():5.2f} {share:.2f} {k:6.1f} {rho:6.3f}")
    ks, rhos = zip(*figures, strict=True)
    k, quartile, rho = np.median(ks), np.quantile(ks, 0.25), np.median(rhos)
    print(f"names alone: median k {k:.1f}, quartile {quartile:.1f}, correlation {rho:.3f}")


def _weekdays(one: Stream, counted: NDArray[np.float64]) -> NDArray[np.float64]:
    days = (one.moments // DAY).astype(int)
    counts = np.bincount(days - days.min(), counted)
    # 1970-01-01 was a Thursday.
    return counts[(np.arange(len(counts)) + days.min() + 3) % 7 < 5]


if __name__ == "__main__":
    main()
