"""One message → one reply: template, extracted sentences, refusal or hand-off, always with the reason why."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from headwater.errors import HeadwaterError, TooLarge
from headwater.language import detect_language
from headwater.retrieval import Hit, Index
from headwater.serving import Classifier, Encoder, Live, MicroBatcher
from headwater.serving.classifier import best_in_scope
from support_bot.domain import Answer, Citation, Passage, Understanding
from support_bot.extraction import Calibration, Extractor
from support_bot.slots import Vocabulary, find_slots
from support_bot.templates import Template
from support_bot.wording import say

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
_SHOWN_INTENTS = 5
# A calibrated probability from which a template answers without a look at the passages.
TEMPLATE_THRESHOLD = 0.7


@dataclass(frozen=True)
class Models:
    """The encoder of each language group, the intent classifier of each language (absent before training)."""

    encoders: Mapping[str, Encoder]
    intents: Mapping[str, Live[Classifier]]


class Answerer:
    """Answers for one site; safe to call from several threads."""

    def __init__(
        self,
        index: Index,
        models: Models,
        templates: Mapping[tuple[str, str], Template],
        calibrations: Mapping[str, Calibration],
        vocabulary: Vocabulary | None = None,
        longest_question: int = 2_000,
    ) -> None:
        self._index = index
        self._models = models
        self._templates = templates
        self._calibrations = calibrations
        self._vocabulary = vocabulary
        self._longest = longest_question
        self._extractor = Extractor()
        self._embed = {key: _query_batcher(encoder) for key, encoder in models.encoders.items()}

    def answer(self, message: str, language: str | None = None) -> Answer:
        """The reply to a message. Raises HeadwaterError for an empty one, TooLarge above the limit."""
        started = time.perf_counter()
        question = self.check(message)
        language = language or detect_language(question)
        timings: dict[str, float] = {}
        understanding = self.understand(question, language)
        _note(timings, "understanding", started)
        reply = self._from_template(understanding)
        if reply is None:
            reply = self._from_documents(question, understanding, timings)
        _note(timings, "total", started)
        return Answer(**{**reply.__dict__, "understanding": understanding, "timings": timings})

    def check(self, message: str) -> str:
        """The message without control characters; raises for one that is empty or too long."""
        if len(message) > self._longest:
            raise TooLarge(f"the message has {len(message):,} characters; at most {self._longest:,} are read")
        question = _CONTROL.sub("", message).strip()
        if not question:
            raise HeadwaterError("the message is empty; write a question")
        return question

    def understand(self, question: str, language: str) -> Understanding:
        """Intent with its calibrated probability, and slots."""
        slots = find_slots(question, self._vocabulary)
        live = self._models.intents.get(language)
        if live is None or not live.available():
            return Understanding(language, None, 0.0, False, {}, slots)
        classifier = live.get()
        row = classifier.probabilities([question])[0]
        labels = classifier.manifest.labels
        best = best_in_scope(
            row, labels, classifier.manifest.out_of_scope_label, classifier.thresholds.get("out_of_scope", 0.0)
        )
        top = {labels[i]: float(row[i]) for i in row.argsort()[::-1][:_SHOWN_INTENTS]}
        return Understanding(language, best.label, best.probability, best.in_scope, top, slots)

    def _from_template(self, found: Understanding) -> Answer | None:
        template = self._templates.get((found.intent or "", found.language))
        if template is None or not found.in_scope or found.probability < TEMPLATE_THRESHOLD:
            return None
        citation = self._citation(template)
        if template.document_id and citation is None:
            return None  # its source is gone or says something else now: the template may be stale
        return Answer(
            "handoff" if template.handoff else "template",
            template.fill(found.slots),
            found.language,
            found.probability,
            (citation,) if citation else (),
            found.intent,
        )

    def _citation(self, template: Template) -> Citation | None:
        """Where the template's source says what it says; None when the page no longer does."""
        if not template.document_id:
            return None
        try:
            document = self._index.document(template.document_id)
        except HeadwaterError:
            return None
        start = document.text.find(template.quote)
        if start < 0:
            return None
        section = next((s.title for s in reversed(document.sections) if s.start <= start), "")
        end = start + len(template.quote)
        return Citation(document.id, document.title, section, document.url, start, end, template.quote)

    def _from_documents(self, question: str, found: Understanding, timings: dict[str, float]) -> Answer:
        started = time.perf_counter()
        key = self._index.group_of(found.language)
        vector = self._embed[key]([question])[0]
        hits = self._index.search(question, 8, language=found.language, query_vector=vector)
        _note(timings, "retrieval", started)
        started = time.perf_counter()
        encoder = self._models.encoders[key]
        extract = self._extractor.extract(
            question, vector, hits, lambda texts: encoder.encode(texts, "passage"), encoder.id
        )
        passages = tuple(_passage(hit) for hit in hits)
        refused = Answer("refused", say("refused", found.language), found.language, 0.0, (), None, passages=passages)
        if extract is None:
            return refused
        calibration = self._calibrations[key]
        confidence = calibration.confidence(extract.evidence)
        _note(timings, "extraction", started)
        explanation = {**extract.evidence.__dict__, "confidence": confidence, "threshold": calibration.threshold}
        if confidence < calibration.threshold:
            return Answer(**{**refused.__dict__, "confidence": confidence, "explanation": explanation})
        return Answer(
            "extracted",
            extract.text,
            found.language,
            confidence,
            extract.citations,
            None,
            passages=passages,
            explanation=explanation,
        )


def _query_batcher(encoder: Encoder) -> MicroBatcher[str]:
    return MicroBatcher(lambda texts: encoder.encode(texts, "query"))


def _passage(hit: Hit) -> Passage:
    chunk = hit.chunk
    return Passage(chunk.document_id, chunk.title, chunk.section, chunk.text, hit.score, hit.cosine, hit.bm25)


def _note(timings: dict[str, float], stage: str, started: float) -> None:
    timings[stage] = round((time.perf_counter() - started) * 1000, 2)
