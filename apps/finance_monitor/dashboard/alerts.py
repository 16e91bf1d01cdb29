"""What was sent, the rules with a dry run, channels, silences and watchlists."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import streamlit as st

from finance_monitor.dashboard import rules
from finance_monitor.dashboard.parts import SEVERITY_COLOURS, Words, downloads, name_of, reason_of, worst_line
from headwater.dash import Gateway, attempt, plain, when

_REFRESH_SECONDS = 5
_SHOWN = 30
_STATE_MARKS = {"ok": ":green[●]", "new": ":gray[●]", "limited": ":orange[●]", "failing": ":red[●]"}


def draw(gateway: Gateway, words: Words, language: str) -> None:
    st.title(words["alerts"])
    names = ("alerts_sent", "rules", "channels", "silences", "watchlists", "inbox")
    drawn = dict(zip(names, st.tabs([words[name] for name in names]), strict=True))
    pages: dict[str, Callable[[], None]] = {
        "rules": lambda: rules.draw(gateway, words, language),
        "channels": lambda: _channels(gateway, words),
        "silences": lambda: _silences(gateway, words),
        "watchlists": lambda: rules.draw_watchlists(gateway, words),
    }
    with drawn["alerts_sent"]:
        _live(lambda: _sent(gateway, words, language), words)
        _exports(gateway, words)
    with drawn["inbox"]:
        _live(lambda: _inbox(gateway, words), words)
    for name, page in pages.items():
        with drawn[name], attempt(words["no_gateway"]):
            page()


def _live(page: Callable[[], None], words: Words) -> None:
    @st.fragment(run_every=_REFRESH_SECONDS)  # type: ignore[untyped-decorator]
    def body() -> None:
        with attempt(words["no_gateway"]):
            page()

    body()


# --- what was sent ----------------------------------------------------------------------------------------------------


def _sent(gateway: Gateway, words: Words, language: str) -> None:
    found = gateway.get("/finance/v1/alerts", limit=_SHOWN)
    if not found:
        st.info(words["no_alerts"], icon=":material/notifications_off:")
    for alert in found:
        _alert(alert, words, language)


def _alert(alert: Mapping[str, Any], words: Words, language: str) -> None:
    content = alert["content"]
    incident = {**content["incident"], "reason": content["reason"]}
    with st.container(border=True):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            name = f"**{plain(name_of(incident, language))}** – {words['change_' + content['change']]}"
            st.markdown(name, width="content")
            st.badge(words[incident["severity"]], color=SEVERITY_COLOURS[incident["severity"]])
        st.markdown(plain(reason_of(incident, language)))
        worst_line(incident, alert.get("peak"), words, language)
        held = words["held_" + alert["held"]] if alert["held"] else words["sent_at_once"]
        st.caption(plain(f"{when(alert['created'])} UTC · {content['subscription']['name']} · {held}"))


def _exports(gateway: Gateway, words: Words) -> None:
    with st.expander(words["exports"], icon=":material/download:"):
        days = st.segmented_control(words["days"], (7, 30, 90, 365), default=90, key="export-days") or 90
        with st.container(horizontal=True):
            for what in ("alerts", "incidents"):
                downloads(gateway, what, {"days": days}, words, key="export")
        st.caption(words["exports_hint"])


def _inbox(gateway: Gateway, words: Words) -> None:
    st.caption(words["inbox_intro"])
    found = gateway.get("/finance/v1/inbox", limit=_SHOWN)
    if not found:
        st.info(words["inbox_empty"], icon=":material/inbox:")
    for entry in found:
        body = entry["body"] if isinstance(entry["body"], dict) else {"text": str(entry["body"])}
        title = plain(body.get("title") or body.get("subject") or words["message"])
        with st.expander(f"{title} · {when(entry['received'])} UTC"):
            st.markdown(plain(str(body.get("text") or body.get("markdown") or "")))


# --- channels ---------------------------------------------------------------------------------------------------------


def _channels(gateway: Gateway, words: Words) -> None:
    found = gateway.get("/finance/v1/channels")
    counts: dict[str, list[str]] = {}
    for row in found["summary"]:
        counts.setdefault(row["channel"], []).append(f"{words['message_' + row['state']]} {row['messages']}")
    if not found["channels"]:
        st.info(words["no_channels"], icon=":material/outgoing_mail:")
    for channel in found["channels"]:
        _channel(gateway, channel, counts.get(channel["name"], []), words)
    _unsent(gateway, found["messages"], words)
    rules.new_channel(gateway, words)


def _channel(gateway: Gateway, channel: Mapping[str, Any], counts: list[str], words: Words) -> None:
    place = f"/finance/v1/channels/{quote(channel['name'], safe='')}"
    with st.container(border=True):
        left, middle, right = st.columns([4, 1, 1], vertical_alignment="center")
        state = f"{_STATE_MARKS.get(channel['state'], '')} {words['channel_' + channel['state']]}"
        left.markdown(f"**{plain(channel['name'])}** · {plain(channel['kind'])} · {state}")
        if counts:
            left.caption(" · ".join(counts))
        if channel["state"] != "ok" and channel["reason"]:
            retry = f" · {words['retry']} {when(channel['retry_at'])} UTC" if channel["retry_at"] else ""
            left.caption(f":red[{plain(channel['reason'])}]{retry}")
        if middle.button(words["test"], key=f"test-{channel['name']}", width="stretch"):
            with attempt(words["failed"]):
                outcome = gateway.post(f"{place}/test")
                if outcome["state"] == "sent":
                    st.success(words["test_sent"], icon=":material/check_circle:")
                else:
                    st.error(plain(outcome["reason"]), icon=":material/error:")
        if right.button(words["remove"], key=f"drop-{channel['name']}", width="stretch"):
            with attempt(words["failed"]):
                gateway.delete(place)
                st.rerun()


def _unsent(gateway: Gateway, messages: list[dict[str, Any]], words: Words) -> None:
    """Messages that failed for good, or of which nobody knows whether they arrived."""
    for row in messages:
        if row["state"] not in ("failed", "ambiguous"):
            continue
        left, right = st.columns([5, 1], vertical_alignment="center")
        left.markdown(
            f":orange[{words['message_' + row['state']]}] · {plain(row['channel'])} · {when(row['created'])} UTC  \n"
            f":small[{plain(row['reason'])}]"
        )
        if right.button(words["send_again"], key=f"retry-{row['key']}", width="stretch"):
            with attempt(words["failed"]):
                gateway.post(f"/finance/v1/messages/{row['key']}/retry")
                st.rerun()


# --- silences ---------------------------------------------------------------------------------------------------------


def _silences(gateway: Gateway, words: Words) -> None:
    st.caption(words["silences_intro"])
    for one in gateway.get("/finance/v1/silences"):
        left, right = st.columns([5, 1], vertical_alignment="center")
        matched = ", ".join(value for values in one["matcher"].values() for value in values)
        left.markdown(
            f"**{plain(matched)}** · {words['until']} {when(one['ends'])} UTC  \n"
            f":small[{plain(one['reason'])} ({plain(one['actor'])})]"
        )
        if right.button(words["end"], key=f"end-{one['id']}", width="stretch"):
            with attempt(words["failed"]):
                gateway.delete(f"/finance/v1/silences/{one['id']}")
                st.rerun()
    companies = {row["entity"]: row["name"] for row in gateway.get("/finance/v1/companies", silent="true")}
    with st.form("silence"):
        chosen = st.multiselect(words["companies"], list(companies), format_func=companies.__getitem__)
        left, right = st.columns([3, 1])
        reason = left.text_input(words["reason"], placeholder=words["silence_example"], max_chars=2_000)
        hours = right.number_input(words["hours"], 1, 24 * 90, 24)
        if st.form_submit_button(words["silence"], icon=":material/notifications_paused:"):
            with attempt(words["failed"]):
                gateway.post("/finance/v1/silences", {"companies": chosen, "hours": hours, "reason": reason})
                st.rerun()
