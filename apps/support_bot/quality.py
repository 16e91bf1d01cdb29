"""How good the answers are: questions with their expected source, and the fit of weights and confidence on others."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headwater.evaluation import ndcg_at_k
from headwater.language import detect_language
from headwater.retrieval import Weights, fit_weights
from support_bot.answering import Answerer
from support_bot.domain import Answer
from support_bot.extraction import Evidence, Extractor, fit_calibration
from support_bot.site import ENCODERS, package_folder


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
    """The reply says the expected words, or cites them in the expected document."""
    quotes = " ".join(citation.quote for citation in answer.citations if citation.document_id == question.document)
    return (
        question.sentence in answer.text
        or question.sentence in quotes
        or (bool(quotes) and _overlaps(question, quotes))
    )


def _overlaps(question: Question, quotes: str) -> bool:
    return quotes in question.sentence and len(quotes) >= 0.5 * len(question.sentence)


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
    """Choose the fusion weight by nDCG@10 and the confidence by right and refused answers, on the fit questions."""
    questions = read_questions(package_folder("sample_data") / "questions_fit.jsonl")
    index = service.index(None)
    lines = []
    weights: dict[str, float] = {}
    calibrations: dict[str, Any] = {}
    for group in ENCODERS:
        own = [q for q in questions if index.group_of(q.language) == group]
        answerable = [q for q in own if q.document]

        def score(candidate: Weights, group: str = group, answerable: list[Question] = answerable) -> float:
            index._weights[group] = candidate
            ranked = [[h.chunk.document_id for h in index.search(q.text, 10, language=q.language)] for q in answerable]
            unique = [list(dict.fromkeys(row)) for row in ranked]
            return float(np.mean([ndcg_at_k(row, {q.document}) for row, q in zip(unique, answerable, strict=True)]))

        best, value = fit_weights(score)
        index._weights[group] = best
        weights[group] = best.lexical
        evidence, right = _evidence(service, own, group)
        found = fit_calibration(evidence, right)
        calibrations[group] = asdict(found)
        lines.append(
            f"{group}: lexical weight {best.lexical}, nDCG@10 {value:.4f} on {len(answerable)} questions; "
            f"threshold {found.threshold:.3f}, {sum(right)} of {len(own)} extracts right"
        )
    for name, content in (("fusion", weights), ("calibration", calibrations)):
        (package_folder("starter") / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    return lines


def _evidence(service: Any, questions: Sequence[Question], group: str) -> tuple[list[Evidence], list[bool]]:
    index, extractor = service.index(None), Extractor()
    encoder = index._embedders[group]
    evidence, right = [], []
    for question in questions:
        vector = encoder.encode([question.text], "query")[0]
        hits = index.search(question.text, 8, language=question.language, query_vector=vector)
        extract = extractor.extract(
            question.text, vector, hits, lambda texts: encoder.encode(texts, "passage"), encoder.id
        )
        if extract is None:
            continue
        answer = Answer("extracted", extract.text, question.language, 1.0, extract.citations)
        evidence.append(extract.evidence)
        right.append(bool(question.document) and is_right(answer, question))
    return evidence, right
