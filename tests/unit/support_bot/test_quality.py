"""Scores of answers on the sample shop keep their floor; what is fitted is chosen by what the customer gets."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from headwater.cli.main import cli
from headwater.errors import HeadwaterError
from headwater.retrieval import Weights
from headwater.settings import load_settings
from headwater.web import open_context
from support_bot import quality
from support_bot.extraction import Calibration, Evidence
from support_bot.quality import Attempt, Question, fit_margins, read_questions
from support_bot.service import Service
from support_bot.site import calibrations, fusion_weights, package_folder, site_folder

QUESTIONS = package_folder("sample_data") / "questions_fit.jsonl"
ASKED = Question("How long does a refund take?", "en", "refunds", "A refund takes 5 working days.")
UNASKED = Question("Who won the football?", "en")
# A sentence's cosine is the confidence, nearly.
CALIBRATION = Calibration(-10.0, 20.0, 0.0, 0.0)


def attempt(question: Question, sentence: float, **more: object) -> Attempt:
    made = Attempt(question, Evidence(sentence, 0.0, 0.0), True, None, False, False)
    return replace(made, **more)  # type: ignore[arg-type]


@pytest.mark.models
def test_answers_of_the_sample_shop_keep_their_floor(shop_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured: en 78.6 % right, 11.2 % wrong, 10.0 % of the unanswerable answered; zh 93.5, 4.3 and 16.0 %.

    One question is 1 to 4 points; int8 encoders differ in the last digits from machine to machine.
    """
    monkeypatch.setenv("HEADWATER_HOME", str(shop_home))
    monkeypatch.delenv("HEADWATER_DATABASE_URL", raising=False)

    scores = json.loads(CliRunner().invoke(cli, ["support", "eval", "--json"]).stdout)

    assert (scores["en"]["answerable"], scores["en"]["unanswerable"]) == (98, 40)
    assert (scores["zh"]["answerable"], scores["zh"]["unanswerable"]) == (46, 25)
    assert scores["en"]["right"] >= 0.75
    assert scores["zh"]["right"] >= 0.89
    assert scores["en"]["wrong"] <= 0.15
    assert scores["zh"]["wrong"] <= 0.09
    assert scores["en"]["refused_rightly"] >= 0.85
    assert scores["zh"]["refused_rightly"] >= 0.76
    for row in scores.values():
        assert row["right"] + row["wrong"] + row["refused"] == pytest.approx(1)


@pytest.mark.models
def test_shares_are_printed_by_language_and_for_questions_without_an_answer(
    shop_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWATER_HOME", str(shop_home))
    monkeypatch.delenv("HEADWATER_DATABASE_URL", raising=False)
    rows = [
        ("How long does a refund take?", "refunds", "A refund takes 5 working days after your parcel"),
        ("How long does a refund take, then?", "refunds", "A refund takes 30 years."),
        ("Who won the football yesterday?", "refunds", "A refund takes 5 working days after your parcel"),
        ("Who won the tennis yesterday?", "", ""),
        ("退款多久能到账？", "", ""),
    ]
    data = tmp_path / "mine.jsonl"
    lines = [json.dumps({"question": q, "document": d, "sentence": s}) for q, d, s in rows]
    data.write_text("\n".join(lines))

    english, chinese = CliRunner().invoke(cli, ["support", "eval", "--data", str(data)]).stdout.splitlines()

    assert english.startswith("en: 3 answerable: 33.3% right, 33.3% wrong, 33.3% refused")
    assert "1 without an answer: 0.0% answered, 100.0% refused" in english
    assert "1 without an answer: 100.0% answered, 0.0% refused" in chinese


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "holds no question"),
        ('{"question": "a?"}\n{', r"mine\.jsonl:2 must be a JSON object"),
        ('["a?"]', r"mine\.jsonl:1 must be a JSON object"),
        ('{"question": 5}', r"mine\.jsonl:1 must be a JSON object"),
        ('{"text": "a?"}', r"mine\.jsonl:1 needs a question"),
        ('{"question": "a?", "document": "refunds"}', r"mine\.jsonl:1 needs a question, and document and sentence"),
    ],
)
def test_a_malformed_file_of_questions_is_named_with_the_line(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(text)

    with pytest.raises(HeadwaterError, match=reason):
        read_questions(path)


def test_a_missing_file_of_questions_is_named(tmp_path: Path) -> None:
    with pytest.raises(HeadwaterError, match=r"nope\.jsonl cannot be read"):
        read_questions(tmp_path / "nope.jsonl")


@pytest.mark.models
def test_what_is_fitted_on_own_questions_is_kept_for_the_site_and_used(
    shop_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWATER_HOME", str(shop_home))
    monkeypatch.delenv("HEADWATER_DATABASE_URL", raising=False)
    monkeypatch.setattr(quality, "_LEXICAL_WEIGHTS", (0.2,))
    sample = [json.loads(line) for line in QUESTIONS.read_text(encoding="utf-8").splitlines()]
    english = [row for row in sample if row["language"] == "en"]
    rows = [row for row in english if row["document"]][:10] + [row for row in english if not row["document"]][:10]
    data = tmp_path / "mine.jsonl"
    data.write_text("\n".join(json.dumps(row) for row in rows))
    own = site_folder(load_settings(), "shop")

    done = CliRunner().invoke(cli, ["support", "fit", "--data", str(data)])

    assert done.exit_code == 0, done.output
    assert "*: not fitted, 0 questions with an answer and 0 without" in done.output
    assert json.loads((own / "fusion.json").read_text()) == {"en": 0.2}
    assert fusion_weights(own) == {**fusion_weights(), "en": Weights(0.2)}
    assert calibrations(own)["*"] == calibrations()["*"]
    assert calibrations(own)["en"] == Calibration(**json.loads((own / "calibration.json").read_text())["en"])
    service = Service(open_context(load_settings()))
    service.open()
    assert service.index(None).weights["en"] == Weights(0.2)
    assert service.answerer(None).answer("How long does a refund take?").path in ("template", "extracted")
    for path in own.iterdir():
        path.unlink()


def test_an_attempt_is_good_when_what_the_customer_gets_is() -> None:
    for question, sentence, more, good in (
        (ASKED, 0.9, {}, True),
        (ASKED, 0.9, {"extract_right": False}, False),
        (ASKED, 0.1, {}, False),
        (UNASKED, 0.1, {}, True),
        (UNASKED, 0.9, {"extract_right": False}, False),
        (ASKED, 0.9, {"extract_right": False, "lead": 0.1, "template_right": True}, True),
        (ASKED, 0.9, {"extract_right": False, "lead": -0.1, "template_right": True}, False),
        (ASKED, 0.1, {"lead": 0.1, "template_right": True, "template_certain": True}, True),
        (ASKED, 0.1, {"lead": 0.1, "template_right": True}, False),
        (UNASKED, 0.1, {"lead": 0.1}, True),
        (UNASKED, 0.1, {"lead": 0.1, "template_certain": True}, False),
    ):
        assert attempt(question, sentence, **more).is_good(CALIBRATION) is good, (question, sentence, more)


def test_the_confidence_and_margin_with_most_good_answers_are_chosen() -> None:
    tried = [attempt(ASKED, 0.52) for _ in range(9)] + [attempt(UNASKED, 0.49, extract_right=False) for _ in range(9)]
    tried += [attempt(ASKED, 0.9, extract_right=False, lead=0.1, template_right=True) for _ in range(4)]
    tried += [attempt(ASKED, 0.9, lead=-0.1) for _ in range(4)]

    found = fit_margins(tried, CALIBRATION)

    assert all(t.is_good(found) for t in tried)
    assert found.threshold == 0.55
    assert -0.1 < found.template_margin <= 0.1
