"""What the starter is tuned on and judged by: public sets with an open licence, and texts written for this project."""

import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from finance_monitor.companies import Gazetteer, read_gazetteer
from finance_monitor.marking import as_read, mark, mark_names
from headwater.data import TextExample, split_grouped
from headwater.data.public import sentfin, twitter_financial_news

# The sample world is written from frames; several draws of it use most of what they can say.
WORLD_SEEDS = (101, 102, 103, 104)
_WORLD_ANCHOR = datetime(2026, 3, 2, 12, tzinfo=UTC)
_PUBLIC_HELP = 6_000
_OWN_TIMES = 3


def package_folder(name: str) -> Path:
    """A data folder of this package."""
    return Path(str(files("finance_monitor") / name))


def own_texts(part: str) -> list[dict[str, Any]]:
    """Rows of starter/texts.jsonl: text, language, target (or null), label, topics, part (train, valid, gate)."""
    path = package_folder("starter") / "texts.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [row for row in rows if row["part"] == part]


def sentiment_example(row: dict[str, Any]) -> TextExample:
    """An own text as the model reads it."""
    others = row.get("others", ())
    return TextExample(_read_for(row["text"], row["target"], others, row["language"]), (row["label"],))


def _read_for(text: str, target: str | None, others: Sequence[str], language: str) -> str:
    return mark_names(text, target, others, language) if target else as_read(text, language)


def gate(task: str, group: str) -> list[TextExample]:
    """The gate's texts of a model; written by hand, none of them from the sample world's frames."""
    rows = [row for row in own_texts("gate") if (row["language"] == "en") == (group == "en")]
    if task == "sentiment":
        return [sentiment_example(row) for row in rows]
    written = written_topics("gate", ("en",) if group == "en" else ("zh",))
    return [TextExample(row["text"], tuple(row["topics"])) for row in rows] + written


def written_texts(part: str, language: str) -> list[TextExample]:
    """Headlines written to teach wording that turns a meaning round (starter/sentiment-PART-LANGUAGE.jsonl)."""
    path = package_folder("starter") / f"sentiment-{part}-{language}.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
    named: dict[str, set[str]] = {}
    for row in rows:
        named.setdefault(row["text"], set()).add(row["target"] or "")
    examples = []
    for row in rows:
        target = row["target"]
        others = sorted(named[row["text"]] - {target, ""})
        examples.append(TextExample(_read_for(row["text"], target, others, language), (row["label"],)))
    return examples


def written_topics(part: str, languages: Sequence[str]) -> list[TextExample]:
    """Texts written for the topic model (starter/topics-PART.jsonl)."""
    path = package_folder("starter") / f"topics-{part}.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
    return [TextExample(row["text"], tuple(row["labels"])) for row in rows if row["language"] in languages]


def world_texts(language: str, task: str) -> list[TextExample]:
    """Titles, and titles with their first sentences, of several draws of the sample world."""
    from finance_monitor.world import build_world

    gazetteer = Gazetteer(read_gazetteer(package_folder("sample_data") / "gazetteer.csv"))
    found: dict[str, TextExample] = {}
    for seed in WORLD_SEEDS:
        for article in build_world(_WORLD_ANCHOR, seed).articles:
            if not article.language.startswith(language) or article.reprint_of or article.kind == "comment":
                continue
            if task == "topics":
                labels = tuple(sorted(article.topics)) or ("other",)
                for text in (article.title, f"{article.title}. {article.summary}"):
                    found[text] = TextExample(text, labels, group=article.event)
                continue
            mentions = gazetteer.mentions(article.title, "", article.published)
            for mention in mentions:
                if mention.company_id not in article.polarity:
                    continue
                others = [span for m in mentions if m.company_id != mention.company_id for span in m.spans]
                text = mark(article.title, mention.spans, others, language)
                found[text] = TextExample(text, (article.polarity[mention.company_id],), group=article.event)
    return list(found.values())


def public_sentiment() -> list[TextExample]:
    """The English sets that a starter may be tuned on: tweets as they are, headlines once for each company."""
    marked = [
        TextExample(mark_names(row.text, row.target, row.others, "en"), (row.label,), group=f"s{row.group}")
        for row in sentfin()
    ]
    tweets = [
        TextExample(as_read(e.text, "en"), e.labels, group=f"t{i}")
        for i, e in enumerate(twitter_financial_news().train)
    ]
    return marked + tweets


def starter_data(
    task: str, group: str, seed: int = 0, *, public: bool = True
) -> tuple[list[TextExample], list[TextExample]]:
    """Training and validation part of a starter model; what one event or headline gave stays in one part.

    Without `public` only what is packaged, which a user has.
    """
    languages = ("en",) if group == "en" else ("en", "zh")
    examples: list[TextExample] = []
    if task == "sentiment" and public:
        found = public_sentiment()
        # For the multilingual model English is the help, and Chinese the task.
        examples += found if group == "en" else random.Random(seed).sample(found, _PUBLIC_HELP)
    # For topics the English half of the world adds little to what the multilingual model needs: Chinese.
    worlds = ("zh",) if task == "topics" and group == "*" else languages
    for language in worlds:
        examples += world_texts(language, task)
    train, valid = split_grouped(examples, 0.1, seed)
    for part, kept in (("train", train), ("valid", valid)):
        rows = [row for row in own_texts(part) if row["language"] in languages]
        if task == "sentiment":
            own = [sentiment_example(row) for row in rows]
            own += [example for language in languages for example in written_texts(part, language)]
            # Among 19,000 public texts, read once, the few that teach what turns a meaning round would be lost.
            kept += own * (_OWN_TIMES if group == "en" and public and part == "train" else 1)
        else:
            kept += [TextExample(row["text"], tuple(row["topics"])) for row in rows]
            kept += written_topics(part, languages)
    random.Random(seed).shuffle(train)
    return [_plain(e) for e in train], [_plain(e) for e in valid]


def _plain(example: TextExample) -> TextExample:
    return TextExample(example.text, example.labels)
