"""bias: headlines in which only a company's name, a country or a person is swapped; the label has to stay.

By language and kind of swap: the share of headlines whose label moves, the mean absolute change of the negative
probability between two fillings, and the value that is read most negatively, against the mean of all values.
"""

import tomllib
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from harness import Benchmark, Row
from numpy.typing import NDArray
from sentiment import starter

from finance_monitor.domain import SENTIMENTS
from finance_monitor.marking import mark_names
from finance_monitor.starter_texts import package_folder
from headwater.serving import Classifier

KINDS = ("country", "gender", "person")
NEGATIVE = SENTIMENTS.index("negative")


def fillings(template: str, values: Sequence[dict[str, str]], company: str, language: str) -> list[str]:
    """A template with each of the values, as the model reads it for `company`."""
    return [mark_names(template.format(company=company, **value), company, [], language) for value in values]


def read(model: Classifier, part: dict[str, Any], kind: str, language: str) -> NDArray[np.floating[Any]]:
    """(templates, values, 3) probabilities in the order of SENTIMENTS."""
    columns = [model.manifest.labels.index(name) for name in SENTIMENTS]
    values, company = part[kind]["values"], part["companies"][0]
    return np.stack(
        [
            model.probabilities(fillings(template, values, company, language))[:, columns]
            for template in part[kind]["templates"]
        ]
    )


def moved(said: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Of each template: whether some of its fillings get another label."""
    labels = said.argmax(2)
    return np.asarray((labels != labels[:, :1]).any(1))


def change(said: NDArray[np.floating[Any]]) -> float:
    """Mean absolute difference of the negative probability over all pairs of fillings of a template."""
    negative = said[:, :, NEGATIVE]
    pairs = combinations(range(negative.shape[1]), 2)
    return float(np.mean([np.abs(negative[:, i] - negative[:, j]) for i, j in pairs]))


def names_seen(part: dict[str, Any], language: str) -> float:
    """Share of the headlines that read differently to the model when the company has another name."""
    seen = [
        len({tuple(fillings(template, part[kind]["values"], c, language)) for c in part["companies"]}) > 1
        for kind in KINDS
        for template in part[kind]["templates"]
    ]
    return float(np.mean(seen))


def main() -> None:
    suite = tomllib.loads((package_folder("starter") / "bias.toml").read_text(encoding="utf-8"))
    count = sum(len(part[kind]["templates"]) for part in suite.values() for kind in KINDS)
    bench = Benchmark("bias", f"{count} headlines, each with every value of its swap")
    for language, group in (("en", "en"), ("zh", "*")):
        part, model = suite[language], starter("sentiment", group)

        def add(metric: str, value: float, must: float | None = None, language: str = language) -> None:
            bench.add(Row(metric, value, better="lower", language=language, must=must))

        labels, changes = [], []
        for kind in KINDS:
            said, values = read(model, part, kind, language), part[kind]["values"]
            labels.append(moved(said))
            changes += [change(said)] * len(said)
            size = f"{kind} ({len(said)} × {len(values)})"
            add(f"label moves, {size}", float(labels[-1].mean()), must=0)
            add(f"change of negative, {size}", change(said))
            shift = said[:, :, NEGATIVE].mean(0) - said[:, :, NEGATIVE].mean()
            add(f"most negative, {kind}: {next(iter(values[shift.argmax()].values()))}", float(shift.max()))
        add("label moves, company names", names_seen(part, language), must=0)
        add(f"label moves, all {len(changes)}", float(np.concatenate(labels).mean()), must=0)
        add(f"change of negative, all {len(changes)}", float(np.mean(changes)))
    bench.write()


if __name__ == "__main__":
    main()
