"""Percentile bootstrap intervals (Efron 1979) of means and of arbitrary statistics, plain and paired."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Interval:
    """A value with its bootstrap interval."""

    value: float
    low: float
    high: float


def bootstrap_interval(
    values: NDArray[np.floating],
    statistic: Callable[[NDArray[np.int64]], float] | None = None,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Interval of the mean of `values` [n], or of `statistic(rows)` over resampled row numbers."""
    count = len(values)
    generator = np.random.default_rng(seed)
    drawn = np.empty(resamples)
    for number in range(resamples):
        rows = generator.integers(0, count, count)
        drawn[number] = values[rows].mean() if statistic is None else statistic(rows)
    centre = float(values.mean()) if statistic is None else statistic(np.arange(count))
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(centre, float(low), float(high))


def accuracy_interval(
    right: NDArray[np.bool_] | NDArray[np.floating], *, resamples: int = 1000, level: float = 0.95
) -> Interval:
    """Interval of a share of right answers [n], or of the mean of scores between 0 and 1.

    Where all are right or none is, every resample agrees and a bootstrap claims certainty: there it is Wilson's (1927).
    """
    share, count = float(right.mean()), len(right)
    if 0 < share < 1:
        return bootstrap_interval(right.astype(float), resamples=resamples, level=level)
    reach = NormalDist().inv_cdf((1 + level) / 2) ** 2 / count
    return Interval(share, 1 / (1 + reach), 1.0) if share == 1 else Interval(share, 0.0, reach / (1 + reach))


def paired_bootstrap(
    first: NDArray[np.floating],
    second: NDArray[np.floating],
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Interval of mean(first - second) over the same resampled rows; above 0: the first is better."""
    return bootstrap_interval(
        np.asarray(first, float) - np.asarray(second, float), resamples=resamples, level=level, seed=seed
    )
