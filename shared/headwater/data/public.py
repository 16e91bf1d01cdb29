"""Readers of the public data sets that the benchmarks use; the data itself is never part of Headwater."""

import csv
import gzip
import html
import json
import re
from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from headwater.data.examples import TextExample
from headwater.errors import HeadwaterError, NotFound
from headwater.settings import load_settings

OUT_OF_SCOPE = "oos"
_ORIGINS = {
    "banking77": "https://github.com/PolyAI-LDN/task-specific-datasets (banking_data)",
    "clinc150": "https://github.com/clinc/oos-eval (data/data_full.json)",
    "xquad": "https://github.com/google-deepmind/xquad",
    "scifact": "https://github.com/allenai/scifact (BEIR: scifact)",
    "covidfaq": "https://github.com/ML-Recipes/BERT-FAQ (data/CovidFAQ)",
    "financial_phrasebank": "Malo et al. 2014, Financial PhraseBank v1.0 (FinancialPhraseBank-v1.0.zip)",
    "twitter_financial_news_sentiment": "https://huggingface.co/datasets/zeroshot/twitter-financial-news-sentiment",
    "sentfin": "https://github.com/pyRis/SEntFiN",
    "reuters21578": "https://archive.ics.uci.edu/dataset/137 (Reuters-21578, distribution 1.0)",
    "financial_news_headlines": "https://www.kaggle.com/datasets/notlucasp/financial-news-headlines",
    "mrpc": "Dolan and Brockett 2005, Microsoft Research Paraphrase Corpus",
    "company_gazetteer": "https://www.sec.gov/files/company_tickers.json",
    "zh_financial_news_sentiment": "https://github.com/wwwxmu/Dataset-of-financial-news-sentiment-classification",
}


@dataclass(frozen=True)
class TextSplits:
    """Published parts of a classification set; `valid` is empty where none was published."""

    train: list[TextExample]
    valid: list[TextExample]
    test: list[TextExample]


@dataclass(frozen=True)
class RetrievalSet:
    """Documents by id, queries by id, and which documents answer which query. `fit_*`: for choosing weights."""

    documents: dict[str, str]
    queries: dict[str, str]
    relevant: dict[str, set[str]]
    fit_queries: dict[str, str]
    fit_relevant: dict[str, set[str]]


@dataclass(frozen=True)
class TargetExample:
    """A text and what it means for one entity that it names; `group` is shared by the rows of one text."""

    text: str
    target: str
    others: tuple[str, ...]
    label: str
    group: str


@dataclass(frozen=True)
class NewsText:
    """A news article or headline as it was published; `companies` are those that it marks, as the mark has it."""

    id: str
    title: str
    text: str
    day: date
    companies: tuple[str, ...] = ()


def data_folder(name: str) -> Path:
    """The folder of a public set under HEADWATER_DATA. Raises NotFound with its public origin when missing."""
    root = load_settings().data
    folder = root / name if root else None
    if folder is None or not folder.is_dir():
        where = f"{folder} does not exist" if folder else "HEADWATER_DATA is not set"
        raise NotFound(f"the data set {name} is missing ({where}); it comes from {_ORIGINS.get(name, 'its publisher')}")
    return folder


def banking77() -> TextSplits:
    """Casanueva et al. 2020 (arXiv 2003.04807): 10,003 / 3,080 banking questions of 77 intents."""
    folder = data_folder("banking77")

    def part(name: str) -> list[TextExample]:
        with (folder / f"{name}.csv").open(newline="", encoding="utf-8") as source:
            rows = enumerate(csv.DictReader(source), start=1)
            return [TextExample(row["text"], (row["category"],), None, f"{name}.csv:{n}") for n, row in rows]

    return TextSplits(part("train"), [], part("test"))


def clinc150() -> TextSplits:
    """Larson et al. 2019 (arXiv 1909.02027), data_full; out-of-scope texts carry the label "oos"."""
    values = json.loads((data_folder("clinc150") / "data_full.json").read_text(encoding="utf-8"))

    def part(name: str) -> list[TextExample]:
        rows = values[name] + values[f"oos_{name}"]
        return [TextExample(text, (label,), None, f"{name}:{n}") for n, (text, label) in enumerate(rows, start=1)]

    return TextSplits(part("train"), part("val"), part("test"))


def xquad(language: str) -> RetrievalSet:
    """Artetxe et al. 2020 (arXiv 1910.11856) as retrieval: question → its paragraph among all 240."""
    path = data_folder("xquad") / f"xquad.{language}.json"
    articles = json.loads(path.read_text(encoding="utf-8"))["data"]
    paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
    documents = {str(number): paragraph["context"] for number, paragraph in enumerate(paragraphs)}
    queries, relevant = {}, {}
    for number, paragraph in enumerate(paragraphs):
        for question in paragraph["qas"]:
            queries[question["id"]] = question["question"]
            relevant[question["id"]] = {str(number)}
    return RetrievalSet(documents, queries, relevant, {}, {})


def scifact() -> RetrievalSet:
    """Wadden et al. 2020 (arXiv 2004.14974) by the BEIR protocol: validation claims → cited abstracts.

    `fit_*` are the training claims.
    """
    folder = data_folder("scifact")
    with gzip.open(folder / "corpus_train.csv.gz", "rt", newline="", encoding="utf-8") as source:
        documents = {row["doc_id"]: f"{row['title']}\n{_abstract(row['abstract'])}" for row in csv.DictReader(source)}
    queries, relevant = _claims(folder / "claims_validation.csv")
    fit_queries, fit_relevant = _claims(folder / "claims_train.csv")
    return RetrievalSet(documents, queries, relevant, fit_queries, fit_relevant)


def _abstract(cell: str) -> str:
    """The sentences of an abstract, which the CSV export prints as a numpy or Python list."""
    sentences = re.findall(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"", cell, re.DOTALL)
    return " ".join((a or b).strip() for a, b in sentences) or cell


def _claims(path: Path) -> tuple[dict[str, str], dict[str, set[str]]]:
    queries: dict[str, str] = {}
    relevant: dict[str, set[str]] = defaultdict(set)
    with path.open(newline="", encoding="utf-8") as source:
        for row in csv.DictReader(source):
            queries[row["id"]] = row["claim"]
            relevant[row["id"]].update(_ids(row["cited_doc_ids"]))
    return queries, dict(relevant)


def _ids(cell: str) -> list[str]:
    return cell.strip("[]").replace(",", " ").split()


def covidfaq() -> RetrievalSet:
    """Sun and Sedoc 2020 as packaged by BERT-FAQ: a user's question → the FAQ entry with the same answer."""
    rows = json.loads((data_folder("covidfaq") / "query_answer_pairs.json").read_text(encoding="utf-8"))
    documents, by_answer = {}, {}
    for row in rows:
        if row["query_type"] == "faq":
            documents[str(row["id"])] = f"{row['question']}\n{row['answer']}"
            by_answer[row["answer"]] = str(row["id"])
    asked = [row for row in rows if row["query_type"] == "user_query" and row["answer"] in by_answer]
    queries = {str(row["id"]): row["question"] for row in asked}
    return RetrievalSet(documents, queries, {str(r["id"]): {by_answer[r["answer"]]} for r in asked}, {}, {})


def financial_phrasebank(agreement: str = "50Agree") -> list[TextExample]:
    """Malo et al. 2014 (arXiv 1307.5336): financial news; `agreement` 50Agree, 66Agree, 75Agree, AllAgree."""
    path = data_folder("financial_phrasebank") / f"Sentences_{agreement}.txt"
    rows = [line.rpartition("@") for line in path.read_text(encoding="utf-8").splitlines() if "@" in line]
    return [TextExample(text.strip(), (label.strip(),)) for text, _, label in rows]


def twitter_financial_news() -> TextSplits:
    """Twitter Financial News Sentiment (zeroshot): 9,543 / 2,388 tweets, bearish, bullish or neutral."""
    names = {"0": "negative", "1": "positive", "2": "neutral"}

    def part(name: str) -> list[TextExample]:
        path = data_folder("twitter_financial_news_sentiment") / f"sent_{name}.csv"
        with path.open(newline="", encoding="utf-8") as source:
            return [TextExample(row["text"], (names[row["label"]],)) for row in csv.DictReader(source)]

    return TextSplits(part("train"), [], part("valid"))


def sentfin() -> list[TargetExample]:
    """Sinha et al. 2022 (arXiv 2305.12257): headlines with a sentiment for each entity that they name."""
    examples = []
    with (data_folder("sentfin") / "SEntFiN.csv").open(newline="", encoding="utf-8") as source:
        for row in csv.DictReader(source):
            # A few rows hold an unescaped quote, so that the literal cannot be evaluated.
            found = re.findall(r"""['"](.+?)['"]\s*:\s*['"](positive|neutral|negative)['"]""", row["Decisions"])
            names = [name for name, _ in found]
            for name, label in found:
                others = tuple(other for other in names if other != name)
                examples.append(TargetExample(row["Title"], name, others, label, row["S No."]))
    return examples


def zh_financial_news() -> list[TargetExample]:
    """Chinese company headlines (Xueqiu, Wind), positive or negative; the company's short name is the target."""
    names = {"0": "negative", "1": "positive"}
    with (data_folder("zh_financial_news_sentiment") / "news.csv").open(newline="", encoding="utf-8-sig") as source:
        rows = list(csv.reader(source))
    head = rows[0]
    columns = {name: head.index(name) for name in ("公司", "正负面", "标题")}
    return [
        TargetExample(row[columns["标题"]], row[columns["公司"]], (), names[row[columns["正负面"]]], str(number))
        for number, row in enumerate(rows[1:], 2)
    ]


def reuters21578() -> list[NewsText]:
    """Lewis 1997: the 19,043 wire articles of 1987 that have a body; a company's mark <XYZ> becomes (XYZ)."""
    articles = []
    for path in sorted(data_folder("reuters21578").glob("reut2-*.sgm.gz")):
        whole = gzip.decompress(path.read_bytes()).decode("latin-1")
        for document in re.findall(r"<REUTERS.*?</REUTERS>", whole, re.DOTALL):
            body = re.search(r"<BODY>(.*?)</BODY>", document, re.DOTALL)
            if body is None:
                continue
            title = re.search(r"<TITLE>(.*?)</TITLE>", document, re.DOTALL)
            number, day = re.search(r'NEWID="(\d+)"', document), re.search(r"<DATE>\s*([\w-]+)", document)
            if number is None or day is None:
                raise HeadwaterError(f"{path}: a document has no NEWID or no DATE; fetch the file again")
            text = re.sub(r"\s*reuter\s*$", "", html.unescape(body[1]), flags=re.IGNORECASE)
            heading = html.unescape(title[1]) if title else ""
            marked = dict.fromkeys(" ".join(m.split()) for m in re.findall(r"<([^<>]{1,40})>", f"{heading} {text}"))
            articles.append(
                NewsText(
                    number[1],
                    _unmarked(heading),
                    "\n".join(map(_unmarked, re.split(r"\n\s{2,}|\n\s*\n", text))),
                    datetime.strptime(day[1].title(), "%d-%b-%Y").date(),
                    tuple(marked),
                )
            )
    return articles


def _unmarked(text: str) -> str:
    return " ".join(re.sub(r"<([^<>]{1,40})>", r"(\1)", text).split())


def financial_headlines(publisher: str) -> list[NewsText]:
    """Headlines of "cnbc" (with a description) or "reuters" (tokenised there, put together here), 2017 to 2020."""
    path = data_folder("financial_news_headlines") / f"{publisher}_headlines.csv"
    with path.open(newline="", encoding="utf-8") as source:
        rows = list(csv.reader(source))
    if publisher == "reuters":
        return [NewsText(f"r{n}", _joined(row[1]), "", date.fromisoformat(row[0])) for n, row in enumerate(rows, 1)]
    return [NewsText(f"c{n}", row[0], row[2], _cnbc_day(row[1])) for n, row in enumerate(rows[1:], 2) if row[0]]


def _joined(tokens: str) -> str:
    """ "U . S . jobs fall , again : Fed" → "U.S. jobs fall, again: Fed"."""
    text = re.sub(r"\s+([,.:;?!%])", r"\1", tokens)
    return re.sub(r"\b([A-Z])\. (?=[A-Z]\.)", r"\1.", text)


def _cnbc_day(text: str) -> date:
    """The day of " 7:51  PM ET Fri, 17 July 2020"."""
    day, month, year = text.split()[-3:]
    return datetime.strptime(f"{day} {month[:3]} {year}", "%d %b %Y").date()


def mrpc() -> list[tuple[str, str, str]]:
    """Dolan and Brockett 2005: (id, sentence, paraphrase) of both parts, the 3,900 pairs judged to mean the same."""
    pairs = []
    for part in ("train", "test"):
        path = data_folder("mrpc") / f"msr_paraphrase_{part}.txt"
        for line in path.read_text(encoding="utf-8-sig").splitlines()[1:]:
            same, first, second, one, other = line.split("\t")
            if same == "1":
                pairs.append((f"{first}-{second}", one, other))
    return pairs
