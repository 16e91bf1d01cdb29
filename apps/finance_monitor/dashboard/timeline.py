"""The history of a company, a topic or everything: counts, stories, incidents."""

from datetime import UTC, datetime, timedelta
from typing import Any

import streamlit as st

from finance_monitor.dashboard.parts import (
    Words,
    company_choice,
    incident_card,
    judged,
    show_figure,
    timeline_figure,
    titled,
)
from finance_monitor.wording import topic_keys, topic_name
from headwater.dash import Gateway, attempt, plain, when

_KINDS = ("company", "topic", "all")
_SOURCE_KINDS = ("", "news", "comment", "filing")
_DAYS = (3, 7, 14, 30, 60, 90)
_SHOWN = 40


def draw(gateway: Gateway, words: Words, language: str) -> None:
    st.title(words["timeline"])
    with attempt(words["no_gateway"]):
        companies = gateway.get("/finance/v1/companies", days=90)
        if not companies:
            st.info(words["nothing_yet"], icon=":material/rss_feed:")
            return
        kind, entity = _entity(companies, words, language)
        with st.container(horizontal=True, vertical_alignment="bottom"):
            days = st.segmented_control(words["days"], _DAYS, default=60, key="timeline-days") or 60
            window = st.segmented_control(
                words["window"], ["day", "hour"], format_func=words.__getitem__, default="day", key="timeline-window"
            )
            source_kind = st.selectbox(
                words["source_kind"],
                _SOURCE_KINDS,
                format_func=lambda name: words[f"kind_{name}"] if name else words["any"],
                width=180,
            )
        found = gateway.get(
            "/finance/v1/trends",
            entity_kind=kind,
            entity=entity,
            since=(datetime.now(UTC) - timedelta(days=days)).isoformat(),
            width=3_600 if window == "hour" else 86_400,
            source_kind=source_kind,
        )
        show_figure(timeline_figure(found, words), "timeline")
        st.caption(words["timeline_hint"])
        _below(gateway, found, words, language)


def _entity(companies: list[dict[str, Any]], words: Words, language: str) -> tuple[str, str]:
    left, right = st.columns([2, 3], vertical_alignment="bottom")
    kind = left.segmented_control(
        words["entity"], _KINDS, format_func=lambda name: words[f"entity_{name}"], default="company", key="entity-kind"
    )
    if kind == "topic":
        name = right.selectbox(words["topic"], topic_keys(), format_func=lambda t: topic_name(t, language))
        return "topic", str(name)
    if kind == "all":
        return "all", "all"
    return "company", company_choice(companies, words, "timeline-company", own=right)


def _below(gateway: Gateway, found: dict[str, Any], words: Words, language: str) -> None:
    for incident in found["incidents"]:
        incident_card(gateway, incident, words, language)
    if not found["stories"]:
        st.info(words["no_articles"])
        return
    st.subheader(words["latest_stories"])
    for row in found["stories"][:_SHOWN]:
        about = f"{plain(row['source_id'])} · {when(row['moment'])} · {judged(words, row['label'])}"
        st.markdown(f"{titled(row['title'], row['url'])}  \n:small[{about}]")
