"""The history of a company or topic: counts, stories, incidents."""

from datetime import UTC, datetime, timedelta
from typing import Any

import streamlit as st

from finance_monitor.wording import topic_name
from headwater.dash import Gateway, attempt, plain, when

_COLOURS = {"negative": "#c0392b", "positive": "#0f6b5c", "neutral": "#95a5a6", "": "#bdc3c7"}


def draw(gateway: Gateway, words: dict[str, str], language: str) -> None:
    st.title(words["timeline"])
    with attempt(words["no_gateway"]):
        companies = gateway.get("/finance/v1/companies")
        if not companies:
            st.info(words["no_articles"])
            return
        names = {row["entity"]: f"{row['name']} ({row['stories']})" for row in companies}
        left, middle, right = st.columns([3, 1, 1])
        start = st.query_params.get("company", companies[0]["entity"])
        options = list(names)
        chosen = left.selectbox(
            words["company"], options, index=options.index(start) if start in options else 0, format_func=names.get
        )
        days = middle.select_slider(words["days"], [7, 14, 30, 60, 90], 60)
        window = right.segmented_control(words["window"], ["day", "hour"], format_func=words.get, default="day")
        since = datetime.now(UTC) - timedelta(days=days)
        width = 3600 if window == "hour" else 86_400
        found = gateway.get(
            "/finance/v1/trends", entity_kind="company", entity=chosen, since=since.isoformat(), width=width
        )
        st.plotly_chart(_figure(found, words), width="stretch", config={"displayModeBar": False})
        _stories(found["stories"], words)
        for incident in found["incidents"]:
            span = f"{when(incident['opened'])} – {when(incident['closed']) or '…'}"
            text = plain(incident["reason"]["text"].get(language, ""))
            st.markdown(f"**{words[incident['severity']]}** · {span}  \n{text}")
        st.caption(", ".join(topic_name(t, language) for i in found["incidents"] for t in i["reason"]["topics"][:8]))


def _figure(found: dict[str, Any], words: dict[str, str]) -> Any:
    import plotly.graph_objects as go

    starts = [row["start"] for row in found["series"]]
    figure = go.Figure()
    negative = [row["negative"] for row in found["series"]]
    rest = [row["stories"] - row["negative"] for row in found["series"]]
    figure.add_bar(x=starts, y=negative, name=words["negative"], marker_color=_COLOURS["negative"])
    figure.add_bar(x=starts, y=rest, name=words["all_stories"], marker_color="#c8d6d2")
    for incident in found["incidents"]:
        figure.add_vrect(
            x0=incident["opened"],
            x1=incident["closed"] or incident["updated"],
            fillcolor="#c0392b",
            opacity=0.12,
            line_width=0,
        )
    figure.update_layout(
        barmode="stack",
        height=320,
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        legend={"orientation": "h", "y": 1.08},
        yaxis={"title": words["stories"], "rangemode": "tozero"},
        bargap=0.15,
    )
    return figure


def _stories(stories: list[dict[str, Any]], words: dict[str, str]) -> None:
    if not stories:
        st.info(words["no_articles"])
        return
    rows = [
        {
            words["published"]: when(row["moment"]),
            words["title"]: row["title"],
            words["sentiment"]: words[row["label"] or "unsure"],
            words["source"]: row["source_id"],
            words["address"]: row["url"],
        }
        for row in stories[:100]
    ]
    st.dataframe(
        rows, hide_index=True, column_config={words["address"]: st.column_config.LinkColumn(display_text="↗", width=40)}
    )
