"""Sources and their health: add one with an address alone, change it, crawl it now."""

from typing import Any
from urllib.parse import quote

import streamlit as st

from finance_monitor.dashboard.parts import Words
from finance_monitor.domain import FORMATS, KINDS
from headwater.dash import Gateway, attempt, plain, when

_GOOD = ("done", "unchanged", "running")
_REFRESH_SECONDS = 5
_WARNINGS = 20


def draw(gateway: Gateway, words: Words, language: str) -> None:
    st.title(words["sources"])
    st.caption(words["sources_intro"])
    with st.form("add", clear_on_submit=True, border=False):
        left, right = st.columns([4, 1], vertical_alignment="bottom")
        url = left.text_input(words["feed_address"], placeholder="https://news.example.com/feed.xml")
        if right.form_submit_button(words["add"], width="stretch", type="primary") and url:
            with attempt(words["failed"]):
                gateway.put("/finance/v1/sources", {"url": url.strip()})
                st.success(words["added"], icon=":material/check_circle:")

    @st.fragment(run_every=_REFRESH_SECONDS)  # type: ignore[untyped-decorator]
    def health() -> None:
        with attempt(words["no_gateway"]):
            _health(gateway.get("/finance/v1/sources"), words)

    health()
    with attempt(words["no_gateway"]):
        found = gateway.get("/finance/v1/sources", with_health="false")
        if found:
            _edit(gateway, found, words)


def _health(found: list[dict[str, Any]], words: Words) -> None:
    if not found:
        st.info(words["no_sources"], icon=":material/rss_feed:")
        return
    column = st.column_config
    st.dataframe(
        [_row(source, words) for source in found],
        hide_index=True,
        height=min(36 * len(found) + 40, 640),
        column_config={
            words["new_days"]: column.BarChartColumn(width="small", y_min=0),
            words["unchanged"]: column.NumberColumn(format="percent", width="small"),
            words["new"]: column.NumberColumn(width="small"),
            words["errors"]: column.NumberColumn(width="small"),
            words["last_failure"]: column.TextColumn(width="medium"),
            words["address"]: column.LinkColumn(width="medium"),
        },
    )
    for trouble in [said for source in found for said in _troubles(source, words)][:_WARNINGS]:
        st.warning(trouble, icon=":material/warning:")
    if any(value is not None for source in found for value in source["health"]["latency"].values()):
        st.subheader(words["latency"])
        st.caption(words["latency_hint"])
        st.dataframe([_stages(source, words) for source in found], hide_index=True)


def _troubles(source: dict[str, Any], words: Words) -> list[str]:
    """What is wrong with a source now, and when it is asked again."""
    name = f"**{plain(source['name'])}** – "
    last, aside = source["health"]["last"], source["health"]["unjudged"]
    said = []
    if source["enabled"] and last and last["outcome"] not in _GOOD:
        retry = f" · {words['retry']} {when(last['retry_at'])} UTC" if last["retry_at"] else ""
        said.append(f"{name}{words['outcome_' + last['outcome']]}: {plain(last['reason'])}{retry}")
    if aside["count"]:
        latest = words["put_aside"].format(count=aside["count"], moment=when(aside["moment"]))
        said.append(f"{name}{latest} {plain(aside['reason'])}")
    return said


def _stages(source: dict[str, Any], words: Words) -> dict[str, str]:
    latency = source["health"]["latency"]
    stages = {words[f"latency_{stage}"]: _span(latency[stage]) for stage in ("found", "read", "judged", "sent")}
    return {words["source"]: source["name"], **stages}


def _row(source: dict[str, Any], words: Words) -> dict[str, Any]:
    health = source["health"]
    last, failure = health["last"], health["last_failure"]
    return {
        words["source"]: source["name"],
        words["state"]: _state(source, words),
        words["last"]: when(last["started"])[5:] if last else "",
        words["new"]: health["new_24h"],
        words["new_days"]: health["new_by_day"],
        words["errors"]: health["errors"],
        words["unchanged"]: health["not_modified_share"],
        words["last_failure"]: f"{when(failure['started'])[5:]} {failure['reason']}" if failure else "",
        words["every"]: _span(source["every"]),
        words["address"]: source["url"],
    }


def _state(source: dict[str, Any], words: Words) -> str:
    last = source["health"]["last"]
    if not source["enabled"]:
        return f"○ {words['off']}"
    if last is None:
        return f"○ {words['never']}"
    if last["outcome"] == "running":
        return f"… {words['outcome_running']}"
    mark = "✓" if last["outcome"] in _GOOD else "✗" if last["outcome"] in ("failed", "blocked") else "!"
    return f"{mark} {words['outcome_' + last['outcome']]}"


def _span(seconds: float | None) -> str:
    """A time in its largest fitting unit: 40 s, 12 min, 3 h, 2 d."""
    if seconds is None:
        return ""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def _edit(gateway: Gateway, found: list[dict[str, Any]], words: Words) -> None:
    st.subheader(words["change_source"])
    by_id = {source["id"]: source for source in found}
    left, middle, right = st.columns([3, 1, 1], vertical_alignment="bottom")
    chosen = str(left.selectbox(words["source"], list(by_id), format_func=lambda one: by_id[one]["name"]))
    place = f"/finance/v1/sources/{quote(chosen, safe='')}"
    if middle.button(words["crawl"], icon=":material/refresh:", width="stretch"):
        with attempt(words["failed"]):
            gateway.post(f"{place}/crawl")
            st.toast(words["crawl_queued"])
    with right.popover(words["remove"], icon=":material/delete:", width="stretch"):
        st.markdown(words["remove_question"].format(name=plain(by_id[chosen]["name"])))
        if st.button(words["remove"], type="primary", key="remove-source"):
            with attempt(words["failed"]):
                gateway.delete(place)
                st.rerun()
    _form(gateway, by_id[chosen], words)


def _form(gateway: Gateway, source: dict[str, Any], words: Words) -> None:
    with st.form(f"edit-{source['id']}"):
        left, right = st.columns(2)
        values = {
            "id": source["id"],
            "name": left.text_input(words["name"], source["name"]),
            "url": right.text_input(words["address"], source["url"]),
        }
        places = st.columns(4)
        formats = ("", *FORMATS)
        values["format"] = places[0].selectbox(
            words["format"],
            formats,
            index=formats.index(source["format"]),
            format_func=lambda name: words[f"format_{name}"],
        )
        values["kind"] = places[1].selectbox(
            words["source_kind"], KINDS, index=KINDS.index(source["kind"]), format_func=lambda k: words[f"kind_{k}"]
        )
        values["language"] = places[2].text_input(words["language"], source["language"], placeholder=words["any"])
        values["region"] = places[3].text_input(words["region"], source["region"])
        places = st.columns(4, vertical_alignment="bottom")
        values["weight"] = places[0].number_input(words["weight"], 0.0, 10.0, float(source["weight"]), 0.1)
        values["every"] = places[1].text_input(words["every"], f"{source['every']:g}s")
        values["delay"] = places[2].text_input(words["delay"], f"{source['delay']:g}s")
        values["enabled"] = places[3].toggle(words["enabled"], source["enabled"])
        if st.form_submit_button(words["save_source"]):
            before = {**source, "every": f"{source['every']:g}s", "delay": f"{source['delay']:g}s"}
            changed = {key: value for key, value in values.items() if key == "id" or value != before[key]}
            with attempt(words["failed"]):
                gateway.put("/finance/v1/sources", {"url": source["url"], **changed})
                st.toast(words["saved"])
                st.rerun()
