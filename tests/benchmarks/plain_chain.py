"""The chain that people write: a Scrapy spider, trafilatura with metadata, an encoder, SQLite. Crawl's rival.

`python plain_chain.py FEED... --database FILE --model DIR --threads N` prints the seconds from the crawl's start to its
end and the pages it kept, as one JSON line. Models and libraries are loaded before the clock starts.
"""

import argparse
import json
import sqlite3
import time
from pathlib import Path
from typing import Any

import feedparser
import scrapy
import torch
import trafilatura
from scrapy.crawler import CrawlerProcess
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Pooling, Transformer

# Texts that the encoder gets at once; one by one it takes half as long again.
BATCH = 16


class Store:
    """The pipeline: articles are encoded in small batches and kept."""

    def __init__(self, database: Path, model: Path) -> None:
        words = Transformer(str(model), max_seq_length=256)
        modules = [words, Pooling(words.get_word_embedding_dimension(), "mean")]
        self.encoder = SentenceTransformer(modules=modules, device="cpu")
        self.connection = sqlite3.connect(database)
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute(
            "CREATE TABLE articles (url TEXT PRIMARY KEY, title TEXT, author TEXT, date TEXT, text TEXT, vector BLOB)"
        )
        self.waiting: list[Any] = []
        self.kept = 0

    def take(self, document: Any) -> None:
        self.waiting.append(document)
        if len(self.waiting) >= BATCH:
            self.flush()

    def flush(self) -> None:
        if not self.waiting:
            return
        texts = [f"{one.title}. {one.text}" for one in self.waiting]
        vectors = self.encoder.encode(texts, batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False)
        rows = [
            (one.url, one.title, one.author, one.date, one.text, vector.tobytes())
            for one, vector in zip(self.waiting, vectors, strict=True)
        ]
        with self.connection:
            self.connection.executemany("INSERT OR REPLACE INTO articles VALUES (?, ?, ?, ?, ?, ?)", rows)
        self.kept += len(rows)
        self.waiting = []


class NewsSpider(scrapy.Spider):
    """Feeds, then the page of each entry."""

    name = "news"

    def __init__(self, feeds: list[str], store: Store, **kw: Any) -> None:
        super().__init__(**kw)
        self.start_urls = feeds
        self.store = store

    def parse(self, response: Any) -> Any:
        for entry in feedparser.parse(response.body).entries:
            yield scrapy.Request(entry.link, callback=self.parse_page)

    def parse_page(self, response: Any) -> None:
        found = trafilatura.bare_extraction(response.text, url=response.url, with_metadata=True, include_comments=False)
        if found is not None and found.text:
            found.url = response.url
            self.store.take(found)

    def closed(self, reason: str) -> None:
        self.store.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("feeds", nargs="+")
    parser.add_argument("--database", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    store = Store(arguments.database, arguments.model)
    store.encoder.encode(["warm up"], show_progress_bar=False)
    # dateparser, which htmldate falls back on, takes seconds to load.
    trafilatura.bare_extraction(
        f"<html><body><p>{'A text without a date. ' * 20}</p></body></html>", with_metadata=True
    )
    process = CrawlerProcess(
        {"LOG_LEVEL": "ERROR", "CONCURRENT_REQUESTS_PER_DOMAIN": 8, "DOWNLOAD_DELAY": 0, "TELNETCONSOLE_ENABLED": False}
    )
    process.crawl(NewsSpider, feeds=arguments.feeds, store=store)
    began, spent = time.perf_counter(), time.process_time()
    process.start()
    figures = {"seconds": time.perf_counter() - began, "pages": store.kept, "cpu": time.process_time() - spent}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
