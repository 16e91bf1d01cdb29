"""Talk to the bot, open its sources, and see why it answered so."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import altair as alt
import pandas as pd
import streamlit as st

from headwater.dash import Gateway, attempt, plain

_COLOURS: dict[str, Any] = {
    "template": "green",
    "extracted": "blue",
    "refused": "orange",
    "handoff": "violet",
    "clarify": "gray",
}
_GREEN = "#0f6b5c"


def draw(gateway: Gateway, words: Mapping[str, str], language: str) -> None:
    turns: list[dict[str, Any]] = st.session_state.setdefault("turns", [])
    left, right = st.columns([5, 1], vertical_alignment="bottom")
    left.title(words["chat_title"])
    if turns and right.button(words["new_chat"], icon=":material/add_comment:", width="stretch"):
        turns.clear()
        st.session_state.pop("conversation", None)
        st.rerun()
    if not turns:
        st.caption(words["chat_hint"])
        _examples(words)
    for number, turn in enumerate(turns):
        _turn(gateway, words, turn, number, last=number == len(turns) - 1)
    question = st.chat_input(words["ask"], max_chars=2000) or st.session_state.pop("example", None)
    if question:
        with attempt(words["failed_question"]), st.spinner(words["thinking"]):
            turns.append(_ask(gateway, str(question)))
        if turns and turns[-1]["question"] == question:
            st.rerun()


def _examples(words: Mapping[str, str]) -> None:
    for example in words["chat_examples"].split("|"):
        if st.button(plain(example), icon=":material/chat_bubble:", type="tertiary"):
            st.session_state["example"] = example
            st.rerun()


def _ask(gateway: Gateway, question: str) -> dict[str, Any]:
    body = {"message": question, "conversation_id": st.session_state.get("conversation"), "debug": True}
    reply = gateway.post("/support/v1/chat", body)
    st.session_state["conversation"] = reply["conversation_id"]
    return {"question": question, "reply": reply}


def _turn(gateway: Gateway, words: Mapping[str, str], turn: dict[str, Any], number: int, last: bool) -> None:
    reply = turn["reply"]
    with st.chat_message("user", avatar=":material/person:"):
        st.markdown(plain(turn["question"]))
    with st.chat_message("assistant", avatar=":material/support_agent:"):
        st.markdown(plain(reply["answer"]))
        for citation in joined(reply["citations"]):
            st.markdown(
                citation_line(gateway, citation, quoted=_letters(citation["quote"]) != _letters(reply["answer"]))
            )
        badge, thumbs = st.columns([4, 1], vertical_alignment="center")
        confidence = f" · {reply['confidence']:.0%}" if reply["path"] in ("template", "extracted") else ""
        badge.badge(words[f"path_{reply['path']}"] + confidence, color=_COLOURS.get(reply["path"], "gray"))
        with thumbs:
            _thumbs(gateway, words, reply, number)
        with st.expander(words["why"], expanded=False):
            _why(words, reply)


def citation_line(gateway: Gateway, citation: Mapping[str, Any], quoted: bool = True) -> str:
    """The quoted words, unless the answer is just them, with a link that opens the document at them."""
    words = f"{plain(citation['quote'])}  \n> " if quoted else ""
    return f"> {words}[{_where(citation)}]({source_link(gateway, citation)})"


def _letters(text: str) -> str:
    return "".join(text.split())


def joined(citations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sentences that follow one another in a section as one quotation with one link."""
    found: list[dict[str, Any]] = []
    for citation in citations:
        last = found[-1] if found else None
        same = last is not None and all(last[k] == citation[k] for k in ("document_id", "section"))
        if last is not None and same and 0 <= citation["start"] - last["end"] <= 2:
            # As in the answer: Chinese sentences follow one another without a space.
            quote_ = last["quote"] + " " * last["quote"][-1].isascii() + citation["quote"]
            found[-1] = {**last, "end": citation["end"], "quote": quote_}
        else:
            found.append(citation)
    return found


def _where(citation: Mapping[str, Any]) -> str:
    return plain(" › ".join(filter(None, (citation["title"], citation["section"]))))


def source_link(gateway: Gateway, citation: Mapping[str, Any]) -> str:
    """The address of the document with the cited part marked."""
    place = urlencode({"start": citation["start"], "end": citation["end"]})
    return f"{gateway.url}/support/v1/documents/{quote(citation['document_id'], safe='')}/view?{place}#cited"


def _thumbs(gateway: Gateway, words: Mapping[str, str], reply: dict[str, Any], number: int) -> None:
    key = f"thumb-{reply['conversation_id']}-{reply['turn']}"

    def send() -> None:
        value = st.session_state[key]
        if value is not None:
            with attempt(words["error"]):
                path = f"/support/v1/conversations/{reply['conversation_id']}/turns/{reply['turn']}/feedback"
                gateway.post(path, {"value": 1 if value == 1 else -1})
                st.toast(words["thanks"])

    st.feedback("thumbs", key=key, on_change=send)


def _why(words: Mapping[str, str], reply: dict[str, Any]) -> None:
    st.markdown(words[f"because_{reply['path']}"])
    understanding, explanation = reply.get("understanding") or {}, reply.get("explanation") or {}
    if explanation:
        st.caption(
            words["evidence"].format(
                confidence=explanation["confidence"],
                threshold=explanation["threshold"],
                sentence=explanation["sentence"],
                overlap=explanation["overlap"],
            )
        )
    left, right = st.columns(2)
    probabilities = understanding.get("probabilities") or {}
    if probabilities:
        left.markdown(f"**{words['intents']}**")
        left.altair_chart(_bars(probabilities, "%", 1.0), width="stretch")
    timings = {k: v for k, v in reply["timings"].items() if k != "total"}
    if timings:
        named = {words.get(f"stage_{key}", key): value for key, value in timings.items()}
        right.markdown(f"**{words['timings']}: {reply['timings']['total']:.0f} ms**")
        right.altair_chart(_bars(named, "ms", None), width="stretch")
    slots = understanding.get("slots") or {}
    if slots:
        st.markdown(f"**{words['slots']}** " + " · ".join(f"{plain(k)} = {plain(v)}" for k, v in slots.items()))
    if reply.get("passages"):
        st.markdown(f"**{words['passages']}**")
        _passages(words, reply["passages"])


def _bars(values: Mapping[str, float], unit: str, top: float | None) -> Any:
    rows = pd.DataFrame({"name": list(values), "value": list(values.values())})
    scale = alt.Scale(domain=[0, top]) if top else alt.Undefined
    axis = alt.Axis(format="%", grid=False) if unit == "%" else alt.Axis(grid=False, title=unit)
    x = alt.X("value:Q", title=None if unit == "%" else unit, scale=scale, axis=axis)
    y = alt.Y("name:N", sort=None, title=None, axis=alt.Axis(labelLimit=220, labelOverlap=False))
    tip = [alt.Tooltip("name:N"), alt.Tooltip("value:Q", format=".1%" if unit == "%" else ".1f")]
    chart = alt.Chart(rows).mark_bar(color=_GREEN, height=12).encode(x=x, y=y, tooltip=tip)
    return chart.properties(height=28 * len(rows) + 40)


def _passages(words: Mapping[str, str], passages: list[dict[str, Any]]) -> None:
    rows = pd.DataFrame(
        [
            {
                words["score"]: p["score"],
                "cosine": p["cosine"],
                "BM25": p["bm25"],
                words["page"]: p["title"],
                words["section"]: p["section"],
                words["text"]: p["text"],
            }
            for p in passages
        ]
    )
    st.dataframe(
        rows,
        hide_index=True,
        column_config={
            words["score"]: st.column_config.ProgressColumn(format="%.2f", min_value=0, max_value=1, width="small"),
            "cosine": st.column_config.NumberColumn(format="%.2f", width="small"),
            "BM25": st.column_config.NumberColumn(format="%.1f", width="small"),
            words["text"]: st.column_config.TextColumn(width="large"),
        },
    )
