"""A promotion is taken up by a serving process without a failed request."""

import threading
import time
from collections.abc import Callable

import pytest

from headwater.bundles import Bundle, Registry, open_registry
from headwater.errors import Unavailable
from headwater.serving import Classifier, Live, MicroBatcher, load_classifier
from headwater.settings import Settings
from headwater.storage.engine import open_engine
from headwater.storage.migrations import migrate

Make = Callable[..., Bundle]


@pytest.fixture
def registry(settings: Settings) -> Registry:
    engine = open_engine(settings, "house")
    migrate(engine, "house")
    return open_registry(settings, engine)


def wait_for(condition: Callable[[], bool], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_nothing_in_production_is_said_with_the_way_out(registry: Registry, word_classifier: Make) -> None:
    live = Live(registry, "intents", load_classifier)
    registry.add("intents", word_classifier("a", {"x": "a"}, ("a", "b")), actor="ann")
    assert not live.available()
    with pytest.raises(Unavailable, match="no version of intents is in production; run: headwater setup"):
        live.get()
    registry.set_production("intents", 1, expected=None, actor="ann")
    assert live.available()
    assert live.get().predict(["x"])[0].label == "a"


def test_requests_of_many_threads_go_on_while_versions_change(registry: Registry, word_classifier: Make) -> None:
    for number, label in enumerate(("a", "b", "a", "b"), start=1):
        registry.add(
            "intents", word_classifier(f"v{number}", {"x": label, f"only{number}": "a"}, ("a", "b")), actor="ann"
        )
    registry.set_production("intents", 1, expected=None, actor="ann")

    def slow_load(bundle: Bundle) -> Classifier:
        time.sleep(0.2)
        return load_classifier(bundle)

    live = Live(registry, "intents", slow_load)
    batcher = MicroBatcher(lambda texts: live.get().probabilities(texts))
    failures: list[Exception] = []
    answers: list[str] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                answers.append("ab"[int(batcher(["x"])[0].argmax())])
            except Exception as error:
                failures.append(error)

    live.get()
    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for number in (2, 3, 4):
        wait_for(lambda: len(answers) > 50)
        registry.set_production("intents", number, expected=number - 1, actor="ann")
        answers.clear()
        wait_for(lambda number=number: "ab"[(number - 1) % 2] in answers)
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert live.get().id == registry.resolve("intents").id


def test_promotion_is_seen_within_a_second_and_the_former_model_still_answers_its_requests(
    registry: Registry, word_classifier: Make
) -> None:
    for number, label in enumerate(("a", "b"), start=1):
        registry.add("intents", word_classifier(f"v{number}", {"x": label}, ("a", "b")), actor="ann")
    registry.set_production("intents", 1, expected=None, actor="ann")
    live = Live(registry, "intents", load_classifier)
    former = live.get()
    registry.set_production("intents", 2, expected=1, actor="ann")
    wait_for(lambda: live.get().predict(["x"])[0].label == "b", 1.0)
    assert former.predict(["x"])[0].label == "a"


def test_promoted_bundle_that_was_damaged_leaves_the_former_model_answering(
    registry: Registry, word_classifier: Make
) -> None:
    for number, label in enumerate(("a", "b", "b"), start=1):
        made = word_classifier(f"v{number}", {"x": label, f"only{number}": "a"}, ("a", "b"))
        registry.add("intents", made, actor="ann")
    registry.set_production("intents", 1, expected=None, actor="ann")
    live = Live(registry, "intents", load_classifier)
    assert live.get().predict(["x"])[0].label == "a"
    damaged = registry.folder / registry.version("intents", 2).folder / "model.onnx"
    damaged.write_bytes(b"damaged")
    registry.set_production("intents", 2, expected=1, actor="ann")
    until = time.monotonic() + 1.2
    while time.monotonic() < until:
        assert live.get().predict(["x"])[0].label == "a"
    registry.set_production("intents", 3, expected=2, actor="ann")
    wait_for(lambda: live.get().predict(["x"])[0].label == "b", 2)
