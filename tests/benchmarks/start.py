"""start: how long the command line, the gateway and the whole support bot take to start, and the memory that they hold.

Every start is a whole process, measured from its spawn; the file cache is warm, as after any first start. The state
folder is prepared before (`headwater support prepare`, what run-app calls), and each kind of start is tried once
unmeasured.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import httpx
from harness import QUICK, ROOT, Benchmark, Row
from shop import Gateway, answers, environment, free_port, gateway, shop_home, stop

HELPS = 5 if QUICK else 15
GATEWAYS = 2 if QUICK else 7
LAUNCHES = 1 if QUICK else 3
QUESTIONS = 50
_LAUNCH_SECONDS = 120
_LOOK_SECONDS = 0.02
_RUNNING = b"Headwater is running."


def help_seconds() -> float:
    """`headwater --help` as a shell runs it."""
    started = time.perf_counter()
    subprocess.run([str(Path(sys.executable).parent / "headwater"), "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def ask_all(served: Gateway, questions: Sequence[str]) -> None:
    headers = {"Authorization": f"Bearer {served.token}"}
    with httpx.Client(base_url=served.url, headers=headers, trust_env=False, timeout=60) as client:
        for question in questions:
            client.post("/support/v1/chat", json={"message": question}).raise_for_status()


def launch_seconds(home: Path, question: str) -> tuple[float, float]:
    """`headwater run --app support`: (until the first answer over HTTP, until the addresses are printed)."""
    port = free_port()
    ports = {"HEADWATER_GATEWAY_PORT": str(port), "HEADWATER_SUPPORT_DASHBOARD_PORT": str(free_port())}
    printed = home / "run.log"
    with printed.open("wb") as log:
        command = [sys.executable, "-m", "headwater.cli.main", "run", "--app", "support"]
        started = time.perf_counter()
        process = subprocess.Popen(
            command, env={**environment(home), **ports}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    answered = announced = 0.0
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client:
            while not (answered and announced):
                if process.poll() is not None or time.perf_counter() - started > _LAUNCH_SECONDS:
                    raise RuntimeError(f"headwater run did not become ready:\n{printed.read_text()}")
                if not answered and is_answered(client, question):
                    answered = time.perf_counter() - started
                if not announced and _RUNNING in printed.read_bytes():
                    announced = time.perf_counter() - started
                time.sleep(_LOOK_SECONDS)
    finally:
        stop(process)
    return answered, announced


def is_answered(client: httpx.Client, question: str) -> bool:
    """Whether the gateway is ready and answers; only /readyz may be asked over and over (the rate limit)."""
    if not answers(client, "/readyz"):
        return False
    return client.post("/support/v1/chat", json={"message": question}).raise_for_status().is_success


def add_median(bench: Benchmark, metric: str, values: Sequence[float], unit: str, must: float | None) -> None:
    bench.add(Row(metric, median(values), unit, "lower", min(values), max(values), must=must))


def add_command_line(bench: Benchmark) -> None:
    help_seconds()
    add_median(bench, "headwater --help", [help_seconds() for _ in range(HELPS)], "s", 0.3)


def add_gateway(bench: Benchmark, home: Path, questions: Sequence[str]) -> None:
    with gateway(home):
        pass
    seconds, ready, asked = [], [], []
    for number in range(GATEWAYS):
        with gateway(home) as served:
            seconds.append(served.ready_seconds)
            ready.append(served.megabytes())
            if number < max(1, GATEWAYS // 2):
                ask_all(served, questions)
                asked.append(served.megabytes())
    add_median(bench, "gateway, spawn to /readyz 200", seconds, "s", 3.0)
    add_median(bench, "gateway, resident memory when ready", ready, "MB", 700)
    add_median(bench, f"gateway, resident memory after {len(questions)} questions", asked, "MB", 700)


def add_launch(bench: Benchmark, home: Path, question: str) -> None:
    launch_seconds(home, question)
    tried = [launch_seconds(home, question) for _ in range(LAUNCHES)]
    add_median(bench, "headwater run, until the first answer", [first for first, _ in tried], "s", 8.0)
    add_median(bench, "headwater run, until the addresses are printed", [last for _, last in tried], "s", None)


def main() -> None:
    from support_bot.quality import read_questions

    samples = read_questions(ROOT / "apps" / "support_bot" / "sample_data" / "questions.jsonl")
    # Both languages, so that every model is in use.
    questions = [sample.text for sample in samples[:: max(1, len(samples) // QUESTIONS)]][:QUESTIONS]
    load = os.getloadavg()[0]
    bench = Benchmark(
        "start",
        f"whole processes from their spawn, after one unmeasured start of each kind; value: median, interval: least "
        f"and most, of {HELPS} --help, {GATEWAYS} gateways, {LAUNCHES} launches; a launch includes its `prepare`, and "
        "waits for scheduler and dashboard too until the addresses are printed; memory: resident set of the "
        f"gateway's process, shared pages included; load of the machine before: {load:.1f}",
    )
    add_command_line(bench)
    with shop_home() as home:
        add_gateway(bench, home, questions)
        add_launch(bench, home, questions[0])
    bench.write()


if __name__ == "__main__":
    main()
