"""When bad news about an entity is more than its own history explains, and how an incident opens, grows and closes.

Counts are negative binomial, with gamma priors over rates (empirical Bayes) and an hour-of-week rhythm. Negative
stories are tested twice: against the entity's usual number of them (volume), and against the number that is usual when
it is as much in the news as its other stories show (share). Several spans are looked at at once, with a correction.
Everything is a function of its arguments: no clock, no database.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc

HOUR = 3600.0
DAY = 24 * HOUR
# Shorter ones find nothing more: five stories of one hour are five of twelve hours too, and hours vary more.
SPANS = (12 * HOUR, 24 * HOUR, 72 * HOUR)
HISTORY_DAYS = 60
_SPANS = np.array(SPANS)
SEVERITIES = ("low", "medium", "high", "critical")
_HISTORY = HISTORY_DAYS * DAY
# The newest part of the history is what is being tested.
_GAP = max(SPANS)
# Prior of an entity's stories a day: 0.15 negative ones and 0.45 others, worth five days of watching.
_PRIOR_BAD, _PRIOR_OTHER, _PRIOR_DAYS = 0.15, 0.45, 5.0
# Priors of 1 / dispersion of all stories and of the negative ones, and of the correlation of the share within a day,
# and what each is worth: in squared expected counts, and in pairs of stories. Chosen on the fit seeds of the benchmark,
# like all below, by tests/benchmarks/surge_fit.py.
_PRIOR_SPREAD, _PRIOR_BAD_SPREAD, _SPREAD_WORTH = 1 / 8, 1 / 8, 20.0
_PRIOR_CORRELATION, _CORRELATION_WORTH = 0.04, 20.0
# Days are cut down to this many standard deviations above their mean, so that past incidents do not hide new ones.
_CUT = 2.5
# What is unknown of an entity that has been watched for a few days only; after some weeks it hardly counts. By hand,
# from the entities of the unit tests: the benchmark watches its own for four weeks before anything counts.
_YOUNG = 30.0
# How many stories of its own outweigh the rhythm of all.
_RHYTHM_STORIES = 200.0
# The weight of the second test's log p in the score; the rest is the first's.
_SHARE_WEIGHT = 1.0


@dataclass(frozen=True)
class Settings:
    """`open_score` and `close_score` are -log10 of the corrected tail probability; support counts distinct stories."""

    open_score: float = 3.0
    close_score: float = 1.8
    least_support: float = 3.0
    cool_down: float = 12 * HOUR
    quiet: float = 24 * HOUR
    growth: float = 2.0


@dataclass(frozen=True)
class Rhythm:
    """How busy each hour of the week is, [168], Monday 00:00 UTC first; mean 1."""

    hours: tuple[float, ...] = (1.0,) * 168

    @cached_property
    def _edges(self) -> NDArray[np.float64]:
        """Average days from the week's beginning to each hour, [169]."""
        return np.concatenate([[0.0], np.cumsum(self.hours)]) / 24

    def elapsed(self, moments: NDArray[np.float64]) -> NDArray[np.float64]:
        """Days of average business before each moment; differences of two are what matters."""
        # The epoch was a Thursday.
        week, hour = np.divmod((moments + 3 * DAY) / HOUR, 168)
        whole = np.minimum(hour.astype(int), 167)
        edges = self._edges
        return week * edges[-1] + edges[whole] + (hour - whole) * (edges[whole + 1] - edges[whole])

    def share(self, start: float, end: float) -> float:
        """Expected part of a day's stories between two moments, in days of average business."""
        first, last = self.elapsed(np.array((start, end)))
        return float(last - first)

    def of(self, moments: NDArray[np.float64]) -> "Rhythm":
        """The rhythm of one entity with stories at `moments`: the more there are, the more its own."""
        counts = _smooth_hours(moments)
        hours = (168 * counts + _RHYTHM_STORIES * np.asarray(self.hours)) / (len(moments) + _RHYTHM_STORIES)
        return Rhythm(tuple((hours / hours.mean()).tolist()))


@dataclass(frozen=True)
class History:
    """Stories of one entity, ordered by moment: epoch seconds, 1 where negative, and what each counts for (0-1)."""

    moments: NDArray[np.float64]
    negative: NDArray[np.float64]
    weights: NDArray[np.float64]
    since: float = 0.0  # when watching began


@dataclass(frozen=True)
class Evaluation:
    """The most telling span: what was seen in it, what was expected, and how unlikely that is."""

    moment: float
    span: float
    observed: float
    total: float
    expected: float
    score: float
    p_volume: float
    p_share: float
    support: float
    baseline: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Baseline:
    """What is usual for an entity: stories a day of average business, how much days vary, and what was seen of it.

    `spread` and `bad_spread` are 1 / dispersion of all stories and of negative ones (Var = mean + spread mean^2);
    `correlation` is that of two stories of a day in being negative; `known` negative stories lie behind `bad`.
    """

    bad: float
    other: float
    spread: float
    bad_spread: float
    correlation: float
    known: float
    days: float
    rhythm: Rhythm

    def figures(self) -> dict[str, float]:
        """What an alert tells of it."""
        return {
            "mean": round(self.bad, 4),
            "days": round(self.days, 1),
            "dispersion": round(1 / self.bad_spread, 3),
            "share": round(self.bad / (self.bad + self.other), 3),
        }


@dataclass(frozen=True)
class State:
    """What is remembered of an entity between evaluations."""

    open: bool = False
    severity: str = ""
    opened: float = 0.0
    told: float = 0.0
    last_high: float = 0.0
    closed: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> "State":
        return State(**values)


def fit_rhythm(moments: NDArray[np.float64]) -> Rhythm:
    """The hour-of-week rhythm of all stories, shrunk towards flat where there are few."""
    if len(moments) == 0:
        return Rhythm()
    smooth = _smooth_hours(moments)
    mean = smooth.mean()
    hours = (smooth + 4 * max(mean, 0.25)) / (mean + 4 * max(mean, 0.25)) if mean < 1 else (smooth + 2) / (mean + 2)
    hours = hours / hours.mean()
    return Rhythm(tuple(float(max(0.05, value)) for value in hours))


def _smooth_hours(moments: NDArray[np.float64]) -> NDArray[np.float64]:
    """Stories in each hour of the week, [168]; a neighbour tells about an hour as well."""
    counts = np.bincount(((moments + 3 * DAY) % (7 * DAY) // HOUR).astype(int), minlength=168).astype(float)
    smooth: NDArray[np.float64] = (np.roll(counts, 1) + 2 * counts + np.roll(counts, -1)) / 4
    return smooth


def evaluate(
    history: History, moment: float, rhythm: Rhythm | None = None, usual: Baseline | None = None
) -> Evaluation:
    """Test the stories up to `moment` (epoch seconds) against the entity's own history, `usual` when it is known."""
    if usual is None:
        usual = baseline(history, moment, rhythm)
    first, end = np.searchsorted(history.moments, (moment - _GAP, moment), side="right")
    moments, weights, negative = (x[first:end] for x in (history.moments, history.weights, history.negative))
    counted = np.array((negative * weights, weights, negative))
    begins = moments.searchsorted(moment - _SPANS, side="right").tolist()
    observed, total, support = np.array([counted[:, begin:].sum(axis=1) for begin in begins]).T
    days = usual.rhythm.elapsed(np.array([moment])) - usual.rhythm.elapsed(moment - _SPANS)
    scores, p_volume, p_share = judged(usual, days, observed, total)
    best = int(np.argmax(scores))
    figures = (observed, total, usual.bad * days, scores, p_volume, p_share, support)
    return Evaluation(moment, SPANS[best], *(float(values[best]) for values in figures), usual.figures())


def judged(
    usual: Baseline, days: NDArray[np.float64], observed: NDArray[np.float64], total: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Scores of so many negative stories, of so many in all, in so many average days; and the p of the two tests.

    An entity's attention A is gamma with mean 1 and variance `spread`. Having seen O other stories where m are usual, A
    is gamma with mean (1 + spread O) / (1 + spread m) and relative variance spread / (1 + spread O), so that the
    negative ones are negative binomial again; the share's own variance and what is unknown of the rate come on top.
    """
    mean = np.maximum(usual.bad * days, 1e-6)
    busy = 1 + usual.spread * np.maximum(0.0, total - observed)
    share = usual.bad / (usual.bad + usual.other)
    unknown = 1 / (usual.known + 1) + _YOUNG / (usual.days + 1) ** 2
    given = mean * busy / (1 + usual.spread * usual.other * days)
    spread = usual.spread / busy + (1 - share) / share * usual.correlation + unknown
    p_volume = _negative_binomial_tail(observed, mean, usual.bad_spread + unknown)
    p_share = _negative_binomial_tail(observed, given, spread)
    log_p = _SHARE_WEIGHT * np.log10(p_share) + (1 - _SHARE_WEIGHT) * np.log10(p_volume)
    # Several spans are looked at, and the most telling one counts.
    return np.maximum(0.0, -log_p - math.log10(len(SPANS))), p_volume, p_share


def may_change(state: State, stories: History, settings: Settings | None = None) -> bool:
    """Whether `step` can find a change. `stories`: those of the longest span at least; too few of them open nothing."""
    return state.open or float(stories.negative.sum()) >= (settings or Settings()).least_support


def step(state: State, found: Evaluation, settings: Settings | None = None) -> tuple[State, str, str]:
    """The next state, the change ("", opened, grew, closed), and its severity. Hysteresis: closing asks for less."""
    s = settings or Settings()
    high = found.score >= s.open_score and found.support >= s.least_support
    if not state.open:
        if not high or (state.closed and found.moment - state.closed < s.cool_down and found.score < 2 * s.open_score):
            return state, "", ""
        severity = severity_of(found)
        return State(True, severity, found.moment, found.observed, found.moment, 0.0), "opened", severity
    last_high = found.moment if found.score >= s.close_score and found.observed > 0 else state.last_high
    if found.moment - last_high >= s.quiet:
        return State(False, state.severity, state.opened, state.told, last_high, found.moment), "closed", state.severity
    severity = max(severity_of(found), state.severity, key=SEVERITIES.index)
    grown = high and (severity != state.severity or found.observed >= s.growth * state.told)
    told = found.observed if grown else state.told
    next_state = State(True, severity, state.opened, told, last_high, 0.0)
    return next_state, "grew" if grown else "", severity


def severity_of(found: Evaluation) -> str:
    """From the score and the number of distinct stories."""
    for name, score, stories in (("critical", 12.0, 10), ("high", 8.0, 6), ("medium", 5.0, 4)):
        if found.score >= score and found.support >= stories:
            return name
    return "low"


def explain(found: Evaluation, name: str, change: str) -> dict[str, str]:
    """Why, in words, English and Chinese."""
    hours = round(found.span / HOUR)
    share = found.observed / found.total if found.total else 0.0
    usual = found.baseline.get("share", 0.0)
    if change == "closed":
        return {
            "en": f"{name}: a day has passed without more negative stories than usual.",
            "zh": f"{name}：一天以来负面报道未再超出平常水平。",
        }
    return {
        "en": f"{name}: {found.support:.0f} negative stories in {hours} h (weight {found.observed:.1f}) where "
        f"{found.expected:.2f} are usual; {share:.0%} of its stories are negative, usually {usual:.0%}.",
        "zh": f"{name}：{hours}小时内{found.support:.0f}条负面报道（权重{found.observed:.1f}），平常约为"
        f"{found.expected:.2f}；负面占比{share:.0%}，平常{usual:.0%}。",
    }


def usual_until(moment: float) -> float:
    """The end of the days that `baseline` looks at: stories from then on move it on a later UTC day only."""
    return math.floor(moment / DAY) * DAY - _GAP


def baseline(history: History, moment: float, rhythm: Rhythm | None = None) -> Baseline:
    """What was usual in the whole days before the newest part, incidents cut down; the same for all of a UTC day."""
    newest = usual_until(moment)
    # The first day of the history may be there in part only.
    least = newest + _GAP - _HISTORY + DAY
    start, end = np.searchsorted(history.moments, [least, newest])
    moments, weights = history.moments[start:end], history.weights[start:end]
    bad = history.negative[start:end] * weights
    own = (rhythm or Rhythm()).of(moments)
    first = history.since or (float(moments[0]) if len(moments) else newest)
    oldest = min(newest, max(first, least))
    days = (newest - oldest) / DAY
    edges = np.maximum(newest - np.arange(math.ceil(days) + 1) * DAY, oldest)
    counted = np.searchsorted(moments, edges)
    daily, total = (np.concatenate([[0.0], np.cumsum(values)])[counted] for values in (bad, weights))
    daily, total = daily[:-1] - daily[1:], total[:-1] - total[1:]
    length = -np.diff(own.elapsed(edges))
    x, rate = _without_incidents(daily, length, _PRIOR_BAD)
    y, all_rate = _without_incidents(total, length, _PRIOR_BAD + _PRIOR_OTHER)
    share = min(0.9, max(0.02, rate / all_rate))
    certain = share * (1 - share)
    # An incident's days say nothing of the usual share.
    x_usual, y_usual = daily[x == daily], total[x == daily]
    pairs = certain * float((y_usual * np.maximum(y_usual - 1, 0)).sum())
    excess = float(((x_usual - share * y_usual) ** 2 - certain * y_usual).sum())
    prior = certain * _CORRELATION_WORTH
    correlation = (excess + prior * _PRIOR_CORRELATION) / (pairs + prior)
    return Baseline(
        rate,
        max(all_rate - rate, 0.1 * rate),
        _spread(y, all_rate * length, _PRIOR_SPREAD),
        _spread(x, rate * length, _PRIOR_BAD_SPREAD),
        min(0.5, max(0.002, correlation)),
        float(x.sum()),
        days,
        own,
    )


def _without_incidents(
    counts: NDArray[np.float64], length: NDArray[np.float64], prior: float
) -> tuple[NDArray[np.float64], float]:
    """Counts of days with unusual ones cut down, and the rate a day under a gamma prior."""
    total = float(length.sum()) + _PRIOR_DAYS
    rate = (float(counts.sum()) + prior * _PRIOR_DAYS) / total
    cut = counts
    for _ in range(2):
        mean = rate * length
        cut = np.minimum(counts, mean + _CUT * np.sqrt(mean + mean * mean / 4) + 1)
        rate = (float(cut.sum()) + prior * _PRIOR_DAYS) / total
    return cut, rate


def _spread(counts: NDArray[np.float64], mean: NDArray[np.float64], prior: float) -> float:
    """1 / dispersion by moments, Var = mean + spread mean^2, drawn towards the prior where the counts say little."""
    excess = float(((counts - mean) ** 2 - mean).sum())
    return min(2.0, max(0.01, (excess + _SPREAD_WORTH * prior) / (float((mean * mean).sum()) + _SPREAD_WORTH)))


def _negative_binomial_tail(
    observed: NDArray[np.float64], mean: NDArray[np.float64], spread: NDArray[np.float64] | float
) -> NDArray[np.float64]:
    """P(X >= observed), Var X = mean + spread mean^2; between whole numbers too, since weights are parts."""
    tail: NDArray[np.float64] = betainc(np.maximum(observed, 1e-9), 1 / spread, spread * mean / (1 + spread * mean))
    return np.maximum(np.where(observed <= 0, 1.0, tail), 1e-300)


def histories(
    entities: Sequence[str], moments: Sequence[float], negative: Sequence[float], weights: Sequence[float], since: float
) -> dict[str, History]:
    """Sort rows of several entities into one History each."""
    order = np.argsort(np.asarray(moments), kind="stable")
    grouped: dict[str, list[int]] = {}
    for row in order:
        grouped.setdefault(entities[row], []).append(int(row))
    m, n, w = np.asarray(moments, float), np.asarray(negative, float), np.asarray(weights, float)
    return {name: History(m[rows], n[rows], w[rows], since) for name, rows in grouped.items()}
