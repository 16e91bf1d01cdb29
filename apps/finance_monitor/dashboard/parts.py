"""What several pages draw: severities, judgements, links, incidents, articles, charts."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import streamlit as st

from finance_monitor.wording import entity_name, told, topic_name
from headwater.dash import Gateway, attempt, plain, when

Words = Mapping[str, str]
SEVERITIES = ("low", "medium", "high", "critical")
SENTIMENTS = ("negative", "neutral", "positive")
Colour = Literal["red", "orange", "blue", "gray", "green"]
SEVERITY_COLOURS: dict[str, Colour] = {"critical": "red", "high": "orange", "medium": "blue", "low": "gray"}
_TEXT_COLOURS = {"negative": "red", "positive": "green", "neutral": "gray", "": "gray"}
NEGATIVE, POSITIVE, REST = "#c0392b", "#0f6b5c", "#c8d6d2"
_STORIES = 6
_FORMS = {"csv": "text/csv", "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"}


def link(url: str) -> str:
    """An address that cannot end the link early; nothing but http is linked."""
    return url.replace("(", "%28").replace(")", "%29").replace(" ", "%20") if url.startswith("http") else "#"


def titled(title: str, url: str) -> str:
    """A title of a stranger as a link."""
    return f"[{plain(title)}]({link(url)})"


def judged(words: Words, label: str, probability: float | None = None) -> str:
    """A sentiment in its colour, with its probability."""
    share = "" if probability is None else f" {probability:.0%}"
    return f":{_TEXT_COLOURS.get(label, 'gray')}[{words[label or 'unsure']}{share}]"


def name_of(row: Mapping[str, Any], language: str) -> str:
    """What an incident is about, as people call it."""
    return entity_name(row["entity_kind"], row["entity"], row["reason"], language)


def reason_of(row: Mapping[str, Any], language: str) -> str:
    """Why, in words."""
    return told(row["entity_kind"], row["entity"], row["reason"], language)


def worst_line(row: Mapping[str, Any], peak: Mapping[str, Any] | None, words: Words, language: str) -> None:
    """When a closed incident was worst, how bad, and what was said of it then."""
    if peak:
        at = words["worst"].format(severity=words[peak["severity"]], moment=when(peak["moment"]))
        st.markdown(f":small[:gray[{plain(at)}]]  \n{plain(reason_of({**row, 'reason': peak['reason']}, language))}")


def change_arrow(change: int) -> str:
    """More negative stories than before are bad news."""
    return f":red[▲ {change}]" if change > 0 else f":green[▼ {-change}]" if change < 0 else ":gray[± 0]"


def incident_card(gateway: Gateway, incident: dict[str, Any], words: Words, language: str) -> None:
    """One incident: what, how bad, why, the stories behind it, and who takes care."""
    peak = incident.get("peak")
    # What a closed incident was about is known from its worst moment; its own last words say that it is over.
    reason = peak["reason"] if peak else incident["reason"]
    with st.container(border=True):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.markdown(f"**{plain(name_of(incident, language))}**", width="content")
            st.badge(words[incident["severity"]], color=SEVERITY_COLOURS[incident["severity"]])
        st.markdown(plain(reason_of(incident, language)))
        worst_line(incident, peak, words, language)
        until = f" – {when(incident['closed'])}" if incident["closed"] else ""
        named = "、" if language == "zh" else ", "
        topics = named.join(topic_name(topic, language) for topic in reason.get("topics", ())[:6])
        st.caption(" · ".join(filter(None, (f"{words['since']} {when(incident['opened'])}{until} UTC", topics))))
        stories = reason.get("stories", [])
        if stories:
            with st.expander(f"{words['stories_behind']} ({len(stories)})", icon=":material/article:"):
                for story in stories[:_STORIES]:
                    _story(story, words)
                _figures(reason, words)
        done = incident.get("acknowledged")
        if done:
            said = words["acknowledged_by"].format(name=done["actor"], moment=when(done["moment"]))
            st.markdown(f":green[:material/done_all:] {plain(said)} {plain(done['reason'])}")
        if incident["state"] == "open":
            _acknowledge(gateway, incident, words)


def _story(story: Mapping[str, Any], words: Words) -> None:
    about = f"{plain(story['source'])} · {when(story['published'])} · "
    _entry(story["title"], story["url"], story["sentence"], about + judged(words, story["label"], story["probability"]))


def _figures(reason: Mapping[str, Any], words: Words) -> None:
    """The test's figures in a line, and the bundles that judged."""
    baseline = reason.get("baseline", {})
    line = words["figures"].format(
        observed=reason["observed"],
        expected=reason["expected"],
        hours=reason["window"]["width_seconds"] // 3600,
        days=baseline.get("days", 0),
        p=f"{reason['p_value']:.2g}",
        share=f"{reason['p_share']:.2g}",
        score=reason["score"],
        threshold=reason["threshold"],
    )
    st.caption(plain(line))
    models = " · ".join(f"{name} {str(bundle)[:12]}" for name, bundle in reason.get("models", {}).items())
    if models:
        st.caption(plain(f"{words['models']}: {models}"))


def _acknowledge(gateway: Gateway, incident: Mapping[str, Any], words: Words) -> None:
    with (
        st.popover(words["acknowledge"], icon=":material/done:"),
        st.form(f"acknowledge-{incident['id']}", border=False),
    ):
        reason = st.text_input(words["reason"], placeholder=words["reason_example"], max_chars=2_000)
        if st.form_submit_button(words["acknowledge"], type="primary"):
            with attempt(words["failed"]):
                gateway.post(f"/finance/v1/incidents/{incident['id']}/acknowledgement", {"reason": reason})
                st.toast(words["acknowledged"])
                st.rerun()


def downloads(gateway: Gateway, what: str, query: Mapping[str, Any], words: Words, *, key: str) -> None:
    """A button for each form of an export; the file is made when one is pressed."""
    for kind, media in _FORMS.items():
        fetch = functools.partial(gateway.content, f"/finance/v1/exports/{what}.{kind}", **query)
        st.download_button(
            f"{words[what]} ({words['form_' + kind]})",
            fetch,
            f"{what}.{kind}",
            media,
            key=f"{key}-{what}-{kind}",
            icon=":material/download:",
            on_click="ignore",
        )


def article_lines(found: Iterable[Mapping[str, Any]], words: Words) -> None:
    """Articles with the sentence that speaks of the company, where one was asked for."""
    for row in found:
        own = row.get("company_label")
        label = row["label"] if own is None else own
        share = row.get(f"company_{label}" if own is not None else label) if label else None
        about = f"{plain(row['source_id'])} · {when(row['published'])} · {judged(words, label, share)}"
        _entry(row["title"], row["url"], row.get("sentence") or "", about)


def _entry(title: str, url: str, sentence: str, about: str) -> None:
    """A title with its line below it, and the sentence that counts where that is not the title."""
    said = f"\n\n> {plain(sentence)}" if sentence and sentence != title else ""
    st.markdown(f"{titled(title, url)}  \n:small[{about}]{said}")


def company_choice(companies: list[dict[str, Any]], words: Words, key: str, *, own: Any = st) -> str:
    """A company of the list; the one of the address at first. The address follows, so that it can be sent on."""
    names = {row["entity"]: f"{row['name']} ({row['stories']})" for row in companies}
    asked = st.query_params.get("company", "")
    index = list(names).index(asked) if asked in names else 0
    chosen = str(own.selectbox(words["company"], list(names), index=index, format_func=names.__getitem__, key=key))
    st.query_params["company"] = chosen
    return chosen


def timeline_figure(found: Mapping[str, Any], words: Words, *, height: int = 340) -> Any:
    """Negative and other stories a window as bars, incidents shaded, negative stories as points below the bars."""
    import plotly.graph_objects as go

    starts = [row["start"] for row in found["series"]]
    negative = [row["negative"] for row in found["series"]]
    rest = [row["stories"] - row["negative"] for row in found["series"]]
    figure = go.Figure()
    # A bar stands over its window, from start to end, so that it agrees with points and shades; in milliseconds.
    width = _step(starts) * 1000
    place = {"x": starts, "offset": 0, "width": 0.88 * width}
    figure.add_bar(y=negative, name=words["negative"], marker_color=NEGATIVE, **place)
    figure.add_bar(y=rest, name=words["other_stories"], marker_color=REST, **place)
    bad = [row for row in found.get("stories", ()) if row["label"] == "negative"]
    if bad:
        figure.add_scatter(
            x=[row["moment"] for row in bad],
            y=[-0.6] * len(bad),
            mode="markers",
            name=words["negative_story"],
            # Plotly reads simple HTML in texts.
            text=[_unmarked(f"{row['title']} ({row['source_id']})") for row in bad],
            hovertemplate="%{x|%Y-%m-%d %H:%M}<br>%{text}<extra></extra>",
            marker={"color": NEGATIVE, "size": 7, "opacity": 0.55, "symbol": "diamond"},
        )
    for incident in found["incidents"]:
        end = incident["closed"] or incident["updated"]
        figure.add_vrect(x0=incident["opened"], x1=end, fillcolor=NEGATIVE, opacity=0.13, line_width=0, layer="below")
    figure.update_layout(
        barmode="stack",
        height=height,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        yaxis={"title": words["stories"], "rangemode": "tozero"},
        xaxis={"range": [starts[0], found["until"]] if starts and "until" in found else None},
        hoverlabel={"align": "left"},
    )
    return figure


def _step(starts: Sequence[str]) -> float:
    """Seconds from one window to the next; a day where there is only one."""
    if len(starts) < 2:
        return 86_400.0
    return (datetime.fromisoformat(starts[1]) - datetime.fromisoformat(starts[0])).total_seconds()


def _unmarked(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def show_figure(figure: Any, key: str) -> None:
    st.plotly_chart(figure, width="stretch", config={"displayModeBar": False}, key=key)
