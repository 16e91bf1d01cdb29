"""One message → one reply: template, extracted sentences, refusal or hand-off, always with the reason why."""

import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from headwater.errors import HeadwaterError, TooLarge
from headwater.language import detect_language
from headwater.retrieval import Hit, Index, split_sentences
from headwater.serving import Classifier, Live
from headwater.serving.classifier import best_in_scope
from support_bot.domain import Answer, Citation, Passage, Understanding
from support_bot.extraction import Calibration, Encode, Extract, Extractor
from support_bot.follow_up import read_reply
from support_bot.slots import Vocabulary, find_slots, takes_up, without_personal
from support_bot.templates import Template
from support_bot.wording import say

# Control and invisible characters, and halves of surrogate pairs, which no encoder takes.
_CONTROL = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff"
    r"\U000e0000-\U000e007f]"
)
_SHOWN_INTENTS = 5
# The calibrated probability that an intent needs for its template to answer.
TEMPLATE_THRESHOLD = 0.7
# And that it needs where no sentence of the documents comes close to the question: on questions_fit.jsonl, each
# template below this answered something else than what was asked.
CERTAIN = 0.99


@dataclass(frozen=True)
class Models:
    """The intent classifier of each language (absent before training); encoders are the index's."""

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
        self._calibrations = dict(calibrations)
        self._vocabulary = vocabulary
        self._longest = longest_question
        self._extractor = Extractor()

    def calibrate(self, group: str, calibration: Calibration) -> None:
        """Replace the calibration of a language group (while fitting)."""
        self._calibrations[group] = calibration

    def answer(self, message: str, language: str | None = None, offered: str | None = None) -> Answer:
        """The reply to a message. Raises HeadwaterError for an empty one, TooLarge above the limit.

        `offered`: the language in which the turn before offered a person (`Conversations.offered`).
        """
        started = time.perf_counter()
        question = self.check(message)
        accepted = read_reply(question, offered) if offered else None
        if accepted is not None:
            return self._after_offer(accepted[0], language or accepted[1], started)
        language = language or detect_language(without_personal(question))
        timings: dict[str, float] = {}
        understanding = self.understand(question, language)
        _note(timings, "understanding", started)
        template = self.template_for(understanding)
        if template is not None and not template.document_id:
            reply = self.from_template(template, understanding)  # a greeting, thanks: nothing to look up
        else:
            found = self.look_up(question, understanding, timings)
            reply = self._from_documents(understanding, found)
            if template is not None and reply.path == "refused":
                reply = self._alone(template, understanding, found)
            elif template is not None and self.leads(template, understanding, found):
                reply = self.from_template(template, understanding, found)
        _note(timings, "total", started)
        return Answer(**{**reply.__dict__, "understanding": understanding, "timings": timings})

    def _after_offer(self, accepted: bool, language: str, started: float) -> Answer:
        timings: dict[str, float] = {}
        _note(timings, "total", started)
        if accepted:
            return Answer("handoff", say("handoff", language), language, 1.0, timings=timings)
        return Answer("template", say("declined", language), language, 1.0, timings=timings)

    def check(self, message: str) -> str:
        """The message without invisible characters; raises for one that is empty or too long."""
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
        row = classifier.probabilities([without_personal(question, language)])[0]
        labels = classifier.manifest.labels
        best = best_in_scope(
            row, labels, classifier.manifest.out_of_scope_label, classifier.thresholds.get("out_of_scope", 0.0)
        )
        top = {labels[i]: float(row[i]) for i in row.argsort()[::-1][:_SHOWN_INTENTS]}
        return Understanding(language, best.label, best.probability, best.in_scope, top, slots)

    def template_for(self, found: Understanding) -> Template | None:
        """The intent's template, when the intent is certain and the template's source still says what it quotes."""
        template = self._templates.get((found.intent or "", found.language))
        if template is None or not found.in_scope or found.probability < TEMPLATE_THRESHOLD:
            return None
        if template.document_id and self._citation(template) is None:
            # Its source is gone or says something else now: the template may be stale. A person is brought in anyway.
            if not template.handoff:
                return None
            return replace(template, text=say("handoff", found.language), document_id="", quote="")
        return template

    def is_certain(self, template: Template, understanding: Understanding) -> bool:
        """Whether the template may answer without a page that comes close to the question."""
        own = template.handoff or takes_up(template.slots, understanding.slots)
        return own or understanding.probability >= CERTAIN

    def leads(self, template: Template, understanding: Understanding, found: "Lookup") -> bool:
        """Whether the template is preferred to the documents' sentences.

        It is when it is close enough to the question, and when it speaks of this customer's order, which no page does.
        """
        if takes_up(template.slots, understanding.slots):
            return True
        return self.template_lead(template, found) >= found.calibration.template_margin

    def template_lead(self, template: Template, found: "Lookup") -> float:
        """How much closer the template is to the question than the best sentence of the documents (cosines).

        An intent is broad, a question may ask for a detail that its template leaves out: then a sentence is closer.
        """
        if template.handoff or found.extract is None:
            return math.inf
        plain = template.fill({})
        sentences = [plain[start:end] for start, end in split_sentences(plain)]
        vectors = self._extractor.vectors(sentences, found.encode, found.encoder_id)
        return float((vectors @ found.vector).max()) - found.extract.evidence.sentence

    def from_template(self, template: Template, understanding: Understanding, found: "Lookup | None" = None) -> Answer:
        """The template filled with the slots, citing where its source says so."""
        citation = self._citation(template)
        return Answer(
            "handoff" if template.handoff else "template",
            template.fill(understanding.slots),
            understanding.language,
            understanding.probability,
            (citation,) if citation else (),
            understanding.intent,
            passages=found.passages if found else (),
        )

    def _alone(self, template: Template, understanding: Understanding, found: "Lookup") -> Answer:
        """The template's answer where no sentence comes close; in doubt of the intent with the offer of a person."""
        reply = self.from_template(template, understanding, found)
        if self.is_certain(template, understanding):
            return reply
        return replace(reply, path="clarify", text=say("clarify", reply.language).format(answer=reply.text))

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

    def look_up(self, question: str, understanding: Understanding, timings: dict[str, float]) -> "Lookup":
        """The passages for a question and the sentences that answer it best."""
        started = time.perf_counter()
        language = understanding.language
        question = without_personal(question, language)
        key = self._index.group_of(language)
        calibration = self._calibrations[key]
        found = self._index.look_up(question, 8, language)
        # One encoder serves many languages: a page in another one than the question's answers nobody.
        hits = [hit for hit in found.hits if hit.chunk.language == language]
        _note(timings, "retrieval", started)
        started = time.perf_counter()
        encoder = found.embedder

        def encode(texts: Sequence[str]) -> NDArray[np.float32]:
            return encoder.encode(texts, "passage")

        preferred = self._preferred(understanding, calibration.intent_weight)
        extract = self._extractor.extract(
            question, found.vector, hits, encode, encoder.id, preferred, calibration.word_weight
        )
        _note(timings, "extraction", started)
        passages = tuple(_passage(hit) for hit in hits)
        return Lookup(found.vector, passages, extract, calibration, encode, encoder.id)

    def _preferred(self, understanding: Understanding, weight: float) -> dict[str, float]:
        """Documents that the templates of likely intents cite, weight x probability."""
        preferred: dict[str, float] = {}
        for intent, probability in understanding.probabilities.items():
            template = self._templates.get((intent, understanding.language))
            if template is not None and template.document_id:
                added = weight * probability
                preferred[template.document_id] = preferred.get(template.document_id, 0.0) + added
        return preferred

    def _from_documents(self, understanding: Understanding, found: "Lookup") -> Answer:
        language = understanding.language
        refused = Answer("refused", say("refused", language), language, 0.0, (), None, passages=found.passages)
        if found.extract is None:
            return refused
        confidence = found.calibration.confidence(found.extract.evidence)
        threshold = found.calibration.threshold
        explanation = {**found.extract.evidence.__dict__, "confidence": confidence, "threshold": threshold}
        if confidence < threshold:
            return Answer(**{**refused.__dict__, "confidence": confidence, "explanation": explanation})
        return Answer(
            "extracted",
            found.extract.text,
            language,
            confidence,
            found.extract.citations,
            None,
            passages=found.passages,
            explanation=explanation,
        )


@dataclass(frozen=True)
class Lookup:
    """What the documents hold for a question; `vector` is the question's unit vector [dimension]."""

    vector: NDArray[np.float32]
    passages: tuple[Passage, ...]
    extract: Extract | None
    calibration: Calibration
    encode: Encode
    encoder_id: str


def _passage(hit: Hit) -> Passage:
    chunk = hit.chunk
    return Passage(chunk.document_id, chunk.title, chunk.section, chunk.text, hit.score, hit.cosine, hit.bm25)


def _note(timings: dict[str, float], stage: str, started: float) -> None:
    timings[stage] = round((time.perf_counter() - started) * 1000, 2)
