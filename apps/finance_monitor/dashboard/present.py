"""What is happening now: incidents with their reasons, and the most negative companies and topics."""

from typing import Any, Literal
from urllib.parse import quote

import streamlit as st

from finance_monitor.dashboard.parts import Words, change_arrow, incident_card
from finance_monitor.wording import topic_name
from headwater.dash import Gateway, attempt, plain

_REFRESH_SECONDS = 5
_SHOWN = 6
_CLOSED = 10


def draw(gateway: Gateway, words: Words, language: str) -> None:
    st.title(words["now"])
    st.caption(words["intro"])

    @st.fragment(run_every=_REFRESH_SECONDS)  # type: ignore[untyped-decorator]
    def body() -> None:
        with attempt(words["no_gateway"]):
            _body(gateway, words, language)

    body()


def _body(gateway: Gateway, words: Words, language: str) -> None:
    found = gateway.get("/finance/v1/overview")
    _progress(gateway, found, words)
    if not found["backlog"]["articles"]:
        st.info(words["nothing_yet"], icon=":material/rss_feed:")
        return
    _counts(found, words)
    opened = [incident for incident in found["incidents"] if incident["state"] == "open"]
    closed = [incident for incident in found["incidents"] if incident["state"] != "open"]
    st.subheader(f"{words['open_incidents']} ({len(opened)})")
    if not opened:
        st.info(words["no_incidents"], icon=":material/check_circle:")
    for incident in opened:
        incident_card(gateway, incident, words, language)
    _movers(found, words, language)
    if closed:
        st.subheader(words["closed_incidents"])
        for incident in closed[:_CLOSED]:
            incident_card(gateway, incident, words, language)


def _counts(found: dict[str, Any], words: Words) -> None:
    day = found["day"]
    with st.container(horizontal=True):
        _count(words["stories_day"], day["stories"], day["stories"] - day["stories_before"], "off")
        _count(words["negative_day"], day["negative"], day["negative"] - day["before"], "inverse")
        _count(words["articles_in_all"], found["backlog"]["articles"], 0, "off")
    kinds = " · ".join(f"{words['kind_' + row['source_kind']]} {row['stories']}" for row in found["source_kinds"])
    if kinds:
        st.caption(f"{words['against_day_before']} {words['by_kind']}: {kinds}")


def _count(label: str, value: int, change: int, colour: Literal["off", "inverse"]) -> None:
    """A figure; no arrow where nothing has changed."""
    arrow = f"{change:+,}" if change else None
    st.metric(label, f"{value:,}", arrow, delta_color=colour, border=True, height="stretch")


def _progress(gateway: Gateway, found: dict[str, Any], words: Words) -> None:
    """While a history comes in: source by source, and how much of it has been judged."""
    backlog = found["backlog"]
    listed = [source for source in gateway.get("/finance/v1/sources") if source["enabled"]]
    crawling = [s for s in listed if s["health"]["last"] is None or s["health"]["last"]["outcome"] == "running"]
    first = [s for s in listed if s["health"]["crawls"] <= 1]
    waiting = backlog["captures"] - backlog["judged"]
    if waiting > 0:
        missing = [card["name"] for card in gateway.get("/finance/v1/models") if card["production"] is None]
        if missing:
            st.warning(plain(words["not_prepared"].format(names=", ".join(missing))), icon=":material/warning:")
        share = backlog["judged"] / max(1, backlog["captures"])
        st.progress(share, f"{words['reading']}: {backlog['judged']:,} / {backlog['captures']:,}")
    if crawling and first:
        done = len(listed) - len(crawling)
        st.progress(done / len(listed), f"{words['first_crawl']}: {done} / {len(listed)}")
        marks = {None: ":gray[○", "running": ":orange[◐", "failed": ":red[●", "blocked": ":red[●"}
        said = []
        for source in listed:
            last = source["health"]["last"]
            mark = marks.get(last["outcome"] if last else None, ":green[●")
            said.append(f"{mark}] {plain(source['name'])} {source['health']['new_24h'] or ''}")
        st.markdown(" &nbsp; ".join(said))


def _movers(found: dict[str, Any], words: Words, language: str) -> None:
    st.subheader(words["negative_today"])
    left, right = st.columns(2)
    for column, kind in ((left, "companies"), (right, "topics")):
        with column.container(border=True):
            st.markdown(f"**{words[kind]}**")
            if not found[kind]:
                st.caption(words["nothing_negative"])
            for row in found[kind][:_SHOWN]:
                name = plain(row.get("name") or topic_name(row["entity"], language))
                if kind == "companies":
                    name = f"[{name}](company?company={quote(row['entity'], safe='')}&lang={language})"
                of = words["of_stories"].format(negative=row["negative"], stories=row["stories"])
                with st.container(horizontal=True, horizontal_alignment="distribute"):
                    st.markdown(name, width="content")
                    st.markdown(f"{of} {change_arrow(row['negative'] - row['before'])}", width="content")
