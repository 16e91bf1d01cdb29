"""Reads documents in a process of its own, with limits of time and memory.

A parser can be led into minutes of work or gigabytes of memory by a file of a few kilobytes, and nothing stops a
thread. A process can be ended: the file is refused, and whoever reads it goes on.
"""

import json
import logging
import os
import resource
import signal
import subprocess
import sys
import threading
from dataclasses import asdict
from types import TracebackType
from typing import Any

import psutil

from headwater.errors import HeadwaterError, TooLarge, Unavailable, Unsupported
from headwater.retrieval import Document, Section, split_document
from headwater.settings import Settings
from support_bot.reading import read_document

# What a process may take on top of its start; a text of 20 MB takes about 300.
_MEGABYTES = 1_500
# About what 20 MB of plain text come to. Embedding takes longer than reading, and goes by their number.
_PASSAGES = 30_000
_AT_ONCE = threading.BoundedSemaphore(2)
_ERRORS = {kind.__name__: kind for kind in (HeadwaterError, TooLarge, Unavailable, Unsupported)}


class Reader:
    """`read_document` at arm's length; a context manager. The process starts with the first document."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Reader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def read(self, name: str, data: bytes, *, document_id: str = "", title: str = "", url: str = "") -> Document:
        """The document in `data`. Raises what `read_document` raises, TooLarge above the limits."""
        request = {"name": name, "document_id": document_id, "title": title, "url": url}
        request |= {"max_bytes": self._settings.max_document_bytes, "size": len(data)}
        with _AT_ONCE:
            answer = self._ask(name, request, data)
        if "error" in answer:
            raise _ERRORS[answer["error"]](answer["message"])
        found = answer["document"]
        return Document(**{**found, "sections": tuple(Section(**section) for section in found["sections"])})

    def _ask(self, name: str, request: dict[str, Any], data: bytes) -> dict[str, Any]:
        seconds = self._settings.max_reading_seconds
        process = self._process = self._process or _start(seconds)
        assert process.stdin is not None
        assert process.stdout is not None
        expired = threading.Event()
        timer = threading.Timer(seconds, _end, (process, expired))
        timer.start()
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n" + data)
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = b""
        finally:
            timer.cancel()
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        status = process.wait()
        self._stop()
        if expired.is_set():
            raise TooLarge(
                f"{name} takes longer than {seconds} s to read; split it, save it anew, "
                "or raise HEADWATER_MAX_READING_SECONDS"
            )
        raise HeadwaterError(f"{name} cannot be read: it broke its reader (status {status}); save it anew")

    def _stop(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.communicate()
        self._process = None


def _end(process: subprocess.Popen[bytes], expired: threading.Event) -> None:
    expired.set()
    process.kill()


def _start(seconds: int) -> subprocess.Popen[bytes]:
    # A session of its own: ctrl-C is for the process that asks; this one ends with its input.
    command = [sys.executable, "-m", "support_bot.reader", str(seconds)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)


def main() -> None:
    """Answer requests from standard input, a JSON line and the file's bytes each, until it ends."""
    seconds = int(sys.argv[1])
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a parser prints must not come between the answers
    logging.disable()
    limit = psutil.Process().memory_info().vms + _MEGABYTES * 1_000_000
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for line in iter(sys.stdin.buffer.readline, b""):
        request = json.loads(line)
        data = sys.stdin.buffer.read(request.pop("size"))
        # Ends this process also when nobody is left to do it.
        signal.alarm(seconds + 5)
        answers.write(json.dumps(_answer(request, data)).encode() + b"\n")
        answers.flush()
        signal.alarm(0)


def _answer(request: dict[str, Any], data: bytes) -> dict[str, Any]:
    name = request.pop("name")
    try:
        document = read_document(name, data, **request)
        # Done here once, so that a text which is endless to cut ends here too.
        count = len(split_document(document))
        if count > _PASSAGES:
            raise TooLarge(f"{name} comes to {count:,} passages; the limit is {_PASSAGES:,}: split it")
    except MemoryError:
        return {"error": "TooLarge", "message": f"{name} needs more than {_MEGABYTES:,} MB of memory to be read"}
    except OSError as error:
        return {"error": "Unavailable", "message": f"{name} cannot be read now: {error.strerror}; make room on disk"}
    except HeadwaterError as error:
        return {"error": type(error).__name__, "message": str(error)}
    return {"document": asdict(document)}


if __name__ == "__main__":
    main()
