"""support-load: a real gateway on the sample shop, asked over HTTP by 1, 4 and 16 clients at once.

First every question is asked once, by one client, to learn the path that answers it; then the questions of each path
are asked at each level of load, and all of them mixed. A closed loop: each client asks again once it has its reply.
"""

import json
import os
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from harness import QUICK, ROOT, Benchmark, Row
from shop import Gateway, gateway, shop_home

from headwater.data import TextExample, fingerprint

CLIENTS = (1, 4, 16)
QUESTIONS = 200 if QUICK else 2_000
# At most this many questions of a path and level, so that a full run stays within minutes.
MOST = 60 if QUICK else 600
SEED = 20_251
# p95 in ms at this many clients.
MUST_CLIENTS = 4
MUST = {"template": 60.0, "extracted": 250.0}
LANGUAGES = ("en", "zh")
_CLIENT_SECONDS = 900


@dataclass(frozen=True)
class Reply:
    """One reply as the client saw it; `path` is empty for an error."""

    message: str
    status: int
    milliseconds: float
    path: str
    language: str
    answer: str
    timings: dict[str, float]


@dataclass(frozen=True)
class Run:
    """All replies of one run of the client process and the time from its first request to its last reply."""

    seconds: float
    replies: list[Reply]

    def milliseconds(self, language: str = "") -> list[float]:
        return [r.milliseconds for r in self.replies if r.path and language in ("", r.language)]

    @property
    def errors(self) -> int:
        return sum(reply.status != 200 for reply in self.replies)


def read_messages() -> list[str]:
    """Distinct questions of the sample shop and texts of the intents' gate and validation sets, shuffled."""
    app = ROOT / "apps" / "support_bot"
    found: list[str] = []
    for path, key in (
        (app / "sample_data" / "questions.jsonl", "question"),
        (app / "sample_data" / "questions_fit.jsonl", "question"),
        (app / "starter" / "gate.jsonl", "text"),
        (app / "starter" / "valid.jsonl", "text"),
    ):
        found += [json.loads(line)[key] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    messages = list(dict.fromkeys(found))
    random.Random(SEED).shuffle(messages)
    return messages[:QUESTIONS]


def ask(served: Gateway, messages: Sequence[str], clients: int) -> Run:
    """Ask all messages from `clients` connections of one client process."""
    address = urlsplit(served.url)
    task = {"host": address.hostname, "port": address.port, "token": served.token, "clients": clients}
    task |= {"messages": list(messages)}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("load_client.py"))],
        input=json.dumps(task).encode(),
        stdout=subprocess.PIPE,
        check=True,
        timeout=_CLIENT_SECONDS,
    )
    result = json.loads(done.stdout)
    return Run(result["seconds"], [_reply(m, r) for m, r in zip(messages, result["replies"], strict=True)])


def _reply(message: str, raw: dict[str, Any]) -> Reply:
    if raw["status"] != 200:
        print(f"  {raw['status']}: {raw['body'][:200]}", flush=True)
        return Reply(message, raw["status"], raw["milliseconds"], "", "", "", {})
    body = json.loads(raw["body"])
    return Reply(message, 200, raw["milliseconds"], body["path"], body["language"], body["answer"], body["timings"])


def counted(clients: int) -> str:
    return f"{clients} client{'s' if clients > 1 else ''}"


def add_times(bench: Benchmark, name: str, run: Run, clients: int, must: float | None) -> None:
    """p50 and p95 of all replies and of each language, and replies a second."""
    words = counted(clients)
    for language in ("", *LANGUAGES):
        times = run.milliseconds(language)
        if times:
            bench.add(Row(f"{name}, p50, {words}", float(np.quantile(times, 0.5)), "ms", "lower", language=language))
            bar = must if clients == MUST_CLIENTS else None
            bench.add(
                Row(
                    f"{name}, p95, {words}", float(np.quantile(times, 0.95)), "ms", "lower", language=language, must=bar
                )
            )
    bench.add(Row(f"{name}, throughput, {words}", len(run.replies) / run.seconds, "answers/s"))


def add_stage(bench: Benchmark, stage: str, run: Run, clients: int) -> None:
    """p95 of a stage inside the gateway, from the replies' own timings."""
    for language in LANGUAGES:
        times = [r.timings[stage] for r in run.replies if r.language == language and stage in r.timings]
        if times:
            p95 = float(np.quantile(times, 0.95))
            bench.add(
                Row(f"{stage} inside the gateway, p95, {counted(clients)}", p95, "ms", "lower", language=language)
            )


def add_first_pass(bench: Benchmark, alone: Run) -> None:
    """p95 of the first time that each question is asked, sentences of pages being embedded as they are found."""
    for path in MUST:
        for language in LANGUAGES:
            times = [r.milliseconds for r in alone.replies if (r.path, r.language) == (path, language)]
            if times:
                p95 = float(np.quantile(times, 0.95))
                bench.add(Row(f"{path}, p95, first pass, 1 client", p95, "ms", "lower", language=language))


def protocol(messages: Sequence[str], paths: Mapping[str, Sequence[str]], load: float) -> str:
    """What the rows mean, and what they leave out."""
    counts = ", ".join(f"{len(found)} {path}" for path, found in sorted(paths.items()))
    return (
        "one gateway process with its defaults on the sample shop; clients in a process of their own on the same "
        "machine, kept-alive connections, closed loop, admin token (no rate limit); "
        f"{len(messages)} distinct questions, asked once by one client to learn their path ({counts}), then at most "
        f"{MOST} of a path at each level, and as many mixed; every request counts; vectors of the pages' sentences are "
        "kept by the bot and warm after that first pass, which has its own rows; nothing is kept by question; "
        "retrieval: embedding the question and hybrid search, without the rerank of 20, for which there is no model "
        "yet, so its bar is not judged; generated answers are not part of this yet; "
        f"load of the machine before: {load:.1f}"
    )


def main() -> None:
    load = os.getloadavg()[0]
    messages = read_messages()
    with shop_home() as home, gateway(home) as served:
        alone = ask(served, messages, 1)
        paths: dict[str, list[str]] = {}
        for reply in alone.replies:
            paths.setdefault(reply.path or "error", []).append(reply.message)
        data = fingerprint(TextExample(message) for message in messages)
        bench = Benchmark("support-load", protocol(messages, paths, load), data, [SEED])
        add_first_pass(bench, alone)
        bench.add(Row("gateway, resident memory after the first pass", served.megabytes(), "MB", "lower", must=700))
        runs = [alone]
        kinds = [
            ("template", paths.get("template", [])),
            ("extracted", paths.get("extracted", [])),
            ("mixed", messages),
        ]
        for clients in CLIENTS:
            for name, chosen in kinds:
                runs.append(ask(served, chosen[:MOST], clients))
                add_times(bench, name, runs[-1], clients, MUST.get(name))
            add_stage(bench, "retrieval", runs[-1], clients)
        asked = sum(len(run.replies) for run in runs)
        bench.add(Row(f"errors in {asked} requests", sum(run.errors for run in runs), "", "lower", must=0))
        first = {reply.message: reply.answer for reply in alone.replies}
        changed = sum(bool(r.path) and r.answer != first[r.message] for run in runs for r in run.replies)
        bench.add(Row("answers unlike those of the first pass", changed, "", "lower"))
        bench.add(Row("gateway, resident memory after the load", served.megabytes(), "MB", "lower", must=700))
    bench.write()


if __name__ == "__main__":
    main()
