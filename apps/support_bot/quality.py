"""How good the answers are: questions with their expected source, and the fit of weights and confidence on others."""

import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from headwater.errors import HeadwaterError
from headwater.language import detect_language
from headwater.retrieval import Weights, fit_weights
from support_bot.answering import Answerer
from support_bot.domain import Answer
from support_bot.extraction import Calibration, Evidence, fit_calibration
from support_bot.site import ENCODERS

_LEXICAL_WEIGHTS = (0.1, 0.2, 0.3, 0.4)
_INTENT_WEIGHTS = (0.0, 0.05, 0.1)
_WORD_WEIGHTS = (0.0, 0.1, 0.2)
# Coarse, since the fit questions are few.
_THRESHOLDS = (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7)
_MARGIN_COST = 0.02
_FEWEST = 10
_REFUSED = ("refused", "clarify")
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")


@dataclass(frozen=True)
class Question:
    """A question with the document and the words that answer it; both empty when nothing does."""

    text: str
    language: str
    document: str = ""
    sentence: str = ""


def read_questions(path: Path) -> list[Question]:
    """One JSON object a line: question, language, document, sentence. Raises HeadwaterError naming the line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise HeadwaterError(f"{path} cannot be read: {error}") from error
    questions = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            text, document, sentence = (row.get(name) or "" for name in ("question", "document", "sentence"))
            questions.append(Question(text + "", row.get("language") or detect_language(text), document, sentence))
        except (ValueError, AttributeError, TypeError) as error:
            raise HeadwaterError(f"{path}:{number} must be a JSON object with question, document, sentence") from error
        if not text.strip() or bool(document) != bool(sentence):
            raise HeadwaterError(
                f"{path}:{number} needs a question, and document and sentence (both, or neither where nothing answers)"
            )
    if not questions:
        raise HeadwaterError(f"{path} holds no question")
    return questions


def is_right(answer: Answer, question: Question) -> bool:
    """The reply holds the expected sentence, or cites its document and gives all of the sentence's numbers.

    The second way is for templates, which put several sentences of a page into their own words.
    """
    cited = [citation for citation in answer.citations if citation.document_id == question.document]
    numbers = set(_NUMBER.findall(question.sentence))
    said = f"{answer.text} {' '.join(citation.quote for citation in cited)}"
    if question.sentence in " ".join(said.split()) or question.sentence in said:
        return True
    return bool(cited and numbers and numbers <= set(_NUMBER.findall(said)))


def _is_good(answer: Answer, question: Question) -> bool:
    """Right where there is an answer, refused where there is none."""
    refused = answer.path in _REFUSED
    return not refused and is_right(answer, question) if question.document else refused


def evaluate(answerer: Answerer, questions: Sequence[Question]) -> dict[str, dict[str, Any]]:
    """Scores by language. An answer in doubt, which offers a person (`clarify`), counts as refused, never as right."""
    scores = {}
    for language in sorted({question.language for question in questions}):
        rows = [(q, answerer.answer(q.text)) for q in questions if q.language == language]
        answerable = [(q, a) for q, a in rows if q.document]
        outside = [(q, a) for q, a in rows if not q.document]
        right = [_is_good(a, q) for q, a in answerable]
        refused = [a.path in _REFUSED for _, a in answerable]
        scores[language] = {
            "answerable": len(answerable),
            "right": float(np.mean(right)) if right else 0.0,
            "refused": float(np.mean(refused)) if refused else 0.0,
            "right_in_doubt": float(np.mean([a.path == "clarify" and is_right(a, q) for q, a in answerable]))
            if right
            else 0.0,
            "wrong": float(np.mean([not r and not f for r, f in zip(right, refused, strict=True)])) if right else 0.0,
            "unanswerable": len(outside),
            "refused_rightly": float(np.mean([_is_good(a, q) for q, a in outside])) if outside else 0.0,
            "median_ms": float(np.median([a.timings["total"] for _, a in rows])),
            "paths": dict(Counter(a.path for _, a in rows)),
        }
    return scores


def fit(service: Any, questions: Sequence[Question], output: Path) -> list[str]:
    """Choose fusion weights, confidence and template margin by language group; written to `output`, a folder.

    The fusion weight is the one with which most questions are answered or refused rightly in the end. Groups with too
    few questions are left out. Raises HeadwaterError when all have.
    """
    index, answerer = service.index(None), service.answerer(None)
    lines = []
    weights: dict[str, float] = {}
    calibrations: dict[str, Any] = {}
    for group in ENCODERS:
        own = [q for q in questions if index.group_of(q.language) == group]
        outside = sum(not q.document for q in own)
        if min(outside, len(own) - outside) < _FEWEST:
            lines.append(
                f"{group}: not fitted, {len(own) - outside} questions with an answer and {outside} without; "
                f"at least {_FEWEST} of each are needed"
            )
            continue

        def score(candidate: Weights, group: str = group, own: list[Question] = own) -> float:
            index.weights[group] = candidate
            found, tried = fit_calibrations(answerer, group, own)
            return float(np.mean([attempt.is_good(found) for attempt in tried]))

        best, value = fit_weights(score, _LEXICAL_WEIGHTS)
        index.weights[group] = best
        weights[group] = best.lexical
        found, tried = fit_calibrations(answerer, group, own)
        calibrations[group] = asdict(found)
        lines.append(
            f"{group}: lexical weight {best.lexical}, {value:.1%} of {len(own)} questions answered or refused rightly; "
            f"{sum(t.extract_right for t in tried)} extracts right; confidence at least {found.threshold:.3f}, "
            f"intent weight {found.intent_weight}, word weight {found.word_weight}, "
            f"template margin {found.template_margin:.3f}"
        )
    if not weights:
        raise HeadwaterError("; ".join(lines))
    output.mkdir(parents=True, exist_ok=True)
    for name, content in (("fusion", weights), ("calibration", calibrations)):
        (output / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    return lines


def fit_calibrations(
    answerer: Answerer, group: str, questions: Sequence[Question]
) -> tuple[Calibration, list["Attempt"]]:
    """The intent and word weights with most right extracts, then confidence and template margin at them."""
    chosen, tried = Calibration(0.0, 0.0, 0.0, 0.0), list[Attempt]()
    for intent_weight, word_weight in itertools.product(_INTENT_WEIGHTS, _WORD_WEIGHTS):
        candidate = replace(chosen, intent_weight=intent_weight, word_weight=word_weight)
        answerer.calibrate(group, candidate)
        attempts = [attempt_both(answerer, question) for question in questions]
        if not tried or sum(a.extract_right for a in attempts) > sum(t.extract_right for t in tried):
            chosen, tried = candidate, attempts
    extracts = [(t.evidence, t.extract_right) for t in tried if t.evidence is not None]
    fitted = fit_calibration([evidence for evidence, _ in extracts], [right for _, right in extracts])
    fitted = replace(fitted, intent_weight=chosen.intent_weight, word_weight=chosen.word_weight)
    fitted = fit_margins(tried, fitted)
    answerer.calibrate(group, fitted)
    return fitted, tried


@dataclass(frozen=True)
class Attempt:
    """What template and extraction would each say to a question; `lead` is None without a template."""

    question: Question
    evidence: Evidence | None
    extract_right: bool
    lead: float | None
    template_right: bool
    template_certain: bool

    def is_good(self, calibration: Calibration) -> bool:
        """Whether the question is answered or refused rightly with this calibration; as `Answerer.answer` decides."""
        refused = self.evidence is None or calibration.confidence(self.evidence) < calibration.threshold
        if self.lead is not None and (self.template_certain if refused else self.lead >= calibration.template_margin):
            return self.template_right
        return not self.question.document if refused else self.extract_right


def attempt_both(answerer: Answerer, question: Question) -> Attempt:
    """Answer a question both ways."""
    understanding = answerer.understand(question.text, question.language)
    found = answerer.look_up(question.text, understanding, {})
    extracted = Answer("extracted", "", question.language, 0.0)
    if found.extract is not None:
        extracted = replace(extracted, text=found.extract.text, citations=found.extract.citations)
    template = answerer.template_for(understanding)
    lead, template_right, certain = None, False, False
    if template is not None and template.document_id:
        lead = answerer.template_lead(template, found)
        certain = answerer.is_certain(template, understanding)
        template_right = _answers(answerer.from_template(template, understanding), question)
    evidence = found.extract.evidence if found.extract else None
    return Attempt(question, evidence, _answers(extracted, question), lead, template_right, certain)


def _answers(answer: Answer, question: Question) -> bool:
    return bool(question.document) and is_right(answer, question)


def fit_margins(tried: Sequence[Attempt], calibration: Calibration) -> Calibration:
    """With the confidence and the template margin with which most questions are answered or refused rightly.

    Of equal confidences the largest. Within _MARGIN_COST of the best share, templates are preferred: they were written
    to be read.
    """
    leads = sorted({t.lead for t in tried if t.lead is not None and math.isfinite(t.lead)})
    margins = [-1.0, *(round(lead + 1e-4, 4) for lead in leads)]

    def count(threshold: float, margin: float) -> int:
        candidate = replace(calibration, threshold=threshold, template_margin=margin)
        return sum(attempt.is_good(candidate) for attempt in tried)

    most = {threshold: max(count(threshold, margin) for margin in margins) for threshold in _THRESHOLDS}
    threshold = max(_THRESHOLDS, key=lambda value: (most[value], value))
    enough = most[threshold] - _MARGIN_COST * sum(bool(t.question.document) for t in tried)
    margin = min(margin for margin in margins if count(threshold, margin) >= enough)
    return replace(calibration, threshold=threshold, template_margin=margin)
