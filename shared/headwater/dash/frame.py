"""A whole dashboard: the frame, the way to the gateway, and the app's pages."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from headwater.dash.alarms import show_alarms
from headwater.dash.gateway import Gateway, open_gateway
from headwater.dash.page import attempt, set_up
from headwater.settings import load_settings


@dataclass(frozen=True)
class DashboardPage:
    """`name` is the page's address and the key of its title among the app's words; `draw(gateway, words, language)`."""

    name: str
    icon: str
    draw: Callable[[Gateway, Mapping[str, str], str], None]


@st.cache_resource  # type: ignore[untyped-decorator]
def _gateway() -> Gateway:
    return open_gateway(load_settings())


def run_dashboard(
    title: str, icon: str, words_of: Callable[[str], Mapping[str, str]], pages: Sequence[DashboardPage]
) -> None:
    """Draw the page that is asked for; the first one has no address of its own.

    `words_of(language)` gives every word of the pages, among them: no_gateway, again.
    """
    language = set_up(title, icon)
    words = words_of(language)
    gateway = None
    with attempt(words["no_gateway"]):
        gateway = _gateway()
    if gateway is None:
        st.button(words["again"], icon=":material/refresh:")
        return
    show_alarms(gateway, language)
    listed = [
        st.Page(
            functools.partial(page.draw, gateway, words, language),
            title=words[page.name],
            icon=page.icon,
            url_path=page.name,
            default=number == 0,
        )
        for number, page in enumerate(pages)
    ]
    st.navigation(listed).run()
