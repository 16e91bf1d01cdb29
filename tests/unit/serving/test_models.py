"""Texts in, probabilities out: order, lengths, truncation, calibration, rejection."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from headwater.bundles import Bundle
from headwater.errors import HeadwaterError
from headwater.serving import load_classifier, load_encoder
from headwater.serving.batches import TruncationCount, run_in_batches
from headwater.serving.session import open_tokenizer

Make = Callable[..., Bundle]
WORDS = {"refund": "refund", "parcel": "tracking", "weather": "outside", "money": (2.0, 1.0, 0.0)}
LABELS = ("refund", "tracking", "outside")


def test_rows_come_back_in_the_order_of_the_texts_whatever_their_lengths(word_classifier: Make) -> None:
    classifier = load_classifier(word_classifier("a", WORDS, LABELS))
    generator = np.random.default_rng(0)
    wanted = [LABELS[n] for n in generator.integers(0, 3, 300)]
    word = {label: next(w for w, v in WORDS.items() if v == label) for label in LABELS}
    texts = [" ".join([word[label]] * int(n)) for label, n in zip(wanted, generator.integers(1, 120, 300), strict=True)]
    probabilities = classifier.probabilities(texts)
    assert [LABELS[n] for n in probabilities.argmax(1)] == wanted
    assert probabilities.sum(1) == pytest.approx(np.ones(300), abs=1e-5)
    assert probabilities[17] == pytest.approx(classifier.probabilities([texts[17]])[0], abs=1e-6)


def test_batches_hold_texts_of_like_length_and_padding_stays_bounded(word_classifier: Make) -> None:
    tokenizer = open_tokenizer(word_classifier("a", WORDS, LABELS))
    shapes: list[tuple[int, int]] = []
    real = 0

    def run(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        nonlocal real
        shapes.append(ids.shape)
        real += int(mask.sum())
        assert (ids[mask == 0] == 0).all()
        return np.zeros((len(ids), 1), np.float32)

    lengths = np.random.default_rng(0).integers(1, 200, 500)
    run_in_batches(tokenizer, ["parcel " * int(n) for n in lengths], run, 1)
    assert real == lengths.sum()
    assert sum(rows for rows, _ in shapes) == 500
    assert [width for _, width in shapes] == sorted(width for _, width in shapes)
    assert max(rows * width for rows, width in shapes) <= 2048
    assert sum(rows * width for rows, width in shapes) < 1.1 * lengths.sum()


def test_one_text_longer_than_a_batch_still_runs_alone(word_classifier: Make) -> None:
    tokenizer = open_tokenizer(word_classifier("a", WORDS, LABELS, max_length=5000))
    shapes: list[tuple[int, int]] = []

    def run(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        shapes.append(ids.shape)
        return np.zeros((len(ids), 1), np.float32)

    run_in_batches(tokenizer, ["parcel", "parcel " * 3000, "refund"], run, 1)
    assert shapes == [(2, 1), (1, 3000)]


def test_texts_beyond_the_length_are_cut_and_counted(word_classifier: Make) -> None:
    classifier = load_classifier(word_classifier("a", WORDS, LABELS, max_length=4))
    assert classifier.truncated == 0
    found = classifier.probabilities(["refund " * 4 + "parcel " * 90, "parcel", "parcel " * 4])
    assert classifier.truncated == 1
    assert found[0, 0] > 0.99  # what lies beyond the length has no vote
    classifier.probabilities(["refund " * 5, "refund " * 6])
    assert classifier.truncated == 3


def test_models_of_one_vocabulary_cut_at_their_own_lengths(word_classifier: Make) -> None:
    short, long = (load_classifier(word_classifier(str(n), WORDS, LABELS, max_length=n)) for n in (4, 40))
    text = "refund " * 4 + "parcel " * 36
    assert short.probabilities([text])[0, 0] > 0.99
    assert long.probabilities([text])[0, 1] > 0.99
    assert short.probabilities([text])[0, 0] > 0.99
    assert (short.truncated, long.truncated) == (2, 0)


def test_truncations_of_many_threads_are_all_counted() -> None:
    from concurrent.futures import ThreadPoolExecutor

    count = TruncationCount()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: [count.add(1) for _ in range(2000)], range(8)))
    assert count.value == 16_000


def test_bundles_with_one_tokenizer_and_different_lengths_do_not_share_the_cut(word_classifier: Make) -> None:
    short = load_classifier(word_classifier("short", WORDS, LABELS, max_length=1))
    long = load_classifier(word_classifier("long", WORDS, LABELS, max_length=8))
    text = "refund parcel parcel parcel"
    assert short.predict([text])[0].label == "refund"
    assert long.predict([text])[0].label == "tracking"


def test_temperature_of_the_bundle_calibrates_its_probabilities(word_classifier: Make) -> None:
    cold = load_classifier(word_classifier("cold", WORDS, LABELS))
    warm = load_classifier(word_classifier("warm", WORDS, LABELS, temperature=4.0))
    assert cold.logits(["money"])[0] == pytest.approx([2, 1, 0])
    assert cold.probabilities(["money"])[0, 0] == pytest.approx(math.e**2 / (math.e**2 + math.e + 1), abs=1e-6)
    expected = np.exp(np.array([2, 1, 0]) / 4)
    assert warm.probabilities(["money"])[0] == pytest.approx(expected / expected.sum(), abs=1e-6)


def test_multi_label_probabilities_are_independent(word_classifier: Make) -> None:
    classifier = load_classifier(word_classifier("a", {"both": (3.0, 3.0, -3.0)}, LABELS, multi_label=True))
    assert classifier.probabilities(["both"])[0] == pytest.approx([0.9526, 0.9526, 0.0474], abs=1e-3)


def test_label_is_said_from_its_own_threshold_on(word_classifier: Make) -> None:
    words = {"both": (1.0, -1.0, -4.0), "neither": (0.0, -2.0, -4.0)}  # sigmoid(-1) = .27, sigmoid(-2) = .12
    thresholds = {"refund": 0.73, "tracking": 0.2}
    classifier = load_classifier(word_classifier("a", words, LABELS, multi_label=True, thresholds=thresholds))
    assert classifier.predict_labels(["both", "neither"]) == [("refund", "tracking"), ()]
    plain = load_classifier(word_classifier("b", words, LABELS, multi_label=True))  # .5 where none was chosen
    assert plain.predict_labels(["both", "neither"]) == [("refund",), ("refund",)]
    with pytest.raises(HeadwaterError, match="one label a text; call predict"):
        load_classifier(word_classifier("c", WORDS, LABELS)).predict_labels(["refund"])


def test_out_of_scope_label_never_answers_and_the_threshold_decides(word_classifier: Make) -> None:
    fields = {"out_of_scope_label": "outside", "thresholds": {"out_of_scope": 0.6}}
    classifier = load_classifier(word_classifier("a", WORDS, LABELS, **fields))
    sure, unsure, outside = classifier.predict(["refund", "money", "weather"])
    assert (sure.label, sure.in_scope) == ("refund", True)
    assert (unsure.label, unsure.in_scope) == ("refund", True)
    assert outside.label in {"refund", "tracking"}
    assert not outside.in_scope
    strict = load_classifier(
        word_classifier("b", WORDS, LABELS, out_of_scope_label="outside", thresholds={"out_of_scope": 0.7})
    )
    assert not strict.predict(["money"])[0].in_scope


def test_rejection_level_lets_a_weak_favourite_be_doubted(word_classifier: Make) -> None:
    words = {"near": (6.0, 1.0, -9.0), "far": (2.0, -3.0, -9.0)}  # the first label leads by five logits in both
    fields = {"out_of_scope_label": "outside", "thresholds": {"out_of_scope": 0.6}}
    plain = load_classifier(word_classifier("a", words, LABELS, **fields))
    near, far = plain.predict(["near", "far"])
    assert near.probability == pytest.approx(far.probability, abs=1e-4)
    raised = load_classifier(word_classifier("b", words, LABELS, rejection_logit=4.0, temperature=2.0, **fields))
    near, far = raised.predict(["near", "far"])
    assert (near.in_scope, far.in_scope) == (True, False)
    assert far.probability == pytest.approx(math.e**1 / (math.e**1 + math.e**-1.5 + math.e**2), abs=1e-4)
    assert raised.probabilities(["near", "far"]).sum(1) == pytest.approx(np.ones(2), abs=1e-5)


def test_prefix_of_the_bundle_is_put_before_each_text(word_classifier: Make) -> None:
    classifier = load_classifier(word_classifier("a", WORDS, LABELS, prefixes={"query": "refund refund "}))
    assert classifier.predict(["parcel"])[0].label == "refund"


def test_no_texts_give_no_rows_and_an_empty_text_gives_one(word_classifier: Make) -> None:
    classifier = load_classifier(word_classifier("a", WORDS, LABELS))
    assert classifier.probabilities([]).shape == (0, 3)
    assert classifier.probabilities(["", "refund"]).argmax(1)[1] == 0
    assert classifier.probabilities([""])[0] == pytest.approx([1 / 3] * 3)


def test_bundle_of_another_kind_is_refused(word_classifier: Make) -> None:
    with pytest.raises(HeadwaterError, match="is a classifier, not an encoder"):
        load_encoder(word_classifier("a", WORDS, LABELS))
    with pytest.raises(HeadwaterError, match="is an encoder, not a classifier"):
        load_classifier(word_classifier("b", WORDS, LABELS, kind="encoder"))


def test_file_that_is_no_model_is_named(word_classifier: Make) -> None:
    from headwater.bundles import write_bundle

    bundle = word_classifier("a", WORDS, LABELS)
    (bundle.path.parent / "broken.onnx").write_bytes(b"no model")
    files = {"model.onnx": bundle.path.parent / "broken.onnx", "tokenizer.json": bundle.file("tokenizer.json")}
    broken = write_bundle(bundle.path.parent / "broken", bundle.manifest, files)
    with pytest.raises(HeadwaterError, match=r"broken/model\.onnx cannot be loaded as an ONNX model"):
        load_classifier(broken)
