"""The monitor's models by language: encoders for stories, sentiment, topics; taken up live when they are promoted."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from finance_monitor.companies import target_sentence
from finance_monitor.domain import SENTIMENTS, Mention, Sentiment
from finance_monitor.marking import as_read, mark
from headwater.bundles import Bundle, Registry
from headwater.errors import Unavailable
from headwater.serving import Classifier, Live, load_classifier
from headwater.serving.encoder import Encoder, load_encoder

# Language group → the registry's names; "*" is every language without one of its own.
GROUPS = ("en", "*")
ENCODERS = {"en": "finance-encoder-en", "*": "finance-encoder-multilingual"}
SENTIMENT = {"en": "finance-sentiment-en", "*": "finance-sentiment-multilingual"}
TOPICS = {"en": "finance-topics-en", "*": "finance-topics-multilingual"}
# Below this probability of its best label the model abstains.
LEAST_PROBABILITY = 0.5
# Relevance from which a company's own sentiment is asked for.
LEAST_RELEVANCE = 10
_LEAD = 300
# Of a text, for its vector. Chinese and Japanese say as much in two fifths of the letters, which are as many tokens:
# 600 of them took four times as long as 600 of English.
_VECTOR_LEAD = 600
_VECTOR_LEAD_DENSE = 240
_DENSE = ("zh", "ja")
_TITLE = 300
_NO_TOPIC = "other"


def group_of(language: str) -> str:
    return "en" if language == "en" else "*"


@dataclass(frozen=True)
class Reading:
    """What the models say of a text."""

    overall: Sentiment
    companies: tuple[tuple[Mention, Sentiment], ...]
    topics: tuple[tuple[str, float], ...]
    models: dict[str, str] = field(default_factory=dict)


class Models:
    """Every model of the monitor. Texts are put to them one by one: with int8 what shares a batch moves the last digit,
    and a replay must find the same figures."""

    def __init__(self, registry: Registry, threads: int = 0) -> None:
        def classifier(bundle: Bundle) -> Classifier:
            return load_classifier(bundle, threads)

        def encoder(bundle: Bundle) -> Encoder:
            return load_encoder(bundle, threads)

        self._encoders = {group: Live(registry, name, encoder) for group, name in ENCODERS.items()}
        self._sentiment = {group: Live(registry, name, classifier) for group, name in SENTIMENT.items()}
        self._topics = {group: Live(registry, name, classifier) for group, name in TOPICS.items()}

    def load(self) -> None:
        """Load everything now. Raises Unavailable naming what is not prepared."""
        for live in (*self._encoders.values(), *self._sentiment.values(), *self._topics.values()):
            if not live.available():
                raise Unavailable(f"the model {live.name} is not prepared yet; run: headwater finance prepare")
            live.get()

    def ids(self) -> dict[str, str]:
        """Bundle ids by registry name, for the record of what an alert was judged by."""
        live = (*self._encoders.values(), *self._sentiment.values(), *self._topics.values())
        return {model.name: model.get().id for model in live}

    def vector(self, title: str, text: str, language: str) -> NDArray[np.float32]:
        """Unit vector of title and lead, for stories."""
        lead = _VECTOR_LEAD_DENSE if language in _DENSE else _VECTOR_LEAD
        return self._encoders[group_of(language)].get().encode([f"{title}. {text[:lead]}"], "query")[0]

    def read(self, title: str, text: str, mentions: Sequence[Mention], language: str) -> Reading:
        """Sentiment as a whole and for each company, and topics."""
        sentiment = self._sentiment[group_of(language)].get()
        topics = self._topics[group_of(language)].get()
        whole = f"{title}\n{text}"
        companies = tuple(
            (mention, _for_company(sentiment, whole, mention, mentions, language))
            for mention in mentions
            if mention.relevance >= LEAST_RELEVANCE and mention.spans
        )
        headline = (title if len(title) >= 12 else whole)[:_TITLE]
        if len(companies) == 1 and companies[0][1].sentence == headline:
            overall = companies[0][1]  # a headline about one company says as a whole what it says of that one
        else:
            overall = _judge(sentiment, as_read(headline, language), headline)
        return Reading(
            overall,
            companies,
            _topics(topics, f"{title}. {text[:_LEAD]}"),
            {"sentiment": sentiment.id, "topics": topics.id, "encoder": self._encoders[group_of(language)].get().id},
        )


def _for_company(
    model: Classifier, whole: str, mention: Mention, mentions: Sequence[Mention], language: str
) -> Sentiment:
    sentence = target_sentence(whole, mention)
    start = whole.index(sentence) if sentence in whole else 0

    def inside(other: Mention) -> list[tuple[int, int]]:
        return [(s - start, e - start) for s, e in other.spans if s >= start and e <= start + len(sentence)]

    others = [span for other in mentions if other.company_id != mention.company_id for span in inside(other)]
    return _judge(model, mark(sentence, inside(mention), others, language), sentence)


def _judge(model: Classifier, text: str, sentence: str) -> Sentiment:
    row = {name: float(p) for name, p in zip(model.manifest.labels, model.probabilities([text])[0], strict=True)}
    best = max(SENTIMENTS, key=lambda name: row[name])
    label = best if row[best] >= LEAST_PROBABILITY else ""
    return Sentiment(label, *(round(row[name], 4) for name in SENTIMENTS), sentence[:400])


def _topics(model: Classifier, text: str) -> tuple[tuple[str, float], ...]:
    """Topics whose probability reaches their threshold, most probable first."""
    row = model.probabilities([text])[0]
    said = [
        (name, round(float(p), 4))
        for name, p, least in zip(model.manifest.labels, row, model.label_thresholds, strict=True)
        if p >= least and name != _NO_TOPIC
    ]
    return tuple(sorted(said, key=lambda pair: (-pair[1], pair[0])))
