"""Articles by words, sentiment, topic and source."""

import tomllib
from importlib.resources import files

import streamlit as st

from finance_monitor.wording import topic_name
from headwater.dash import Gateway, attempt, when


@st.cache_data
def _topics() -> list[str]:
    return list(tomllib.loads((files("finance_monitor") / "texts" / "topics.toml").read_text(encoding="utf-8")))


def draw(gateway: Gateway, words: dict[str, str], language: str) -> None:
    st.title(words["search"])
    first, second, third = st.columns([3, 1, 1])
    text = first.text_input(words["words"])
    label = second.selectbox(
        words["sentiment"],
        ["", "negative", "neutral", "positive"],
        format_func=lambda name: words[name] if name else words["any"],
    )
    topic = third.selectbox(
        words["topic"], ["", *_topics()], format_func=lambda name: topic_name(name, language) if name else words["any"]
    )
    with attempt(words["no_gateway"]):
        found = gateway.get("/finance/v1/articles", text=text, label=label, topic=topic, limit=100)
        if not found:
            st.info(words["no_articles"])
            return
        rows = [
            {
                words["published"]: when(row["published"]),
                words["title"]: row["title"],
                words["sentiment"]: words[row["label"] or "unsure"],
                words["source"]: row["source_id"],
                words["address"]: row["url"],
            }
            for row in found
        ]
        column = st.column_config.LinkColumn(display_text="↗", width=40)
        st.dataframe(rows, hide_index=True, height=560, column_config={words["address"]: column})
