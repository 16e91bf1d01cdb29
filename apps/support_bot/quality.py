"""How good the answers are: questions with their expected source, and the fit of weights and confidence on others."""

import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from headwater.evaluation import ndcg_at_k
from headwater.language import detect_language
from headwater.retrieval import Weights, fit_weights
from support_bot.answering import Answerer
from support_bot.domain import Answer
from support_bot.extraction import Calibration, Evidence, fit_calibration
from support_bot.site import ENCODERS, package_folder

_INTENT_WEIGHTS = (0.0, 0.05, 0.1, 0.15, 0.2)
_MARGIN_COST = 0.02
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")


@dataclass(frozen=True)
class Question:
    """A question with the document and the words that answer it; both empty when nothing does."""

    text: str
    language: str
    document: str = ""
    sentence: str = ""


def read_questions(path: Path) -> list[Question]:
    """One JSON object a line: question, language, document, sentence."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [
        Question(
            r["question"],
            r.get("language") or detect_language(r["question"]),
            r.get("document") or "",
            r.get("sentence") or "",
        )
        for r in rows
    ]


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


def evaluate(answerer: Answerer, questions: Sequence[Question]) -> dict[str, dict[str, Any]]:
    """Scores by language."""
    scores = {}
    for language in sorted({question.language for question in questions}):
        rows = [(q, answerer.answer(q.text)) for q in questions if q.language == language]
        answerable = [(q, a) for q, a in rows if q.document]
        outside = [a for q, a in rows if not q.document]
        right = [is_right(a, q) for q, a in answerable]
        refused = [a.path == "refused" for _, a in answerable]
        scores[language] = {
            "answerable": len(answerable),
            "right": float(np.mean(right)) if right else 0.0,
            "refused": float(np.mean(refused)) if refused else 0.0,
            "wrong": float(np.mean([not r and not f for r, f in zip(right, refused, strict=True)])) if right else 0.0,
            "unanswerable": len(outside),
            "refused_rightly": float(np.mean([a.path in ("refused", "clarify") for a in outside])) if outside else 0.0,
            "median_ms": float(np.median([a.timings["total"] for _, a in rows])),
            "paths": dict(Counter(a.path for _, a in rows)),
        }
    return scores


def fit_starter(service: Any) -> list[str]:
    """Choose fusion weights, confidence and template margin by language group on the fit questions."""
    questions = read_questions(package_folder("sample_data") / "questions_fit.jsonl")
    index, answerer = service.index(None), service.answerer(None)
    lines = []
    weights: dict[str, float] = {}
    calibrations: dict[str, Any] = {}
    for group in ENCODERS:
        own = [q for q in questions if index.group_of(q.language) == group]
        answerable = [q for q in own if q.document]

        def score(candidate: Weights, group: str = group, answerable: list[Question] = answerable) -> float:
            index.weights[group] = candidate
            ranked = [[h.chunk.document_id for h in index.search(q.text, 10, language=q.language)] for q in answerable]
            unique = [list(dict.fromkeys(row)) for row in ranked]
            return float(np.mean([ndcg_at_k(row, {q.document}) for row, q in zip(unique, answerable, strict=True)]))

        best, value = fit_weights(score)
        index.weights[group] = best
        weights[group] = best.lexical
        found, tried = fit_calibrations(answerer, group, own)
        calibrations[group] = asdict(found)
        lines.append(
            f"{group}: lexical weight {best.lexical}, nDCG@10 {value:.4f} on {len(answerable)} questions; "
            f"{sum(t.extract_right for t in tried)} extracts right; confidence at least {found.threshold:.3f}, "
            f"intent weight {found.intent_weight}, template margin {found.template_margin:.3f}"
        )
    for name, content in (("fusion", weights), ("calibration", calibrations)):
        (package_folder("starter") / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    return lines


def fit_calibrations(
    answerer: Answerer, group: str, questions: Sequence[Question]
) -> tuple[Calibration, list["Attempt"]]:
    """The intent weight with most right extracts, then confidence and template margin at it."""
    best: tuple[Calibration, list[Attempt]] | None = None
    for weight in _INTENT_WEIGHTS:
        answerer.calibrate(group, Calibration(0.0, 0.0, 0.0, 0.0, intent_weight=weight))
        tried = [attempt_both(answerer, question) for question in questions]
        if best is None or sum(t.extract_right for t in tried) > sum(t.extract_right for t in best[1]):
            best = Calibration(0.0, 0.0, 0.0, 0.0, intent_weight=weight), tried
    if best is None:
        raise ValueError("no intent weights to try")
    chosen, tried = best
    extracts = [(t.evidence, t.extract_right) for t in tried if t.evidence is not None]
    fitted = fit_calibration([evidence for evidence, _ in extracts], [right for _, right in extracts])
    fitted = replace(fitted, intent_weight=chosen.intent_weight)
    fitted = replace(fitted, template_margin=fit_margin(tried, fitted))
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


def attempt_both(answerer: Answerer, question: Question) -> Attempt:
    """Answer a question both ways."""
    understanding = answerer.understand(question.text, question.language)
    found = answerer.look_up(question.text, understanding, {})
    extracted = Answer("extracted", "", question.language, 0.0)
    if found.extract is not None:
        extracted = replace(extracted, text=found.extract.text, citations=found.extract.citations)
    template = answerer.template_for(understanding)
    lead, template_right = None, False
    if template is not None and template.document_id:
        lead = answerer.template_lead(template, found)
        template_right = _answers(answerer.from_template(template, understanding), question)
    evidence = found.extract.evidence if found.extract else None
    return Attempt(question, evidence, _answers(extracted, question), lead, template_right)


def _answers(answer: Answer, question: Question) -> bool:
    return bool(question.document) and is_right(answer, question)


def fit_margin(tried: Sequence[Attempt], calibration: Calibration) -> float:
    """The least lead with which templates and extracts together answer about as many questions right as can be.

    Within _MARGIN_COST of the best share, templates are preferred: they were written to be read.
    """
    leads = sorted({t.lead for t in tried if t.lead is not None and math.isfinite(t.lead)})
    options = [-1.0, *(round(lead + 1e-4, 4) for lead in leads)]

    def right(attempt: Attempt, margin: float) -> bool:
        refused = attempt.evidence is None or calibration.confidence(attempt.evidence) < calibration.threshold
        if attempt.lead is not None and (refused or attempt.lead >= margin):
            return attempt.template_right
        return attempt.extract_right and not refused

    counts = {margin: sum(right(t, margin) for t in tried) for margin in options}
    enough = max(counts.values()) - _MARGIN_COST * sum(bool(t.question.document) for t in tried)
    return min(margin for margin, count in counts.items() if count >= enough)
