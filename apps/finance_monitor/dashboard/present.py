"""What is happening now: incidents with their reasons, and the most negative companies and topics."""

from typing import Any

import streamlit as st

from finance_monitor.wording import topic_name
from headwater.dash import Gateway, attempt, plain, when
from headwater.errors import HeadwaterError

_COLOURS = {"critical": "red", "high": "orange", "medium": "blue", "low": "gray"}
_REFRESH_SECONDS = 5
_SHOWN = 6


def draw(gateway: Gateway, words: dict[str, str], language: str) -> None:
    st.title(words["now"])
    st.caption(words["intro"])

    @st.fragment(run_every=_REFRESH_SECONDS)
    def body() -> None:
        with attempt(words["no_gateway"]):
            _body(gateway, words, language)

    body()


def _body(gateway: Gateway, words: dict[str, str], language: str) -> None:
    found = gateway.get("/finance/v1/overview")
    backlog = found["backlog"]
    if backlog["taken_up"] < backlog["captures"] or backlog["captures"] > backlog["articles"] * 1.2 + 20:
        done = min(1.0, backlog["articles"] / max(1, backlog["captures"]))
        st.progress(done, f"{words['reading']}: {backlog['articles']} / {backlog['captures']}")
    left, middle, right = st.columns(3)
    left.metric(words["stories_today"], found["today"]["stories"])
    middle.metric(words["negative_stories"], found["today"]["negative"])
    right.metric(words["articles_in_all"], f"{backlog['articles']:,}")
    incidents = found["incidents"]
    opened = [incident for incident in incidents if incident["state"] == "open"]
    closed = [incident for incident in incidents if incident["state"] != "open"]
    st.subheader(f"{words['open_incidents']} ({len(opened)})")
    if not opened:
        st.info(words["no_incidents"], icon=":material/check_circle:")
    for incident in opened:
        _incident(gateway, incident, words, language)
    _movers(found, words, language)
    if closed:
        st.subheader(f"{words['closed_incidents']} ({len(closed)})")
        for incident in closed:
            _incident(gateway, incident, words, language)


def _incident(gateway: Gateway, incident: dict[str, Any], words: dict[str, str], language: str) -> None:
    reason = incident["reason"]
    name = incident["entity"] if incident["entity_kind"] == "topic" else reason["entity_name"]
    name = topic_name(name, language) if incident["entity_kind"] == "topic" else name
    with st.container(border=True):
        head, state = st.columns([5, 1])
        head.markdown(f"**{plain(name)}**  \n{words['since']} {when(incident['opened'])} UTC")
        state.badge(words[incident["severity"]], color=_COLOURS[incident["severity"]])
        st.markdown(plain(reason["text"].get(language, reason["text"]["en"])))
        with st.expander(f"{words['stories']} ({len(reason['stories'])})"):
            for story in reason["stories"][:_SHOWN]:
                st.markdown(
                    f"[{plain(story['title'])}]({_link(story['url'])})  \n"
                    f":gray[{plain(story['source'])} · {when(story['published'])} · {words['negative']} "
                    f"{story['probability']:.0%}]"
                )
                if story["sentence"] and story["sentence"] != story["title"]:
                    st.markdown(f"> {plain(story['sentence'])}")
            figures = {key: reason[key] for key in ("observed", "expected", "p_value", "p_share", "score", "baseline")}
            st.caption(words["figures"])
            st.json(figures, expanded=False)
        if incident["state"] == "open":
            _acknowledge(gateway, incident, words)


def _acknowledge(gateway: Gateway, incident: dict[str, Any], words: dict[str, str]) -> None:
    with st.popover(words["acknowledge"], icon=":material/done:"):
        reason = st.text_input(words["reason"], key=f"reason-{incident['id']}")
        if st.button(words["acknowledge"], key=f"acknowledge-{incident['id']}", type="primary"):
            try:
                gateway.post(f"/finance/v1/incidents/{incident['id']}/acknowledgement", {"reason": reason})
                st.success(words["acknowledged"])
            except HeadwaterError as error:
                st.error(plain(str(error)))


def _movers(found: dict[str, Any], words: dict[str, str], language: str) -> None:
    st.subheader(words["negative_today"])
    left, right = st.columns(2)
    for column, kind in ((left, "companies"), (right, "topics")):
        column.markdown(f"**{words[kind]}**")
        rows = found[kind]
        if not rows:
            column.caption(words["nothing_negative"])
        for row in rows[:_SHOWN]:
            name = row.get("name") or topic_name(row["entity"], language)
            change = row["negative"] - row["before"]
            arrow = f":red[+{change}]" if change > 0 else f":green[{change}]" if change < 0 else ":gray[±0]"
            column.markdown(f"{plain(name)} &nbsp; **{row['negative']}** / {row['stories']} &nbsp; {arrow}")


def _link(url: str) -> str:
    """An address that cannot end the link early."""
    return url.replace("(", "%28").replace(")", "%29").replace(" ", "%20") if url.startswith("http") else "#"
