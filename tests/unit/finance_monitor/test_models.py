"""What is put to the models, and how often."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from finance_monitor.companies import Gazetteer, read_gazetteer
from finance_monitor.domain import SENTIMENTS
from finance_monitor.models import Models
from finance_monitor.starter_texts import package_folder
from headwater.storage.columns import now


class Reader:
    """A classifier that keeps what it was asked; bad where the company in question "loses"."""

    def __init__(self, labels: tuple[str, ...]) -> None:
        self.id, self.manifest = "reader", SimpleNamespace(labels=labels)
        self.label_thresholds = [0.5] * len(labels)
        self.asked: list[str] = []

    def probabilities(self, texts: list[str]) -> Any:
        self.asked += texts
        bad = "this company loses" in texts[0]
        return np.array([[0.1, 0.1, 0.8] if bad else [0.2, 0.7, 0.1]])

    def get(self) -> "Reader":
        return self


def models() -> tuple[Models, Reader]:
    made, reader = Models.__new__(Models), Reader(SENTIMENTS)
    made._sentiment = made._topics = made._encoders = {"en": reader, "*": reader}  # type: ignore[assignment,dict-item]
    return made, reader


def read(title: str, text: str = "") -> tuple[Any, list[str]]:
    gazetteer = Gazetteer(read_gazetteer(package_folder("sample_data") / "gazetteer.csv"))
    made, reader = models()
    reading = made.read(title, text, gazetteer.mentions(title, text, now()), "en")
    return reading, reader.asked[:-1]  # the last is the topics'


def test_a_headline_about_one_company_is_read_once() -> None:
    reading, asked = read("Halden Group loses its German licence, says Jane Smith")
    assert asked == ["this company loses its Norway licence, says Alex Arden"]
    assert [sentiment for _, sentiment in reading.companies] == [reading.overall]
    assert reading.overall.label == "negative" and reading.overall.sentence.startswith("Halden Group loses its German")


def test_a_headline_about_two_is_read_for_each_and_as_a_whole() -> None:
    reading, asked = read("Halden Group loses an order to Quillhaven")
    assert asked == [
        "this company loses an order to another firm",
        "another firm loses an order to this company",
        "Halden Group loses an order to Quillhaven",
    ]
    assert [sentiment.label for _, sentiment in reading.companies] == ["negative", "neutral"]


def test_a_company_of_the_text_alone_says_nothing_of_the_headline() -> None:
    reading, asked = read("Dockers walk out for a third day", "Halden Group loses a week of output.")
    assert asked == ["this company loses a week of output.", "Dockers walk out for a third day"]
    assert reading.overall.label == "neutral"
