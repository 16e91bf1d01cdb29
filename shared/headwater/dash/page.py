"""The frame of every dashboard: look, language, errors, and untrusted text shown as text."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import streamlit as st

from headwater.errors import HeadwaterError

_LANGUAGES = {"en": "English", "zh": "中文"}
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
_STYLE = """
<style>
.block-container {padding-top: 3.2rem; max-width: 68rem;}
[data-testid="stMetricValue"] {font-size: 1.5rem;}
blockquote {border-left: 3px solid #0f6b5c; opacity: .92;}
</style>
"""


def set_up(title: str, icon: str) -> str:
    """Configure the page and draw the language switch; returns the language chosen, "en" or "zh"."""
    st.set_page_config(page_title=title, page_icon=icon, layout="wide", initial_sidebar_state="auto")
    st.html(_STYLE)
    start = st.query_params.get("lang", "en")
    with st.sidebar:
        chosen = st.segmented_control(
            "Language 语言",
            list(_LANGUAGES),
            format_func=_LANGUAGES.__getitem__,
            default=start if start in _LANGUAGES else "en",
            key="language",
        )
    return str(chosen or "en")


def plain(text: str) -> str:
    """Untrusted text for st.markdown: every mark escaped, so that it is shown and never interpreted."""
    return _PUNCTUATION.sub(r"\\\1", text).replace("\n", "  \n")


@contextmanager
def attempt(title: str) -> Iterator[None]:
    """Show a HeadwaterError as a box with its message in place of a traceback."""
    try:
        yield
    except HeadwaterError as error:
        st.error(f"**{plain(title)}**  \n{plain(str(error))}", icon=":material/error:")


def when(moment: str | None) -> str:
    """A UTC time of the API in the form 2026-11-24 09:30."""
    if not moment:
        return ""
    return datetime.fromisoformat(moment).strftime("%Y-%m-%d %H:%M")
