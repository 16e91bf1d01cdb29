"""The finance monitor's dashboard: `streamlit run` starts here."""

import functools
from types import ModuleType

import streamlit as st

from finance_monitor.dashboard import alerts, company, label, present, search, sources, timeline
from finance_monitor.wording import dashboard_words
from headwater.dash import Gateway, attempt, open_gateway, set_up
from headwater.settings import load_settings

_PAGES: tuple[tuple[str, ModuleType, str], ...] = (
    ("now", present, ":material/notifications_active:"),
    ("timeline", timeline, ":material/show_chart:"),
    ("company", company, ":material/domain:"),
    ("search", search, ":material/search:"),
    ("alerts", alerts, ":material/outgoing_mail:"),
    ("sources", sources, ":material/rss_feed:"),
    ("label", label, ":material/label:"),
)


@st.cache_resource
def _gateway() -> Gateway:
    return open_gateway(load_settings())


def main() -> None:
    language = set_up("Headwater finance", ":material/monitoring:")
    words = dashboard_words(language)
    gateway = None
    with attempt(words["no_gateway"]):
        gateway = _gateway()
    if gateway is None:
        st.button(words["again"], icon=":material/refresh:")
        return
    pages = [
        st.Page(
            functools.partial(module.draw, gateway, words, language),
            title=words[name],
            icon=icon,
            url_path=name,
            default=name == "now",
        )
        for name, module, icon in _PAGES
    ]
    st.navigation(pages).run()


main()
