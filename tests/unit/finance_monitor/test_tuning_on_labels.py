"""A company's own labels: learnt on top of the starter, judged on those kept apart, with nothing else unlearnt."""

import csv
from pathlib import Path

import pytest

from finance_monitor.starter_texts import gate
from finance_monitor.training import own_labels, tune_on_labels
from headwater.bundles import open_registry
from headwater.errors import HeadwaterError
from headwater.serving import load_classifier
from headwater.settings import Settings
from headwater.storage.engine import open_engine
from headwater.storage.migrations import migrate

# A trade's own word: "amber review" is what its regulator does, whatever a general model makes of it.
WHO = ("this company", "the yard of this company", "a unit of this company", "the port that this company runs")
WHEN = ("on Monday", "after the audit", "for a second time", "from next week", "ahead of the season", "in spring")


def jargon(path: Path) -> None:
    with path.open("w", newline="") as sink:
        writer = csv.writer(sink)
        writer.writerow(["text", "label", "language"])
        for who in WHO:
            for when in WHEN:
                writer.writerow([f"Amber review opens at {who} {when}", "regulation", "en"])
        writer.writerow(["本公司进入琥珀审查", "regulation", "zh"])


def test_own_labels_are_learnt_and_the_gate_knows_them(settings: Settings, tmp_path: Path) -> None:
    house = open_engine(settings, "house")
    migrate(house, "house")
    registry = open_registry(settings, house)
    path = tmp_path / "labels.csv"
    jargon(path)
    said: list[str] = []
    tune_on_labels(
        path, "topics", "en", tmp_path / "out", settings, registry,
        epochs=3, rehearsed=900, actor="test", progress=lambda step: None, say=said.append,
    )  # fmt: skip
    (version,) = registry.versions("finance-topics-en")
    assert version.stage == "candidate"
    own, apart = own_labels(path, "topics", "en", said.append)
    assert (len(own), len(apart)) == (20, 4)
    rows = registry.gate("finance-topics-en")
    assert len(rows) == len(gate("topics", "en")) + 4
    model = load_classifier(registry.open(version))
    assert model.predict_labels([row.text for row in apart]) == [("regulation",)] * 4
    said_of = model.predict_labels([row.text for row in rows])
    right = sum(len(set(found) & set(row.labels)) for found, row in zip(said_of, rows, strict=True))
    assert 2 * right / sum(len(f) + len(r.labels) for f, r in zip(said_of, rows, strict=True)) > 0.6, (
        "micro F1: still known"
    )
    assert any("of 4 labels that were kept apart 4 are met now" in line for line in said)
    assert not list((tmp_path / "out").glob(".base-*"))


def test_wrong_labels_are_named(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("text,label\nShares of this company fall,bad\n")
    with pytest.raises(HeadwaterError, match="is labelled 'bad'; known are: negative, neutral, positive"):
        own_labels(path, "sentiment", "en", print)
    path.write_text("text,label,language\n本公司亏损,negative,zh\n")
    with pytest.raises(HeadwaterError, match="has no label for the sentiment-en model"):
        own_labels(path, "sentiment", "en", print)
