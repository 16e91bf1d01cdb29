"""Rivals of the surge test: a score at each article of a stream, of what was known by then, and a threshold for it."""

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray
from surge_streams import DAYS, HOUR, START, Stream

Scores = NDArray[np.float64]
HISTORY = 28 * 24  # hours


def gaussian(stream: Stream, window: int, same_weekday: bool) -> Scores:
    """Negative stories of the last `window` hours, in standard deviations above the mean of such windows of 28 days;
    `same_weekday`: of those that ended at this hour of this weekday or, at weekends, of a weekend's day."""
    counts, hours = _windows(stream, window), _hours(stream)
    weekend = (np.arange(len(counts)) // 24) % 7 > 4
    mean, deviation = np.zeros(len(counts)), np.ones(len(counts))
    for days in (weekend, ~weekend) if same_weekday else (np.ones(len(counts), bool),):
        number, total, square = (_past_sums(days * values, window) for values in (counts**0, counts, counts**2))
        told = days & (number > 24)
        mean[told] = (total / np.maximum(number, 1))[told]
        deviation[told] = np.sqrt(np.maximum(0.0, square / np.maximum(number, 1) - mean**2))[told]
    return (_last(stream, window) - mean[hours]) / np.maximum(deviation[hours], 0.5)


def _past_sums(values: Scores, window: int) -> Scores:
    """For each hour the sum over the 28 days before it, without the newest `window` hours."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    hour = np.arange(len(values))
    return sums[np.maximum(0, hour - window)] - sums[np.maximum(0, hour - HISTORY)]


def ewma(stream: Stream, hours: int, weight: float) -> Scores:
    """A control chart of negative stories in blocks of so many hours, by an exponentially weighted mean; the limits
    come from 28 days of blocks. The running block counts as it is."""
    blocks = _by_hour(stream).reshape(-1, hours).sum(1)
    smooth = np.zeros(len(blocks) + 1)
    for number, count in enumerate(blocks):
        smooth[number + 1] = weight * count + (1 - weight) * smooth[number]
    span = HISTORY // hours
    at = ((stream.moments - START) // (hours * HOUR)).astype(int)
    mean, deviation = np.zeros(len(blocks)), np.ones(len(blocks))
    for block in np.unique(at):
        past = blocks[max(0, block - span) : block]
        if len(past) > 3:
            mean[block], deviation[block] = past.mean(), past.std()
    running = _last_since(stream, START + at * hours * HOUR)
    value = weight * running + (1 - weight) * smooth[at]
    return (value - mean[at]) / np.maximum(deviation[at], 0.3) / np.sqrt(weight / (2 - weight))


def river_gaussian(stream: Stream, window: int, size: int) -> Scores:
    """river.anomaly.GaussianScorer on negative stories of the last `window` hours, learnt hour by hour; its score is
    the two-sided tail, so that fewer than usual score nothing here. As -log10, to tell the far tail apart."""
    from river.anomaly import GaussianScorer

    model = GaussianScorer(window_size=size, grace_period=168)
    counts, learnt, scores = _windows(stream, window), 0, np.zeros(len(stream.moments))
    for row, (hour, count) in enumerate(zip(_hours(stream), _last(stream, window), strict=True)):
        while learnt < hour:
            model.learn_one(None, counts[learnt])
            learnt += 1
        mean = model.gaussian.mu
        scores[row] = -np.log10(max(1e-16, 1 - model.score_one(None, count))) if count > mean else 0.0
    return scores


def river_adwin(stream: Stream, window: int, delta: float) -> Scores:
    """river.drift.ADWIN on the negative stories of each `window` hours: where it finds that the mean rose, by how many
    standard deviations the newest window lies above its mean; else 0."""
    from river.drift import ADWIN

    model = ADWIN(delta=delta, clock=1, grace_period=10)
    blocks = _by_hour(stream).reshape(-1, window).sum(1)
    rises = np.zeros(len(blocks) + 1)
    for number, count in enumerate(blocks):
        before, deviation = model.estimation, np.sqrt(max(0.1, model.variance))
        model.update(count)
        rises[number + 1] = (count - before) / deviation if model.drift_detected and count > before else 0.0
    # A block is known when it is over: articles of the block behind it see its finding.
    return rises[((stream.moments - START) // (window * HOUR)).astype(int)]


def rivals(with_river: bool) -> Iterator[tuple[str, str, Callable[[Stream], Scores]]]:
    """(family, settings, scorer); of each family the best one on the fit seeds is taken."""
    for window, same in product((6, 12, 24), (False, True)):
        yield "windowed Gaussian", f"{window} h, {same}", lambda s, w=window, v=same: gaussian(s, w, v)
    for hours, weight in product((6, 12, 24), (0.2, 0.4, 0.7)):
        yield "EWMA", f"{hours} h, {weight}", lambda s, h=hours, w=weight: ewma(s, h, w)
    if with_river:
        for window, size in product((12, 24), (336, 1008)):
            yield "river", f"GaussianScorer {window} h, {size}", lambda s, w=window, v=size: river_gaussian(s, w, v)
        for window, delta in product((12, 24), (0.05, 0.3)):
            yield "river", f"ADWIN {window} h, {delta}", lambda s, w=window, d=delta: river_adwin(s, w, d)


def _hours(stream: Stream) -> NDArray[np.int64]:
    return ((stream.moments - START) // HOUR).astype(np.int64)


def _by_hour(stream: Stream) -> Scores:
    return np.bincount(_hours(stream), stream.weights * stream.negative, minlength=DAYS * 24)


def _windows(stream: Stream, window: int) -> Scores:
    """Negative stories of the `window` hours before each full hour."""
    edges = np.concatenate([[0.0], np.cumsum(_by_hour(stream))])[:-1]
    return edges - np.concatenate([np.zeros(window), edges[:-window]])


def _last(stream: Stream, window: int) -> Scores:
    """Negative stories of the last `window` hours at each article."""
    return _last_since(stream, stream.moments - window * HOUR)


def _last_since(stream: Stream, since: NDArray[np.float64]) -> Scores:
    sums = np.concatenate([[0.0], np.cumsum(stream.weights * stream.negative)])
    return sums[1:] - sums[np.searchsorted(stream.moments, since, side="left")]
