"""How the constants of finance_monitor/surges.py were chosen: one changed at a time, scored on the fit seeds alone.

For each choice: the threshold that keeps to a budget of false alerts, and what is found at it; the line to compare is
the mean recall at factors 4 and 8 over all injections and both budgets. Name choices to run those alone.
"""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from surge_streams import DAY, DAYS, FIT_SEEDS, HOUR, START
from surges import BUDGETS, LEAST, Looks, Stream, _rhythms, looks_at, streams_of, tally, threshold_for

from finance_monitor import surges

# How much a closing score is of the opening one.
CLOSE = 0.6
CHOICES: dict[str, dict[str, Any]] = {
    "as it is": {},
    "share alone": {"_SHARE_WEIGHT": 1.0},
    "share .75": {"_SHARE_WEIGHT": 0.75},
    "share .5": {"_SHARE_WEIGHT": 0.5},
    "volume alone": {"_SHARE_WEIGHT": 0.0},
    "priors worth 80": {"_SPREAD_WORTH": 80.0, "_CORRELATION_WORTH": 80.0},
    "priors worth 300": {"_SPREAD_WORTH": 300.0, "_CORRELATION_WORTH": 300.0},
    "calm priors worth 80": {
        "_SPREAD_WORTH": 80.0,
        "_CORRELATION_WORTH": 80.0,
        "_PRIOR_SPREAD": 1 / 16,
        "_PRIOR_BAD_SPREAD": 1 / 12,
        "_PRIOR_CORRELATION": 0.02,
    },
    "cut at 2": {"_CUT": 2.0},
    "cut at 3": {"_CUT": 3.0},
    "rhythm of all": {"_RHYTHM_STORIES": 1e9},
    "rhythm from 50": {"_RHYTHM_STORIES": 50.0},
    "spans 6 24 72": {"SPANS": (6 * HOUR, 24 * HOUR, 72 * HOUR)},
    "spans 1 6 24 72": {"SPANS": (HOUR, 6 * HOUR, 24 * HOUR, 72 * HOUR)},
    "spans 12 24 72": {"SPANS": (12 * HOUR, 24 * HOUR, 72 * HOUR)},
    "spans 12 24 72, calm priors worth 80": {
        "SPANS": (12 * HOUR, 24 * HOUR, 72 * HOUR),
        "_SPREAD_WORTH": 80.0,
        "_CORRELATION_WORTH": 80.0,
        "_PRIOR_SPREAD": 1 / 16,
        "_PRIOR_BAD_SPREAD": 1 / 12,
        "_PRIOR_CORRELATION": 0.02,
    },
    "spans 12 24 72, share .75": {"SPANS": (12 * HOUR, 24 * HOUR, 72 * HOUR), "_SHARE_WEIGHT": 0.75},
}


def opened(looks: Looks, threshold: float, close: float = CLOSE) -> list[float]:
    """When incidents open, by the product's own `step`."""
    settings = surges.Settings(open_score=threshold, close_score=close * threshold)
    state, found = surges.State(), []
    for moment, score, support in zip(looks.moments, looks.scores, looks.support, strict=True):
        if score < settings.close_score and not (state.open and moment - state.last_high >= settings.quiet):
            continue
        look = surges.Evaluation(moment, DAY, 1.0, 1.0, 1.0, score, 1.0, 1.0, support)
        state, change, _ = surges.step(state, look, settings)
        if change == "opened":
            found.append(moment)
    return found


def report(name: str, streams: Sequence[Stream], looks: Sequence[Looks], close: float = CLOSE) -> None:
    """Print what is found at each budget."""
    parts, means = [], []
    for budget in BUDGETS:

        def at(threshold: float) -> Any:
            return tally(streams, [opened(one, threshold, close) for one in looks])

        threshold = threshold_for(budget, at)
        found = at(threshold)
        means += [found.recall(factor)[0] for factor in (4.0, 8.0)]
        big = " ".join(f"{found.recall(factor, LEAST)[0]:.3f}" for factor in (2.0, 4.0, 8.0))
        parts.append(f"at {budget:g}: {threshold:.2f}, usual >= {LEAST:g} {big}")
        parts.append(f"delay {np.median(found.delays(4.0, LEAST)):.1f} h")
    print(f"{name:22s} {np.mean(means):.4f}  {'; '.join(parts)}", flush=True)


def main() -> None:
    by_seed = streams_of(FIT_SEEDS)
    end = START + DAYS * DAY
    streams = [stream for own in by_seed.values() for stream in own]
    rhythms = {seed: _rhythms(own, end) for seed, own in by_seed.items()}
    for name in sys.argv[1:] or CHOICES:
        former = {key: getattr(surges, key) for key in CHOICES[name]}
        for key, value in CHOICES[name].items():
            setattr(surges, key, value)
        looks = [looks_at(stream, rhythms[seed], end) for seed, own in by_seed.items() for stream in own]
        report(name, streams, looks)
        if name == "as it is":
            for close in (0.4, 0.8):
                report(f"closing at {close:g}", streams, looks, close)
        for key, value in former.items():
            setattr(surges, key, value)


if __name__ == "__main__":
    main()
