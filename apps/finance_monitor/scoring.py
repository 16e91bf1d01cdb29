"""A user's own texts → the wire form of sentiment, companies and topics."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from finance_monitor.companies import Gazetteer
from finance_monitor.domain import Sentiment
from finance_monitor.models import Models
from headwater.language import detect_language
from headwater.progress import Progress, Step, silent
from headwater.storage.columns import now


def score_texts(
    texts: Sequence[str],
    models: Models,
    gazetteer: Gazetteer,
    *,
    moment: datetime | None = None,
    progress: Progress = silent,
) -> list[dict[str, Any]]:
    """One result a text: {text, language, sentiment, companies, topics}. The first line counts as the title."""
    found = []
    for number, text in enumerate(texts):
        title, _, rest = text.partition("\n")
        language = detect_language(text)
        mentions = gazetteer.mentions(title, rest, moment or now())
        reading = models.read(title, rest, mentions, language)
        found.append(
            {
                "text": text,
                "language": language,
                "sentiment": wire_sentiment(reading.overall),
                "companies": [
                    {
                        "company_id": mention.company_id,
                        "name": mention.name,
                        "ticker": mention.ticker,
                        "relevance": mention.relevance,
                        "sentiment": wire_sentiment(sentiment),
                    }
                    for mention, sentiment in reading.companies
                ],
                "topics": [{"topic": topic, "probability": probability} for topic, probability in reading.topics],
            }
        )
        progress(Step(number + 1, len(texts), "texts"))
    return found


def wire_sentiment(sentiment: Sentiment) -> dict[str, Any]:
    """{label, probabilities}; the label is "" where the model abstains."""
    values = asdict(sentiment)
    return {
        "label": sentiment.label,
        "probabilities": {name: values[name] for name in ("positive", "neutral", "negative")},
    }
