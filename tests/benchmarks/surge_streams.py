"""Replays of 180 days with known surges, for the benchmark `surges`; fixed before any detector was fitted to them.

The usual days follow what 32,770 dated headlines do in March 2018 to December 2019, about the season's level, without
the 3 % busiest days (print it with `tests/benchmarks/surge_headlines.py`): a weekend day brings .17 of a weekday's
stories; 26 % are negative; days are negative binomial, tied to the day before, and the share of negative stories varies
within a day. Both are the milder the more stories there are: at about 1 a day (companies) the dispersion is 5 and the
correlation .067, at 3.3 (sectors) 14 and .034, at 46 (all) 26 and .007. The powers of the daily number of stories below
go near these. `restless=True` keeps 5 and .067 at every level, as if a company with sixty stories a day varied like one
with a single story: there even a test that knows all of an entity's parameters finds half of the surges of factor 4, so
it is shown and has no bar.

An entity has a level of negative stories a day (LEVELS), a share of negative ones, an own dispersion, a slow drift, the
hours of one of three regions, days off, and bursts of news that is not negative (a launch, results: others × 3 to 6
for 8 to 24 hours). A story counts in full or in part, as relevance and novelty make it.

An injection is 24 hours, from a random moment of a random day, any weekday, in which negative stories come at 2, 4 or 8
times the entity's usual rate of those very hours: Poisson, on top of what that day brings anyway. Each entity has one
of each factor, in random order and at least eight days apart: 30 entities, so 30 random days a factor and seed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HOUR, DAY = 3600.0, 86_400.0
START = 1_735_516_800.0  # Monday, 2024-12-30
DAYS = 180
ENTITIES = 30
FACTORS = (2.0, 4.0, 8.0)
# Negative stories a day, six entities a seed at each: from a few a week to tens a day.
LEVELS = (0.5, 1.5, 4.0, 8.0, 16.0)
LENGTH = 24 * HOUR
# Everything is chosen on the first, the figures are those of the second.
FIT_SEEDS = (101, 102, 103, 104)
TEST_SEEDS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
_WARM_DAYS, _APART_DAYS = 35, 8
_WEEKEND = 0.17
# Opening and closing hours of a region's market, UTC.
_REGIONS = ((14, 21), (7, 16), (1, 8))


@dataclass(frozen=True)
class Injection:
    """`usual`: negative stories that these 24 hours bring without it, on average."""

    start: float
    factor: float
    usual: float


@dataclass(frozen=True)
class Stream:
    """One entity's stories, ordered: epoch seconds, 1 where negative, weights; and its surges."""

    name: str
    level: float
    moments: NDArray[np.float64]
    negative: NDArray[np.float64]
    weights: NDArray[np.float64]
    injections: tuple[Injection, ...]


def replay(seed: int, days: int = DAYS, entities: int = ENTITIES, restless: bool = False) -> list[Stream]:
    """The streams of one seed; an entity's stream depends on the seed and its number alone."""
    off = set(np.random.default_rng([seed, 0]).choice(days, size=days // 45, replace=False).tolist())
    return [_stream(seed, number, days, off, restless) for number in range(entities)]


def _stream(seed: int, number: int, days: int, off: set[int], restless: bool) -> Stream:
    rng = np.random.default_rng([seed, number + 1])
    level = LEVELS[number % len(LEVELS)]
    share = rng.uniform(0.15, 0.35)
    hours = np.arange(days * 24)
    usual = level / 24 * _hours_of(rng.integers(len(_REGIONS)), days, off) * _drift(rng, days)
    attention, shares = _days(rng, days, share, 1.0 if restless else level / share)
    bad = usual * (attention * shares / share)[hours // 24]
    other = usual / share * (attention * (1 - shares))[hours // 24]
    for begin, end, size, darker in _bursts(rng, days):
        other[begin:end] *= size
        bad[begin:end] *= darker
    injections = _injections(rng, days, usual)
    moments = [_arrivals(rng, bad, 0), _arrivals(rng, other, 0)]
    flags = [np.ones(len(moments[0])), np.zeros(len(moments[1]))]
    for one in injections:
        begin = round((one.start - START) / HOUR)
        extra = _arrivals(rng, (one.factor - 1) * usual[begin : begin + 24], begin)
        moments.append(extra)
        flags.append(np.ones(len(extra)))
    at, negative = np.concatenate(moments), np.concatenate(flags)
    weights = np.where(rng.random(len(at)) < 0.6, 1.0, rng.uniform(0.3, 1.0, len(at)))
    order = np.argsort(at, kind="stable")
    return Stream(f"{seed}-{number}", level, at[order], negative[order], weights[order], injections)


def _hours_of(region: int, days: int, off: set[int]) -> NDArray[np.float64]:
    """How busy each hour of the replay is; a week has mean 1."""
    opens, closes = _REGIONS[region]
    hour = np.arange(24)
    day = np.where((hour >= opens - 2) & (hour <= closes + 2), 1.0, 0.25)
    day[[opens, closes]] = 1.6
    week = np.concatenate([day * (_WEEKEND if weekday > 4 else 1.0) for weekday in range(7)])
    week /= week.mean()
    hours = np.tile(week, days // 7 + 1)[: days * 24]
    for holiday in off:
        if holiday % 7 < 5:
            hours[holiday * 24 : holiday * 24 + 24] *= _WEEKEND
    return hours


def _drift(rng: np.random.Generator, days: int) -> NDArray[np.float64]:
    at = np.arange(days * 24) / 24
    wave = rng.uniform(0, 0.3) * np.sin(2 * np.pi * (at / rng.uniform(60, 180) + rng.random()))
    return np.exp(wave + rng.uniform(-0.3, 0.3) * (at / days - 0.5))


def _days(
    rng: np.random.Generator, days: int, share: float, stories: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Attention (mean 1, gamma) and share of negative stories of each day; half of a day's attention is the last's."""
    k = 5 * stories**0.43 * float(np.exp(0.5 * rng.standard_normal()))
    strength = 15 * stories**0.59 * float(np.exp(0.5 * rng.standard_normal()))
    # The mean of two neighbours from a series of twice the variance: variance 1 / k, correlation .5.
    twice = rng.gamma(k / 2, 2 / k, days + 1)
    return (twice[1:] + twice[:-1]) / 2, rng.beta(share * strength, (1 - share) * strength, days)


def _bursts(rng: np.random.Generator, days: int) -> list[tuple[int, int, float, float]]:
    begins = rng.integers(0, days * 24, rng.poisson(days / 30))
    return [(b, b + int(rng.integers(8, 25)), rng.uniform(3, 6), rng.uniform(1, 1.5)) for b in begins.tolist()]


def _injections(rng: np.random.Generator, days: int, usual: NDArray[np.float64]) -> tuple[Injection, ...]:
    part = (days - _WARM_DAYS - 4) // len(FACTORS)
    found = []
    for place, factor in enumerate(rng.permutation(FACTORS).tolist()):
        day = _WARM_DAYS + place * part + int(rng.integers(0, part - _APART_DAYS))
        begin = day * 24 + int(rng.integers(24))
        found.append(Injection(START + begin * HOUR, factor, float(usual[begin : begin + 24].sum())))
    return tuple(found)


def _arrivals(rng: np.random.Generator, rates: NDArray[np.float64], begin: int) -> NDArray[np.float64]:
    """Moments of a Poisson process with these hourly rates, from hour `begin` of the replay."""
    counts = rng.poisson(rates)
    hours = np.repeat(np.arange(len(rates)) + begin, counts)
    return START + (hours + rng.random(len(hours))) * HOUR
