"""What is silent that should be heard, on top of every page."""

import streamlit as st

from headwater.dash.gateway import Gateway
from headwater.dash.page import plain
from headwater.errors import HeadwaterError

_TITLES = {
    "en": {"silent": "Jobs do not run as they should", "settings": "A schedule's setting cannot be used"},
    "zh": {"silent": "后台任务未正常运行", "settings": "计划任务的设置无法使用"},
}


def show_alarms(gateway: Gateway, language: str) -> None:
    """A box for each alarm of the gateway; nothing when all is well, or the gateway cannot say."""
    for alarm in _alarms(gateway):
        show = st.error if alarm["kind"] == "silent" else st.warning
        title = _TITLES[language][alarm["kind"]]
        show(
            f"**{title}**  \n{plain(alarm['subject'])}: {plain(alarm['message'])}",
            icon=":material/notification_important:",
        )


@st.cache_data(ttl=10, show_spinner=False)  # type: ignore[untyped-decorator]
def _alarms(_gateway: Gateway) -> list[dict[str, str]]:
    try:
        found: list[dict[str, str]] = _gateway.get("/v1/schedules")["alarms"]
    except HeadwaterError:
        return []  # the page itself says that the gateway does not answer
    return found
