"""When bad news about an entity is more than its own history explains, and how an incident opens, grows and closes.

Counts: negative binomial with a gamma prior over rates (empirical Bayes) and a shared hour-of-week rhythm. Share of
negative stories: beta-binomial against the entity's own share. Both look at several spans at once, with a correction.
Everything is a function of its arguments: no clock, no database.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

HOUR = 3600.0
DAY = 24 * HOUR
SPANS = (1 * HOUR, 6 * HOUR, 24 * HOUR, 72 * HOUR)
HISTORY_DAYS = 60
SEVERITIES = ("low", "medium", "high", "critical")
_HISTORY = HISTORY_DAYS * DAY
# The newest part of the history is what is being tested.
_GAP = max(SPANS)
# Prior of an entity's negative stories a day: mean 0.15, worth five days of watching. Prior of the share: 25 % of 8.
_PRIOR_MEAN, _PRIOR_DAYS = 0.15, 5.0
_SHARE_PRIOR = (2.0, 6.0)
# Days above this quantile of the entity's days are cut down to it, so that past incidents do not hide new ones.
_WINSOR = 0.97


@dataclass(frozen=True)
class Settings:
    """`open_score` and `close_score` are -log10 of the corrected tail probability; support counts distinct stories."""

    open_score: float = 3.5
    close_score: float = 1.5
    least_support: float = 3.0
    cool_down: float = 12 * HOUR
    quiet: float = 24 * HOUR
    growth: float = 2.0


@dataclass(frozen=True)
class Rhythm:
    """How busy each hour of the week is, [168], Monday 00:00 UTC first; mean 1."""

    hours: tuple[float, ...] = (1.0,) * 168

    def share(self, start: float, end: float) -> float:
        """Expected part of a day's stories between two moments, in days of average business."""
        total, position = 0.0, start
        while position < end:
            edge = min(end, (math.floor(position / HOUR) + 1) * HOUR)
            total += self.hours[_hour_of_week(position)] * (edge - position)
            position = edge
        return total / DAY


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
    counts = np.bincount(((moments + 3 * DAY) % (7 * DAY) // HOUR).astype(int), minlength=168).astype(float)
    # A neighbour tells about an hour as well: three-hour smoothing around the clock.
    smooth = (np.roll(counts, 1) + 2 * counts + np.roll(counts, -1)) / 4
    mean = smooth.mean()
    hours = (smooth + 4 * max(mean, 0.25)) / (mean + 4 * max(mean, 0.25)) if mean < 1 else (smooth + 2) / (mean + 2)
    hours = hours / hours.mean()
    return Rhythm(tuple(float(max(0.05, value)) for value in hours))


def evaluate(history: History, moment: float, rhythm: Rhythm | None = None) -> Evaluation:
    """Test the stories up to `moment` (epoch seconds) against the entity's own history."""
    rhythm = rhythm or Rhythm()
    end = int(np.searchsorted(history.moments, moment, side="right"))
    start = int(np.searchsorted(history.moments, moment - _HISTORY))
    moments, weights = history.moments[start:end], history.weights[start:end]
    negative = history.negative[start:end]
    rate, dispersion, share, days = _baseline(moments, negative * weights, weights, moment, history.since)
    best: Evaluation | None = None
    for span in SPANS:
        first = int(np.searchsorted(moments, moment - span, side="right"))
        observed = float((negative[first:] * weights[first:]).sum())
        total = float(weights[first:].sum())
        expected = rate * rhythm.share(moment - span, moment)
        p_volume = _negative_binomial_tail(observed, expected, dispersion)
        p_share = _beta_binomial_tail(observed, total, share)
        # Four spans are looked at. A share alone says little, and a volume with the usual share is just a busy day.
        p_corrected = min(1.0, p_volume * len(SPANS))
        strength = -math.log10(max(p_corrected, 1e-30))
        strength *= 0.6 + 0.4 * min(1.0, -math.log10(max(p_share, 1e-12)))
        support = float(negative[first:].sum())
        found = Evaluation(moment, span, observed, total, expected, strength, p_volume, p_share, support)
        if best is None or found.score > best.score:
            best = found
    if best is None:
        raise ValueError("no span to look at")
    baseline = {
        "mean": round(rate, 4),
        "days": round(days, 1),
        "dispersion": round(dispersion, 3),
        "share": round(share, 3),
    }
    return Evaluation(**{**asdict(best), "baseline": baseline})


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


def _baseline(
    moments: NDArray[np.float64], bad: NDArray[np.float64], weights: NDArray[np.float64], moment: float, since: float
) -> tuple[float, float, float, float]:
    """Negative stories a day, their dispersion, the share of negative ones, and days of history."""
    newest = moment - _GAP
    oldest = (
        max(since, moment - _HISTORY)
        if since
        else (max(moment - _HISTORY, float(moments[0])) if len(moments) else newest)
    )
    days = max(0.0, (newest - oldest) / DAY)
    past = moments < newest
    edges = np.arange(math.ceil(days))[::-1]
    daily = np.zeros(max(1, len(edges)))
    if past.any() and len(edges):
        index = ((newest - moments[past]) // DAY).astype(int).clip(0, len(edges) - 1)
        daily = np.bincount(index, weights=bad[past], minlength=len(edges)).astype(float)
    cut = np.minimum(daily, max(1.0, float(np.quantile(daily, _WINSOR))))
    rate = (float(cut.sum()) + _PRIOR_MEAN * _PRIOR_DAYS) / (days + _PRIOR_DAYS)
    mean = float(cut.mean())
    variance = float(cut.var()) if len(cut) > 5 else mean
    # Var = mean + mean² / k; few days say little, so k is held between 0.5 and 50 and drawn towards 2.
    k = mean * mean / (variance - mean) if variance > mean > 0 else 10.0
    dispersion = math.exp((math.log(min(50.0, max(0.5, k))) * days + math.log(2.0) * 14) / (days + 14))
    a, b = _SHARE_PRIOR
    share = (float(bad[past].sum()) + a) / (float(weights[past].sum()) + a + b)
    return rate, dispersion, share, days


def _negative_binomial_tail(observed: float, mean: float, k: float) -> float:
    """P(X >= observed) for mean `mean` and dispersion `k`; `observed` is rounded down, since weights are parts."""
    n = math.floor(observed + 1e-9)
    if n <= 0:
        return 1.0
    mean = max(mean, 1e-6)
    p = k / (k + mean)
    log_p, log_q = math.log(p), math.log1p(-p)
    below = 0.0
    for x in range(n):
        below += math.exp(math.lgamma(x + k) - math.lgamma(k) - math.lgamma(x + 1) + k * log_p + x * log_q)
    if below < 0.999999:
        return max(1e-300, 1 - below)
    tail = 0.0
    for x in range(n, n + 200):
        tail += math.exp(math.lgamma(x + k) - math.lgamma(k) - math.lgamma(x + 1) + k * log_p + x * log_q)
    return max(1e-300, tail)


def _beta_binomial_tail(observed: float, total: float, share: float, strength: float = 12.0) -> float:
    """P(X >= observed of total) where the share is known as well as `strength` stories would tell it."""
    n, x = math.floor(total + 1e-9), math.floor(observed + 1e-9)
    if n <= 0 or x <= 0:
        return 1.0
    a, b = share * strength, (1 - share) * strength
    tail = 0.0
    for i in range(x, n + 1):
        choose = math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1)
        beta = math.lgamma(i + a) + math.lgamma(n - i + b) - math.lgamma(n + a + b)
        tail += math.exp(choose + beta - (math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)))
    return min(1.0, max(1e-12, tail))


def _hour_of_week(moment: float) -> int:
    # The epoch was a Thursday.
    return int((moment + 3 * DAY) % (7 * DAY) // HOUR)


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
