"""The starter's texts and adapters fit together, and what judges them was not learnt from."""

import json
import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from finance_monitor import starter_texts, training
from finance_monitor.domain import SENTIMENTS
from finance_monitor.marking import find_all, mark_names
from finance_monitor.wording import LANGUAGES, dashboard_words, topic_keys, topic_name

STARTER = starter_texts.package_folder("starter")
TOPICS = tomllib.loads((starter_texts.package_folder("texts") / "topics.toml").read_text(encoding="utf-8"))


def rows(name: str) -> list[dict[str, object]]:
    path = STARTER / name
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


@pytest.mark.parametrize("group", ["en", "*"])
def test_adapters_fit_their_task_and_stay_small(group: str) -> None:
    for task in training.TASKS:
        name = training.starter_name(task, group)
        stored = json.loads((STARTER / f"{name}.json").read_text(encoding="utf-8"))
        assert set(stored["labels"]) == (set(SENTIMENTS) if task == "sentiment" else set(TOPICS))
        assert stored["base"] == training.BASES[task, group] and stored["licence"] == "Apache-2.0"
        most = 5_500_000 if stored["base"] == "mpnet" else 3_000_000
        assert (STARTER / f"{name}.safetensors").stat().st_size <= most
    total = sum(path.stat().st_size for path in STARTER.glob("*.safetensors"))
    assert total <= 13_000_000


def test_the_gate_is_large_enough_and_not_among_the_training_texts() -> None:
    gates = {(task, group): starter_texts.gate(task, group) for task in training.TASKS for group in ("en", "*")}
    assert sum(len(examples) for examples in gates.values()) >= 600
    trained = {str(row["text"]) for language in ("en", "zh") for row in rows(f"sentiment-train-{language}.jsonl")}
    trained |= {str(row["text"]) for row in rows("topics-train.jsonl")}
    judged = {str(row["text"]) for row in starter_texts.own_texts("gate")} | {
        str(r["text"]) for r in rows("topics-gate.jsonl")
    }
    assert judged & trained == set()


def test_targets_stand_in_their_texts() -> None:
    for name in ("texts.jsonl", "sentiment-train-en.jsonl", "sentiment-train-zh.jsonl", "contrast.jsonl"):
        for row in rows(name):
            assert row["target"] is None or str(row["target"]) in str(row["text"]), row


def written(part: str) -> list[dict[str, object]]:
    return [row for language in ("en", "zh") for row in rows(f"sentiment-{part}-{language}.jsonl")]


def frames(texts: list[dict[str, object]]) -> set[str]:
    """The texts without their companies and without numbers."""
    named: dict[str, set[str]] = {}
    for row in texts:
        named.setdefault(str(row["text"]), set()).update([str(row["target"] or ""), *row.get("others", ())])  # type: ignore[misc]
    found = set()
    for text, names in named.items():
        for name in sorted(names - {""}, key=len, reverse=True):
            text = text.replace(name, "@")
        found.add(re.sub(r"[\d.,]+", "0", text))
    return found


def test_no_frame_and_no_company_of_the_contrast_suite_is_trained_on() -> None:
    suite, trained = rows("contrast.jsonl"), written("train") + written("valid")
    assert len(trained) > 1000
    assert frames(suite) & frames(trained) == set()
    assert {row["target"] for row in suite} & {row["target"] for row in trained} == set()


def test_the_contrast_suite_holds_all_kinds_in_both_languages() -> None:
    pairs: dict[str, list[dict[str, object]]] = {}
    for row in rows("contrast.jsonl"):
        pairs.setdefault(str(row["pair"]), []).append(row)
    assert len(pairs) >= 600
    for name, (one, other) in pairs.items():
        assert one["label"] != other["label"], name
        assert (one["text"], one["target"]) != (other["text"], other["target"]), name
        assert name.startswith(f"{one['language']}-{one['kind']}-"), name
    counts = Counter((one["language"], one["kind"]) for one, _ in pairs.values())
    assert len(counts) == 2 * 9 and min(counts.values()) >= 25
    texts = [row["text"] for row in rows("contrast.jsonl") if row["label"] == "positive"]
    assert len(texts) == len(set(texts))


def test_names_are_replaced_so_that_swapping_them_changes_nothing() -> None:
    for one, other in (("Halden", "Orwell Air"), ("恒岑科技", "云砥软件")):
        language = "en" if one.isascii() else "zh"
        text = f"{one} beats {other}" if language == "en" else f"{one}起诉{other}"
        swapped = text.replace(one, "\0").replace(other, one).replace("\0", other)
        assert mark_names(text, one, [other], language) == mark_names(swapped, other, [one], language)
    assert mark_names("Sales rise", "Halden", [], "en") == "this company: Sales rise"
    assert find_all("Halden, HALDEN", "halden") == [(0, 6), (8, 14)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_bias_headlines_differ_only_in_what_is_swapped(language: str) -> None:
    part = tomllib.loads((STARTER / "bias.toml").read_text(encoding="utf-8"))[language]
    kinds = ("country", "gender", "person")
    assert sum(len(part[kind]["templates"]) for kind in kinds) >= 60
    for kind in kinds:
        for template in part[kind]["templates"]:
            assert template.count("{company}") == 1, template
            read = {
                tuple(
                    mark_names(template.format(company=company, **value), company, [], language)
                    for value in part[kind]["values"]
                )
                for company in part["companies"]
            }
            assert len(read) == 1, f"a company's name shows in: {template}"
            written = {template.format(company="", **value) for value in part[kind]["values"]}
            assert len(written) == len(part[kind]["values"]), template


def test_every_word_of_the_dashboard_is_there_in_both_languages() -> None:
    words = {language: dashboard_words(language) for language in LANGUAGES}
    assert words["en"].keys() == words["zh"].keys()
    used = set()
    for path in (Path(training.__file__).parent / "dashboard").glob("*.py"):
        used |= set(re.findall(r'words\["(\w+)"\]', path.read_text(encoding="utf-8")))
    assert used - words["en"].keys() == set()
    assert topic_name("cyber-incident", "zh") == "网络安全与故障" and topic_name("unknown", "en") == "unknown"


def test_the_guide_lists_every_event_type() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "finance-monitor.md").read_text(encoding="utf-8")
    for key in topic_keys():
        assert f"| `{key}` | {topic_name(key, 'en')} | {topic_name(key, 'zh')} |" in guide
