"""The starter's model card says what its texts and reports say."""

import json
import re
from pathlib import Path

import pytest

from headwater.errors import HeadwaterError
from headwater.models import CATALOG
from support_bot import training

CARD = training.starter_folder() / "README.md"


def test_figures_of_the_model_card_are_those_of_the_texts_and_reports() -> None:
    text = CARD.read_text(encoding="utf-8")
    shown = text.split(training.CARD_BEGIN + "\n")[1].split(training.CARD_END)[0]
    assert shown == training.card_figures(), "run support_bot.training.write_card()"
    for language, column in (("en", 1), ("zh", 2)):
        report = json.loads((CARD.parent / f"intents-{language}.report.json").read_text(encoding="utf-8"))
        (row,) = re.findall(r"^\| gate: accuracy .*$", text, re.MULTILINE)
        assert row.split("|")[column + 1].split()[0] == f"{report['metrics']['test']['accuracy']['value']:.3f}"


def test_model_card_names_bases_labels_and_files_as_they_are() -> None:
    text = CARD.read_text(encoding="utf-8")
    for language, base in training.BASES.items():
        stored = json.loads((CARD.parent / f"intents-{language}.json").read_text(encoding="utf-8"))
        inside = [label for label in stored["labels"] if label != training.OUT_OF_SCOPE]
        assert f"which of {len(inside)} intents" in text
        assert re.search(rf"`{base}`, \d+M parameters, {re.escape(CATALOG[base].licence)}\)", text)
    named = set(re.findall(r"`([\w.-]+\.(?:jsonl?|safetensors))`", text))
    assert {name for name in named if not (CARD.parent / name).exists()} == set()
    assert {path.name for path in CARD.parent.iterdir()} - named == {"README.md"}


def test_card_is_rewritten_between_its_marks_and_one_without_them_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in training.starter_folder().iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.setattr(training, "starter_folder", lambda: tmp_path)
    card = tmp_path / "README.md"
    card.unlink()
    card.write_text(f"before\n{training.CARD_BEGIN}\nold\n{training.CARD_END}\nafter\n")
    training.write_card()
    training.write_card()
    assert card.read_text() == f"before\n{training.CARD_BEGIN}\n{training.card_figures()}{training.CARD_END}\nafter\n"
    card.write_text("no marks")
    with pytest.raises(HeadwaterError, match="has lost the lines"):
        training.write_card()
