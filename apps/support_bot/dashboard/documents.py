"""The documents that the bot answers from: list, open, add, replace, delete."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import pandas as pd
import streamlit as st

from headwater.dash import Gateway, attempt, plain, when
from headwater.errors import HeadwaterError

_TYPES = ["md", "html", "htm", "pdf", "docx", "txt", "csv"]


def draw(gateway: Gateway, words: Mapping[str, str], language: str) -> None:
    st.title(words["documents_title"])
    for kind, message in st.session_state.pop("document_news", []):
        (st.success if kind == "good" else st.error)(plain(message))
    listed, added = st.tabs([words["all_documents"], words["add_documents"]])
    with listed, attempt(words["error"]):
        _list(gateway, words)
    with added:
        _add(gateway, words)


def _list(gateway: Gateway, words: Mapping[str, str]) -> None:
    search = st.text_input(words["search"], placeholder=words["search_documents"], icon=":material/search:")
    found = gateway.get("/support/v1/documents", search=search, limit=500)
    if not found:
        st.info(words["no_documents_found"] if search else words["no_documents"])
        return
    st.caption(words["document_count"].format(count=len(found)))
    rows = pd.DataFrame(
        [
            {
                words["page"]: d["title"],
                "ID": d["id"],
                words["kind"]: d["kind"],
                words["language"]: d["language"],
                words["characters"]: d["characters"],
                words["changed"]: when(d["updated"]),
                words["by"]: d["actor"],
            }
            for d in found
        ]
    )
    event = st.dataframe(rows, hide_index=True, on_select="rerun", selection_mode="single-row", height=360)
    selected = event["selection"]["rows"]
    if not selected:
        st.caption(words["select_document"])
        return
    _one(gateway, words, found[selected[0]])


def _one(gateway: Gateway, words: Mapping[str, str], document: Mapping[str, Any]) -> None:
    with st.container(border=True):
        st.subheader(plain(document["title"] or document["id"]))
        st.caption(plain(" · ".join(filter(None, (document["id"], document["url"])))))
        address = f"/support/v1/documents/{quote(document['id'], safe='')}"
        opened, deleted, _ = st.columns([1, 1, 3])
        opened.link_button(
            words["open"], f"{gateway.url}{address}/view", icon=":material/open_in_new:", width="stretch"
        )
        if deleted.button(words["delete"], icon=":material/delete:", width="stretch"):
            _confirm_delete(gateway, words, document, address)
        file = st.file_uploader(words["replace"], type=_TYPES, key=f"replace-{document['id']}")
        if file is not None and st.button(words["replace_now"], type="primary"):
            fields = {"document_id": document["id"], "title": document["title"], "url": document["url"]}
            with attempt(words["not_replaced"]):
                gateway.upload("/support/v1/documents", file.name, file.getvalue(), fields)
                _news([("good", words["replaced"].format(title=document["title"]))])


@st.dialog("⚠")
def _confirm_delete(gateway: Gateway, words: Mapping[str, str], document: Mapping[str, Any], address: str) -> None:
    st.markdown(words["delete_question"].format(title=plain(document["title"] or document["id"])))
    yes, no = st.columns(2)
    if yes.button(words["delete"], type="primary", width="stretch"):
        with attempt(words["error"]):
            gateway.delete(address)
            _news([("good", words["deleted"].format(title=document["title"]))])
    if no.button(words["keep"], width="stretch"):
        st.rerun()


def _add(gateway: Gateway, words: Mapping[str, str]) -> None:
    st.caption(words["add_hint"])
    files = st.file_uploader(words["files"], type=_TYPES, accept_multiple_files=True)
    if files and st.button(words["add_files"].format(count=len(files)), type="primary", icon=":material/upload:"):
        _upload(gateway, words, files)
    with st.form("page", clear_on_submit=True):
        url = st.text_input(words["address"], placeholder="https://example.com/help/returns")
        if st.form_submit_button(words["add_page"], icon=":material/link:") and url:
            with attempt(words["not_added"]), st.spinner(words["reading"]):
                page = gateway.post("/support/v1/pages", {"url": url})
                st.success(plain(words["added"].format(title=page["title"], characters=page["characters"])))


def _upload(gateway: Gateway, words: Mapping[str, str], files: list[Any]) -> None:
    news = []
    bar = st.progress(0.0)
    for number, file in enumerate(files):
        bar.progress(number / len(files), text=plain(file.name))
        try:
            done = gateway.upload("/support/v1/documents", file.name, file.getvalue(), {})
            news.append(("good", words["added"].format(title=done["title"], characters=done["characters"])))
        except HeadwaterError as error:
            news.append(("bad", f"{file.name}: {error}"))
    _news(news)


def _news(news: list[tuple[str, str]]) -> None:
    st.session_state["document_news"] = news
    st.rerun()
