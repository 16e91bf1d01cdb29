"""Sources and their health."""

import streamlit as st

from headwater.dash import Gateway, attempt, plain, when
from headwater.errors import HeadwaterError

_GOOD = ("done", "unchanged", "running")
_REFRESH_SECONDS = 5


def draw(gateway: Gateway, words: dict[str, str], language: str) -> None:
    st.title(words["sources"])
    with st.form("add", clear_on_submit=True, border=False):
        left, right = st.columns([4, 1], vertical_alignment="bottom")
        url = left.text_input(words["address"], placeholder="https://news.example.com/feed.xml")
        if right.form_submit_button(words["add"], width="stretch") and url:
            try:
                gateway.put("/finance/v1/sources", {"url": url})
                st.success(words["added"])
            except HeadwaterError as error:
                st.error(plain(str(error)))

    @st.fragment(run_every=_REFRESH_SECONDS)
    def body() -> None:
        with attempt(words["no_gateway"]):
            _table(gateway, words)

    body()


def _table(gateway: Gateway, words: dict[str, str]) -> None:
    found = gateway.get("/finance/v1/sources")
    if not found:
        st.info(words["no_sources"])
        return
    rows = []
    for source in found:
        health = source["health"]
        last = health["last"]
        mark = (
            ""
            if last is None
            else "🟢 "
            if last["outcome"] in _GOOD
            else "🔴 "
            if last["outcome"] == "failed"
            else "🟠 "
        )
        rows.append(
            {
                words["source"]: source["name"],
                words["state"]: mark + (last["outcome"] if last else words["never"]),
                words["last"]: when(last["started"]) if last else "",
                words["new"]: health["new"],
                words["errors"]: health["errors"],
                words["unchanged"]: f"{health['not_modified_share']:.0%}",
                words["reason"]: last["reason"] if last else "",
                words["retry"]: when(last["retry_at"]) if last else "",
                words["address"]: source["url"],
            }
        )
    st.dataframe(rows, hide_index=True, height=38 * len(rows) + 40)
