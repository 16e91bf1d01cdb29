"""A closed-loop HTTP client in a process of its own: N threads, each with one kept-alive connection, ask in turn.

Standard input: {"host", "port", "token", "clients", "messages"}. Standard output: {"seconds", "replies": one a message,
{"status", "milliseconds", "body"}}. The standard library's client, since a heavier one would take processor time from
the server that it measures.
"""

import http.client
import itertools
import json
import sys
import threading
import time
from typing import Any

_TIMEOUT = 60.0


def ask_in_turn(
    task: dict[str, Any], numbers: "itertools.count[int]", replies: list[Any], lock: threading.Lock
) -> None:
    """Ask the next message that nobody has taken until none is left."""
    headers = {"Authorization": f"Bearer {task['token']}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection(task["host"], task["port"], timeout=_TIMEOUT)
    while True:
        with lock:
            number = next(numbers)
        if number >= len(task["messages"]):
            break
        body = json.dumps({"message": task["messages"][number]}).encode()
        started = time.perf_counter()
        try:
            connection.request("POST", "/support/v1/chat", body, headers)
            response = connection.getresponse()
            text, status = response.read(), response.status
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            text, status = json.dumps({"detail": repr(error)}).encode(), 0
        milliseconds = (time.perf_counter() - started) * 1000
        replies[number] = {"status": status, "milliseconds": milliseconds, "body": text.decode()}
    connection.close()


def main() -> None:
    task = json.load(sys.stdin)
    replies: list[Any] = [None] * len(task["messages"])
    shared = (task, itertools.count(), replies, threading.Lock())
    threads = [threading.Thread(target=ask_in_turn, args=shared) for _ in range(task["clients"])]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    json.dump({"seconds": time.perf_counter() - started, "replies": replies}, sys.stdout)


if __name__ == "__main__":
    main()
