"""The support bot's dashboard: `streamlit run` starts here."""

import functools
from types import ModuleType

import streamlit as st

from headwater.dash import Gateway, attempt, open_gateway, set_up
from headwater.settings import load_settings
from support_bot.dashboard import chat, conversations, documents, models, tune
from support_bot.wording import dashboard_words

_PAGES: tuple[tuple[str, ModuleType, str], ...] = (
    ("chat", chat, ":material/forum:"),
    ("documents", documents, ":material/library_books:"),
    ("conversations", conversations, ":material/history:"),
    ("models", models, ":material/model_training:"),
    ("tune", tune, ":material/tune:"),
)


@st.cache_resource
def _gateway() -> Gateway:
    return open_gateway(load_settings())


def main() -> None:
    language = set_up("Headwater support", ":material/support_agent:")
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
            default=name == "chat",
        )
        for name, module, icon in _PAGES
    ]
    st.navigation(pages).run()


main()
