"""`headwater evaluate`: figures of constructed bundles, and what it refuses."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from headwater.bundles import Bundle, Manifest, write_bundle
from headwater.cli.main import cli
from headwater.errors import HeadwaterError, Unsupported
from headwater.settings import Settings

Make = Callable[..., Bundle]


def run(*words: object) -> str:
    return CliRunner().invoke(cli, ["evaluate", *map(str, words)], catch_exceptions=False).stdout


@pytest.fixture
def search(word_classifier: Make, tmp_path: Path) -> tuple[Bundle, Path]:
    """Twelve passages, each with a direction of its own; a query's vector holds its similarity to each of them."""
    passages = [f"p{n}" for n in range(12)]
    vectors = {name: [float(name == other) for other in passages] for name in passages}

    def query(*order: int) -> list[float]:
        """The passages of these numbers first, in this order, the others after them."""
        ranked = [*order, *(n for n in range(12) if n not in order)]
        return [1 - ranked.index(n) / 100 for n in range(12)]

    vectors["first"] = query(0)
    vectors["second"] = query(3, 1)
    vectors["sixth"] = query(11, 10, 9, 8, 7, 2)
    vectors["last"] = query(*(n for n in range(12) if n != 3))
    vectors["both"] = query(4, 0, 5)
    encoder = word_classifier("e", vectors, passages, kind="encoder", dimension=12)
    pairs = [("first", 0), ("second", 1), ("sixth", 2), ("last", 3), ("both", 4), ("both", 5)]
    rows = [{"question": query, "page": f"p{n}", "others": [f"p{n + 6}"]} for query, n in pairs]
    data = tmp_path / "pairs.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return encoder, data


def test_encoder_is_scored_by_the_ranks_of_its_answers(search: tuple[Bundle, Path], settings: Settings) -> None:
    encoder, data = search
    columns = ("--query-column", "question", "--positive-column", "page", "--negative-column", "others")
    scores = json.loads(run(encoder.path, "--data", data, *columns, "--json"))

    # Ranks of the answers: 1; 2; 6; 12; 1 and 3.
    assert (scores["queries"], scores["passages"]) == (5, 12)
    assert scores["recall@1"] == pytest.approx((1 + 0 + 0 + 0 + 1 / 2) / 5)
    assert scores["recall@5"] == pytest.approx((1 + 1 + 0 + 0 + 1) / 5)
    assert scores["mrr@10"] == pytest.approx((1 + 1 / 2 + 1 / 6 + 0 + 1) / 5)
    two = (1 + 1 / math.log2(4)) / (1 + 1 / math.log2(3))
    assert scores["ndcg@10"] == pytest.approx((1 + 1 / math.log2(3) + 1 / math.log2(7) + 0 + two) / 5)
    low, high = scores["ndcg@10_interval"]
    assert low < scores["ndcg@10"] < high
    assert "5 queries against 12 passages\nrecall@1  0.3000 (95 % 0." in run(encoder.path, "--data", data, *columns)


def test_passages_are_those_of_the_file(search: tuple[Bundle, Path], settings: Settings) -> None:
    encoder, data = search
    scores = json.loads(
        run(encoder.path, "--data", data, "--query-column=question", "--positive-column=page", "--json")
    )
    assert scores["passages"] == 6
    assert scores["mrr@10"] == pytest.approx((1 + 1 / 2 + 1 + 1 / 6 + 1) / 5)  # without the passages in between
    with pytest.raises(HeadwaterError, match=r"pairs\.jsonl has no column 'query'; it has: question, page, others"):
        run(encoder.path, "--data", data)


def test_all_answers_first_is_no_certainty(search: tuple[Bundle, Path], tmp_path: Path, settings: Settings) -> None:
    data = tmp_path / "one.csv"
    data.write_text("query,positive\nfirst,p0\n")
    scores = json.loads(run(search[0].path, "--data", data, "--json"))
    assert scores["recall@1"] == 1.0
    assert scores["recall@1_interval"] == pytest.approx([0.2065, 1.0], abs=1e-4)


def test_bundle_of_another_kind_is_refused(word_classifier: Make, tmp_path: Path, settings: Settings) -> None:
    files = {"model.onnx": word_classifier("a", {"x": "a"}, ("a", "b")).file("model.onnx")}
    generator = write_bundle(tmp_path / "g", Manifest("generator", "model.onnx", "smollm"), files)
    with pytest.raises(Unsupported, match=r"/g is a generator; classifiers and encoders are scored"):
        run(generator.path, "--data", tmp_path / "any.csv")


def test_several_labels_are_read_as_in_tuning_and_scored_at_their_thresholds(
    word_classifier: Make, tmp_path: Path, settings: Settings
) -> None:
    words = {"tent": (2.0, -1.0), "boots": (-3.0, -1.0), "rope": (-3.0, -3.0)}  # "b" is said from sigmoid(-1) = .27 on
    fields = {"multi_label": True, "thresholds": {"a": 0.5, "b": 0.2}, "config": {"label_separator": "|"}}
    bundle = word_classifier("m", words, ("a", "b"), **fields)
    data = tmp_path / "data.csv"
    data.write_text("text,label\ntent,a|b\nboots,a\nrope,\n")

    shown = run(bundle.path, "--data", data)
    assert shown.startswith("3 examples, micro F1 0.6667 (95 % ")  # of a, b; a; none it says a, b; b; none
    assert "all labels of a text right 0.6667 (95 % " in shown
    scores = json.loads(run(bundle.path, "--data", data, "--json"))
    assert scores["per_class"]["b"] == {"precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "support": 1}
    data.write_text("text,label\ntent,a;b\n")
    assert json.loads(run(bundle.path, "--data", data, "--label-separator", ";", "--json"))["accuracy"] == 1.0


def test_several_labels_for_a_classifier_of_one_are_named(
    word_classifier: Make, tmp_path: Path, settings: Settings
) -> None:
    data = tmp_path / "data.csv"
    data.write_text("text,label\nx,a\nx,a|b\n")
    with pytest.raises(HeadwaterError, match=r"data\.csv:2 has several labels \(a, b\) where every text has one"):
        run(word_classifier("a", {"x": "a"}, ("a", "b")).path, "--data", data, "--label-separator", "|")
