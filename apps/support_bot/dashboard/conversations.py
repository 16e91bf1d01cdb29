"""What customers asked and what the bot replied, searched by words and path."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from headwater.dash import Gateway, attempt, plain, when
from support_bot.dashboard.chat import citation_line, joined
from support_bot.domain import PATHS


def draw(gateway: Gateway, words: Mapping[str, str], language: str) -> None:
    st.title(words["conversations_title"])
    with attempt(words["error"]):
        _counts(gateway, words)
        left, right = st.columns([3, 1])
        text = left.text_input(words["search"], placeholder=words["search_conversations"], icon=":material/search:")
        path = right.selectbox(
            words["path"], ["", *PATHS], format_func=lambda p: words[f"path_{p}"] if p else words["all_paths"]
        )
        found = gateway.get("/support/v1/conversations", text=text, path=path, limit=200)
        if not found:
            st.info(words["no_conversations_found"] if text or path else words["no_conversations"])
            return
        _table(gateway, words, found)


def _counts(gateway: Gateway, words: Mapping[str, str]) -> None:
    counts = gateway.get("/support/v1/conversations/counts")
    total = sum(counts.values())
    if not total:
        return
    shown = [("", total), *((path, counts[path]) for path in PATHS if counts.get(path))]
    for column, (path, count) in zip(st.columns(len(shown) + (6 - len(shown)) * (len(shown) < 6)), shown, strict=False):
        label = words[f"path_{path}"] if path else words["turns"]
        column.metric(
            label, f"{count:,}", delta=f"{count / total:.0%}" if path else None, delta_color="off", delta_arrow="off"
        )


def _table(gateway: Gateway, words: Mapping[str, str], found: list[dict[str, Any]]) -> None:
    rows = pd.DataFrame(
        [
            {
                words["time"]: when(t["asked"]),
                words["question"]: t["question"],
                words["answer"]: t["answer"],
                words["path"]: words[f"path_{t['path']}"],
                words["language"]: t["language"],
                "ms": round(t["milliseconds"]),
                words["thumb"]: {1: "👍", -1: "👎"}.get(t["feedback"], ""),
            }
            for t in found
        ]
    )
    event = st.dataframe(rows, hide_index=True, on_select="rerun", selection_mode="single-row", height=330)
    selected = event["selection"]["rows"]
    if not selected:
        st.caption(words["select_conversation"])
        return
    conversation = gateway.get(f"/support/v1/conversations/{found[selected[0]]['conversation_id']}")
    with st.container(border=True):
        started = when(conversation["started"])
        st.caption(words["conversation_head"].format(id=conversation["id"], started=started))
        for turn in conversation["turns"]:
            with st.chat_message("user", avatar=":material/person:"):
                st.markdown(plain(turn["question"]))
            with st.chat_message("assistant", avatar=":material/support_agent:"):
                st.markdown(plain(turn["answer"]))
                for citation in joined(turn["citations"]):
                    st.markdown(citation_line(gateway, citation))
                st.caption(f"{words['path_' + turn['path']]} · {turn['milliseconds']:.0f} ms")
