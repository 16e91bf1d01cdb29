"""Extracted answers: the sentences of the retrieved passages that answer, word for word, with how sure that is."""

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater.retrieval import Hit, split_sentences
from headwater.retrieval.lexical import tokenise
from support_bot.domain import Citation

_PASSAGES = 5
_SENTENCES = 48
_LONGEST_ANSWER = 420
_CACHE = 20_000
# A following sentence belongs to the answer when it is nearly as close to the question as the best one.
_MARGIN = 0.12
# What a question's likeness counts for the sentence after it, in question-answer sheets.
_AFTER_QUESTION = 0.97
_TITLE_SEPARATOR = ": "
# A row of a table says little without its head: a sentence that says the same is preferred.
_CELLS = " | "
_ROW_COST = 0.1

Encode = Callable[[Sequence[str]], NDArray[np.float32]]


@dataclass(frozen=True)
class Calibration:
    """Logistic weights of the evidence that a passage answers, fitted on questions with and without an answer.

    A template answers when its cosine to the question exceeds the best sentence's by `template_margin` (may be
    negative). Sentences of a document that the intent's template cites are preferred by `intent_weight` x probability,
    those that hold the question's words by `word_weight` x their share.
    """

    bias: float
    sentence: float
    passage: float
    overlap: float
    threshold: float = 0.5
    template_margin: float = 0.0
    intent_weight: float = 0.0
    word_weight: float = 0.0

    def confidence(self, evidence: "Evidence") -> float:
        """Probability that the extracted sentences answer the question."""
        value = self.bias + self.sentence * evidence.sentence + self.passage * evidence.passage
        return 1 / (1 + math.exp(-max(-30.0, min(30.0, value + self.overlap * evidence.overlap))))


@dataclass(frozen=True)
class Evidence:
    """Cosine of the best sentence and of the best passage, and the share of the question's terms in the passage."""

    sentence: float
    passage: float
    overlap: float


@dataclass(frozen=True)
class Extract:
    """The chosen sentences as citations in reading order, and the evidence for them."""

    citations: tuple[Citation, ...]
    evidence: Evidence

    @property
    def text(self) -> str:
        joined = ""
        for citation in self.citations:
            dense = bool(joined) and not joined[-1].isascii()
            joined += ("" if not joined or dense else " ") + " ".join(citation.quote.split())
        return joined


class Extractor:
    """Chooses sentences with a sentence encoder; vectors of sentences are kept, since pages are asked again."""

    def __init__(self) -> None:
        self._vectors: OrderedDict[tuple[str, str], NDArray[np.float32]] = OrderedDict()

    def extract(
        self,
        question: str,
        query_vector: NDArray[np.float32],
        hits: Sequence[Hit],
        encode: Encode,
        encoder_id: str,
        preferred: Mapping[str, float] | None = None,
        word_weight: float = 0.0,
    ) -> Extract | None:
        """The best answer in the hits; None when they hold no sentence.

        query_vector: unit [dimension]. `preferred`: what is added to the scores of a document's sentences.
        `word_weight`: what is added to a sentence with all words of the question.
        """
        sentences = _candidates(hits[:_PASSAGES])
        if not sentences:
            return None
        vectors = self.vectors([s.context for s in sentences], encode, encoder_id)
        cosines = vectors @ query_vector
        scores = _scores(sentences, cosines)
        terms = set(tokenise(question))
        worded = scores + word_weight * _shares(terms, sentences) if word_weight else scores
        bonus = np.array([(preferred or {}).get(s.hit.chunk.document_id, 0.0) for s in sentences])
        best = int((worded + bonus).argmax())
        chosen = _extend(sentences, worded, best)
        hit = sentences[best].hit
        shared = len(terms & set(tokenise(f"{hit.chunk.title} {hit.chunk.section} {hit.chunk.text}")))
        evidence = Evidence(float(scores[best]), max(h.cosine for h in hits), shared / max(len(terms), 1))
        return Extract(tuple(_citation(sentences[i]) for i in chosen), evidence)

    def vectors(self, texts: Sequence[str], encode: Encode, encoder_id: str) -> NDArray[np.float32]:
        """Unit vectors [texts, dimension], from the cache where they were encoded before."""
        missing = [text for text in dict.fromkeys(texts) if (encoder_id, text) not in self._vectors]
        if missing:
            for text, vector in zip(missing, encode(missing), strict=True):
                self._vectors[encoder_id, text] = vector
        rows = np.stack([self._vectors[encoder_id, text] for text in texts])
        while len(self._vectors) > _CACHE:
            self._vectors.popitem(last=False)
        return rows


@dataclass(frozen=True)
class _Sentence:
    hit: Hit
    start: int
    end: int
    text: str
    rank: int

    @property
    def context(self) -> str:
        """The sentence under its heading, which often names what the sentence speaks of."""
        head = self.hit.chunk.section or self.hit.chunk.title
        return f"{head}{_TITLE_SEPARATOR}{self.text}" if head and head not in self.text else self.text

    @property
    def is_question(self) -> bool:
        return self.text.endswith(("?", "？"))

    @property
    def is_heading(self) -> bool:
        return self.text in (self.hit.chunk.section, self.hit.chunk.title) or len(self.text) < 4


def _candidates(hits: Sequence[Hit]) -> list[_Sentence]:
    found: list[_Sentence] = []
    for rank, hit in enumerate(hits):
        for start, end in split_sentences(hit.chunk.text):
            found.append(_Sentence(hit, start, end, hit.chunk.text[start:end], rank))
    return found[:_SENTENCES]


def _scores(sentences: Sequence[_Sentence], cosines: NDArray[np.float32]) -> NDArray[np.float64]:
    """Cosine of each sentence, adjusted: questions and headings answer nothing, but vouch for what follows them."""
    scores = np.array(cosines, float)
    for i, sentence in enumerate(sentences):
        previous = sentences[i - 1] if i else None
        if previous is not None and previous.hit is sentence.hit and previous.is_question:
            scores[i] = max(scores[i], _AFTER_QUESTION * float(cosines[i - 1]))
        # A passage found first, by words and meaning together, is more often the right one.
        scores[i] += 0.15 * (sentence.hit.score - sentences[0].hit.score)
    for i, sentence in enumerate(sentences):
        if sentence.is_question or sentence.is_heading:
            scores[i] -= 1.0
        elif _CELLS in sentence.text:
            scores[i] -= _ROW_COST
    return scores


def _shares(terms: Set[str], sentences: Sequence[_Sentence]) -> NDArray[np.float64]:
    """Of the question's terms, the share that each sentence holds, [sentences]; terms that few of them hold count more.

    Vectors blur what is named: "cancel the rental" is as close to other sentences about rentals.
    """
    held = [terms & set(tokenise(sentence.text)) for sentence in sentences]
    counts = {term: sum(term in own for own in held) for term in terms}
    weights = {term: math.log(1 + (len(held) - n + 0.5) / (n + 0.5)) for term, n in counts.items()}
    total = sum(weights.values()) or 1.0
    return np.array([sum(weights[term] for term in own) / total for own in held])


def _extend(sentences: Sequence[_Sentence], scores: NDArray[np.float64], best: int) -> list[int]:
    """The best sentence and its neighbours of the same passage that are nearly as close, up to the longest answer."""
    first = last = best
    length = len(sentences[best].text)
    while True:
        options = [i for i in (last + 1, first - 1) if 0 <= i < len(sentences)]
        options = [i for i in options if sentences[i].hit is sentences[best].hit]
        options = [i for i in options if scores[i] >= scores[best] - _MARGIN]
        options = [i for i in options if length + len(sentences[i].text) <= _LONGEST_ANSWER]
        if not options or last - first >= 2:
            return list(range(first, last + 1))
        chosen = max(options, key=lambda i: scores[i])
        length += len(sentences[chosen].text)
        first, last = min(first, chosen), max(last, chosen)


def _citation(sentence: _Sentence) -> Citation:
    chunk = sentence.hit.chunk
    start = chunk.start + sentence.start
    return Citation(
        chunk.document_id, chunk.title, chunk.section, chunk.url, start, start + len(sentence.text), sentence.text
    )


def fit_calibration(evidence: Sequence[Evidence], answered: Sequence[bool], steps: int = 3000) -> Calibration:
    """Logistic regression on questions whose answer was right (True) or that have none (False), by gradient descent."""
    rows = np.array([[1.0, e.sentence, e.passage, e.overlap] for e in evidence])
    target = np.array(answered, float)
    mean, spread = rows.mean(0), rows.std(0)
    mean[0], spread[0] = 0.0, 1.0
    spread[spread == 0] = 1.0
    scaled = (rows - mean) / spread
    weights = np.zeros(4)
    for _ in range(steps):
        probability = 1 / (1 + np.exp(-scaled @ weights))
        weights -= 0.5 * (scaled.T @ (probability - target) / len(target) + 0.01 * np.array([0, *weights[1:]]))
    plain = weights / spread
    bias = float(plain[0] - (weights[1:] * mean[1:] / spread[1:]).sum())
    found = Calibration(bias, float(plain[1]), float(plain[2]), float(plain[3]))
    values = np.array([found.confidence(e) for e in evidence])
    best = max(np.unique(values), key=lambda t: _balanced(values >= t, target > 0.5))
    return Calibration(found.bias, found.sentence, found.passage, found.overlap, float(best))


def _balanced(accepted: NDArray[np.bool_], right: NDArray[np.bool_]) -> float:
    """Mean of the share answered among the answerable and refused among the others."""
    answered = accepted[right].mean() if right.any() else 1.0
    refused = (~accepted)[~right].mean() if (~right).any() else 1.0
    return float(answered + refused)
