"""A company: who it is, its days, topics and incidents, and what was written of it."""

from typing import Any
from urllib.parse import quote

import streamlit as st

from finance_monitor.dashboard.parts import (
    NEGATIVE,
    REST,
    Words,
    article_lines,
    company_choice,
    downloads,
    incident_card,
    show_figure,
    timeline_figure,
)
from finance_monitor.wording import topic_name
from headwater.dash import Gateway, attempt, plain

_DAYS = (7, 30, 60, 365)
_SHOWN = 30


def draw(gateway: Gateway, words: Words, language: str) -> None:
    st.title(words["company"])
    with attempt(words["no_gateway"]):
        companies = gateway.get("/finance/v1/companies", days=90, silent="true")
        if not companies:
            st.info(words["nothing_yet"], icon=":material/rss_feed:")
            return
        left, right = st.columns([3, 2], vertical_alignment="bottom")
        chosen = company_choice(companies, words, "company-company", own=left)
        days = right.segmented_control(words["days"], _DAYS, default=60, key="company-days") or 60
        found = gateway.get(f"/finance/v1/companies/{chosen}", days=days)
        _head(found, words)
        show_figure(timeline_figure(found, words, height=260), "company-days-figure")
        for incident in found["incidents"]:
            incident_card(gateway, incident, words, language)
        if found["topics"]:
            st.subheader(words["topics"])
            show_figure(_topics(found["topics"], words, language), "company-topics")
        st.subheader(words["articles"])
        if not found["articles"]:
            st.info(words["no_articles"])
            return
        with st.container(horizontal=True):
            downloads(gateway, "articles", {"company": chosen, "days": days}, words, key="company")
        article_lines(found["articles"][:_SHOWN], words)
        rest = f"search?company={quote(chosen, safe='')}&lang={language}"
        if len(found["articles"]) > _SHOWN:
            st.markdown(f"[{words['all_articles']}]({rest})")


def _head(found: dict[str, Any], words: Words) -> None:
    listing = f"{found.get('exchange', '')}:{found['ticker']}" if found.get("ticker") else ""
    st.subheader(found["name"], anchor=False)
    about = (listing, found.get("sector", ""), found.get("country", ""), *found.get("aliases", ()))
    st.caption(plain(" · ".join(filter(None, about))))
    stories = sum(row["stories"] for row in found["series"])
    negative = sum(row["negative"] for row in found["series"])
    positive = sum(row["positive"] for row in found["series"])
    with st.container(horizontal=True):
        st.metric(words["stories"], f"{stories:,}", border=True)
        st.metric(words["negative"], f"{negative:,}", border=True)
        st.metric(words["positive"], f"{positive:,}", border=True)
        st.metric(words["incidents"], len(found["incidents"]), border=True)


def _topics(topics: list[dict[str, Any]], words: Words, language: str) -> Any:
    import plotly.graph_objects as go

    rows = topics[::-1]
    names = [topic_name(row["topic"], language) for row in rows]
    rest = [row["articles"] - row["negative"] for row in rows]
    figure = go.Figure()
    negative = [row["negative"] for row in rows]
    figure.add_bar(y=names, x=negative, name=words["negative"], marker_color=NEGATIVE, orientation="h")
    figure.add_bar(y=names, x=rest, name=words["other_articles"], marker_color=REST, orientation="h")
    figure.update_layout(
        barmode="stack",
        height=70 + 26 * len(rows),
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        bargap=0.3,
    )
    return figure
