"""The process of one crawl: the order comes as a JSON line on stdin; figures go to stdout as JSON lines.

Stdin stays open while the parent lives; its end ends the crawl.
"""

import json
import logging
import os
import signal
import sys
import threading

from finance_monitor.crawling.record import Record
from finance_monitor.domain import Source
from headwater.settings import Settings
from headwater.storage.engine import open_engine


def main() -> None:
    order = json.loads(sys.stdin.readline())
    source = Source(**order["source"])
    settings = Settings(**order["settings"])
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    logging.disable(logging.WARNING)  # what a site does wrong is in the crawl's row
    record = Record(open_engine(settings, "finance"), source, order["crawl_id"])
    if not record.open(os.getpid(), order["deadline_seconds"]):
        return
    threading.Thread(target=_follow_parent, daemon=True).start()
    from finance_monitor.crawling.running import run_spider

    run_spider(settings, source, record, order["deadline_seconds"], order["timeout_seconds"])


def _follow_parent() -> None:
    # Unbuffered: a thread that waits inside sys.stdin would hold its lock at the interpreter's end.
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
