"""Tune the intent model on a company's own labelled texts, and promote what the gate accepts."""

import csv
import io
import re
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from headwater.dash import Gateway, attempt, plain
from headwater.dash.jobs import ENDED, follow_job
from headwater.data import ReadResult, TextExample, read_texts, stream_rows
from support_bot.dashboard.models import metrics_table, versions

_SHOWN = 8


def draw(gateway: Gateway, words: Mapping[str, str], language: str) -> None:
    st.title(words["tune_title"])
    st.caption(words["tune_hint"])
    job = st.session_state.get("tuning_job")
    if job:
        _follow(gateway, words, job)
        return
    file = st.file_uploader(words["examples_file"], type=["csv", "tsv", "jsonl"])
    if file is None:
        return
    with tempfile.TemporaryDirectory() as folder, attempt(words["not_read"]):
        path = Path(folder) / f"examples{Path(file.name).suffix.lower()}"
        path.write_bytes(file.getvalue())
        result = _read(words, path)
        if result:
            _preview(words, result)
            _form(gateway, words, result.examples, Path(file.name).stem, language)


def _read(words: Mapping[str, str], path: Path) -> ReadResult[TextExample] | None:
    first = next(iter(stream_rows(path)), None)
    if first is None:
        st.error(words["empty_file"])
        return None
    columns = list(first.values)
    left, right = st.columns(2)
    text = left.selectbox(words["text_column"], columns, index=_guess(columns, ("text", "question", "body", "内容")))
    label = right.selectbox(
        words["label_column"], columns, index=_guess(columns, ("label", "intent", "category", "queue", "类别"), 1)
    )
    if text == label:
        st.warning(words["same_column"])
        return None
    return read_texts(path, text_column=text, label_column=label)


def _guess(columns: list[str], names: tuple[str, ...], otherwise: int = 0) -> int:
    found = [i for i, column in enumerate(columns) if column.lower() in names]
    return found[0] if found else min(otherwise, len(columns) - 1)


def _preview(words: Mapping[str, str], result: ReadResult[TextExample]) -> None:
    counts = Counter(example.label for example in result.examples)
    columns = st.columns(3)
    columns[0].metric(words["examples"], f"{len(result.examples):,}")
    columns[1].metric(words["labels"], len(counts))
    columns[2].metric(words["unused_rows"], len(result.problems))
    left, right = st.columns([3, 2])
    sample = [{words["text"]: e.text, words["label"]: e.label} for e in result.examples[:_SHOWN]]
    left.dataframe(pd.DataFrame(sample), hide_index=True)
    table = pd.DataFrame(counts.most_common(), columns=[words["label"], words["examples"]])
    right.dataframe(table, hide_index=True, height=320)
    if result.problems:
        with st.expander(words["problems"].format(count=len(result.problems))):
            st.code("\n".join(f"row {p.row}: {p.reason}" for p in result.problems[:200]), language=None)
    small = [label for label, count in counts.items() if count < 5]
    if small:
        st.warning(words["small_classes"].format(labels=plain(", ".join(small[:12]))))


def _form(gateway: Gateway, words: Mapping[str, str], examples: list[TextExample], name: str, language: str) -> None:
    with st.form("tune"):
        columns = st.columns(3)
        tongue = columns[0].selectbox(words["language"], ["en", "zh"], index=["en", "zh"].index(language))
        method = columns[1].selectbox(words["method"], ["lora", "full", "head"], format_func=lambda m: words[f"m_{m}"])
        epochs = columns[2].number_input(words["epochs"], 1, 50, 6)
        if st.form_submit_button(words["start_tuning"], type="primary", icon=":material/play_arrow:"):
            body = {
                "name": re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")[:40] or "examples",
                "csv": _as_csv(examples),
                "language": tongue,
                "method": method,
                "epochs": int(epochs),
            }
            with attempt(words["error"]):
                st.session_state["tuning_job"] = {
                    "id": gateway.post("/support/v1/tuning", body)["job"],
                    "language": tongue,
                }
            if st.session_state.get("tuning_job"):
                st.rerun()


def _as_csv(examples: list[TextExample]) -> str:
    sink = io.StringIO()
    writer = csv.writer(sink)
    writer.writerow(["text", "label"])
    writer.writerows((example.text, example.label) for example in examples)
    return sink.getvalue()


def _follow(gateway: Gateway, words: Mapping[str, str], job: dict[str, Any]) -> None:
    follow_job(gateway, job["id"], words)
    state = ""
    with attempt(words["error"]):
        state = gateway.get(f"/v1/jobs/{job['id']}")["state"]
    if state not in ENDED:
        return
    if state == "done":
        with attempt(words["error"]):
            cards = gateway.get("/support/v1/models")
            card = next(c for c in cards if c["name"] == f"support-intents-{job['language']}")
            newest = card["versions"][0]
            st.subheader(f"{card['name']}@{newest['version']}")
            metrics_table(words, gateway.get(f"/v1/registry/{card['name']}/{newest['version']}")["manifest"]["metrics"])
            st.subheader(words["what_now"])
            st.caption(words["promote_hint"])
            versions(gateway, words, card)
    if st.button(words["tune_again"], icon=":material/restart_alt:"):
        st.session_state.pop("tuning_job")
        st.rerun()
