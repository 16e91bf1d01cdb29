"""crawl: from a local press to judged articles, pages a second, against the plain chain of Scrapy, trafilatura,
sentence-transformers and SQLite (plain_chain.py) on the same pages and threads.

Ours does all that the monitor does: robots.txt, raw bytes kept, captures, identity, companies, sentiment for each,
topics, story, counts, incidents. Models are loaded before either clock starts; the processes of our crawls start
within ours.
"""

import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import press
from harness import QUICK, Benchmark, Row, median_ratio
from newsroom import environment, finance_home, settings_of

from headwater.settings import load_settings

PAGES = 40 if QUICK else 400
RUNS = 1 if QUICK else 5
THREADS = 2
SEED = 20_261
_SECONDS = 600


def ours(home: Path, port: int) -> dict[str, Any]:
    """One run in a process of its own on a state folder of its own."""
    command = [sys.executable, __file__, "ours", str(home), str(port)]
    done = subprocess.run(command, env=environment(home), stdout=subprocess.PIPE, check=True, timeout=_SECONDS)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def chain(folder: Path, port: int) -> dict[str, Any]:
    """One run of the rival."""
    command = [sys.executable, str(Path(__file__).with_name("plain_chain.py"))]
    command += [f"http://{host}:{port}/feed.xml" for host in press.HOSTS]
    model = load_settings().folder("models") / "minilm"
    command += ["--database", str(folder / "chain.db"), "--model", str(model), "--threads", str(THREADS)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=_SECONDS)
    (folder / "chain.db").unlink()
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def run_ours(home: Path, port: int) -> None:
    """In the child: the worker's turn (crawls beside, then take up and apply what came) until all is judged."""
    from finance_monitor.crawling import crawl_all
    from finance_monitor.journaling import take_up
    from finance_monitor.models import Models
    from finance_monitor.pipeline import Pipeline
    from finance_monitor.sources import make_source
    from finance_monitor.worker import apply_pending, open_gazetteer
    from headwater.bundles import Registry
    from headwater.language import detect_language
    from headwater.storage.columns import now
    from headwater.web import open_context

    settings = settings_of(home).model_copy(update={"threads": THREADS})
    context = open_context(settings)
    engine = context.engine("finance")
    registry: Registry = context.registry
    models = Models(registry, threads=1)
    models.load()
    models.read("A title to warm up", "With a text.", (), "en")
    models.read("标题", "正文。", (), "zh")
    detect_language("Ein Text, der weder englisch noch chinesisch ist.")
    import datasketch  # noqa: F401 - libraries are loaded before the chain's clock starts as well

    pipeline = Pipeline(engine, models, open_gazetteer(settings), alert_age=timedelta(days=3), readers=THREADS)
    sources = [
        make_source({"url": f"http://{host}:{port}/feed.xml", "delay": 0, "max_pages": 10_000}, host)
        for host in press.HOSTS
    ]
    began, cpu = time.perf_counter(), os.times()
    applied, crawled = 0, 0.0
    with ThreadPoolExecutor(1) as beside:
        crawl = beside.submit(crawl_all, settings, sources, parallel=THREADS)
        while True:
            over = crawl.done()
            crawled = crawled or (time.perf_counter() - began if over else 0.0)
            take_up(engine, now())
            done = apply_pending(engine, pipeline, 50)
            applied += sum(bool(one.article_id) for one in done)
            if over and not done:
                break
            if not done:
                time.sleep(0.1)
    seconds, after = time.perf_counter() - began, os.times()
    outcomes = crawl.result()
    figures = {
        "seconds": seconds, "crawled": crawled, "pages": applied,
        "fetched": sum(one.figures["pages"] for one in outcomes),
        "errors": sum(one.figures["errors"] for one in outcomes),
        "cpu_pipeline": after.user + after.system - cpu.user - cpu.system,
        "cpu_crawls": after.children_user + after.children_system - cpu.children_user - cpu.children_system,
    }  # fmt: skip
    print(json.dumps(figures))


def free_port() -> int:
    """A port that is free on all loopback addresses."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    if sys.argv[1:2] == ["ours"]:
        run_ours(Path(sys.argv[2]), int(sys.argv[3]))
        return
    load, started = os.getloadavg()[0], time.time()
    with tempfile.TemporaryDirectory(prefix="headwater-press-") as temporary:
        folder, port = Path(temporary), free_port()
        made = press.write_press(folder, PAGES, SEED, port)
        sizes = press.page_sizes(folder)
        own: list[dict[str, Any]] = []
        theirs: list[dict[str, Any]] = []
        order = random.Random(SEED)
        with press.serving(folder, port):
            for number in range(RUNS):
                for who in order.sample(("ours", "chain"), 2):
                    if who == "chain":
                        theirs.append(chain(folder, port))
                        found = theirs[-1]
                    else:
                        with finance_home() as home:
                            own.append(ours(home, port))
                        found = own[-1]
                    print(f"  run {number + 1}, {who}: {json.dumps(found)}", flush=True)
    report(made, sizes, own, theirs, (load, started))


def report(
    made: list[press.Piece], sizes: list[int], own: list[Any], theirs: list[Any], before: tuple[float, float]
) -> None:
    median = sizes[len(sizes) // 2] / 1000
    protocol = (
        f"{len(made)} pages of {len(press.HOSTS)} loopback hosts, median {median:.0f} kB of HTML: "
        "news of the sample world (English and Chinese) on pages whose weight follows public news pages; end to end, "
        f"{RUNS} runs of each in random alternation, {THREADS} threads for the models of both; the chain encodes title "
        f"and text in batches, ours title and lead; load of the machine before: {before[0]:.1f} on "
        f"{os.cpu_count()} cores"
    )
    bench = Benchmark("crawl", protocol, f"{len(made)} pages, seed {SEED}", [SEED], started=before[1])
    short = [len(made) - one["pages"] for one in own]
    lost = [len(made) - one["pages"] for one in theirs]
    rates = sorted(one["pages"] / one["seconds"] for one in own)
    rival = sorted(one["pages"] / one["seconds"] for one in theirs)
    middle = len(rates) // 2
    named = {"rival": "Scrapy, trafilatura, sentence-transformers, SQLite"}
    bench.add(
        Row(
            "end to end", rates[middle], "pages/s", low=rates[0], high=rates[-1], **named,
            rival_value=rival[len(rival) // 2], must=12,
        )
    )  # fmt: skip
    ratio, least, most = median_ratio(
        [one["seconds"] / one["pages"] for one in own], [one["seconds"] / one["pages"] for one in theirs]
    )
    bench.add(Row("times the chain's speed", ratio, "x", low=least, high=most, must=1.5))
    bench.add(Row("median page", median, "kB", must=80))
    bench.add(Row("pages not judged", max(short), "", "lower", rival="pages not kept", rival_value=max(lost), must=0))
    spent = sorted((one["cpu_pipeline"] + one["cpu_crawls"]) / one["pages"] * 1000 for one in own)
    rival_spent = sorted(one["cpu"] / one["pages"] * 1000 for one in theirs)
    named["rival_value"] = rival_spent[len(rival_spent) // 2]
    bench.add(Row("processor time a page", spent[middle], "ms", "lower", **named))
    for metric, key in (
        ("processor time a page, crawl", "cpu_crawls"),
        ("processor time a page, judging", "cpu_pipeline"),
    ):
        bench.add(Row(metric, sorted(one[key] / one["pages"] * 1000 for one in own)[middle], "ms", "lower"))
    bench.add(
        Row(
            "crawl alone, beside the judging", sorted(one["fetched"] / one["crawled"] for one in own)[middle], "pages/s"
        )
    )
    bench.write()


if __name__ == "__main__":
    main()
