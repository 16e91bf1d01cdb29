"""Progress that a person watches and a program reads.

Work reports through a `Progress` callback; the command line draws a bar, a job writes to its row.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """How far a piece of work is: `done` of `total` units (total 0: unknown) and what it is doing."""

    done: int
    total: int
    message: str

    @property
    def fraction(self) -> float:
        return min(1.0, self.done / self.total) if self.total > 0 else 0.0


Progress = Callable[[Step], None]


def silent(step: Step) -> None:
    """Report nowhere."""


def bar(description: str) -> Progress:
    """A progress bar with an estimate on standard error; plain lines when that is not a terminal."""
    from tqdm import tqdm

    terminal = sys.stderr.isatty()
    display = tqdm(desc=description, file=sys.stderr, dynamic_ncols=True, disable=not terminal)
    last_tenth = -1

    def show(step: Step) -> None:
        nonlocal last_tenth
        if terminal:
            display.total = step.total or None
            display.set_postfix_str(step.message, refresh=False)
            display.update(step.done - display.n)
            return
        tenth = int(step.fraction * 10)
        if tenth != last_tenth:
            last_tenth = tenth
            print(f"{description}: {step.fraction:4.0%} {step.message}", file=sys.stderr, flush=True)

    return show
