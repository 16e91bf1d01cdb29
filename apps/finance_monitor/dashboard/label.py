"""What the model is least sure of, to be labelled for the next tuning; and the labels of any article."""

import functools
from collections.abc import Mapping
from typing import Any

import streamlit as st

from finance_monitor.dashboard.parts import SENTIMENTS, Words, judged, titled
from finance_monitor.wording import topic_keys, topic_name
from headwater.dash import Gateway, attempt, plain, when

_SHOWN = 10


def draw(gateway: Gateway, words: Words, language: str) -> None:
    st.title(words["label"])
    following, corrected, done = st.tabs([words["label_next"], words["label_correct"], words["label_done"]])
    with following, attempt(words["no_gateway"]):
        _next(gateway, words)
    with corrected, attempt(words["no_gateway"]):
        _correct(gateway, words, language)
    with done, attempt(words["no_gateway"]):
        _done(gateway, words)


def _next(gateway: Gateway, words: Words) -> None:
    st.caption(words["label_intro"])
    found = gateway.get("/finance/v1/to-label", limit=_SHOWN)
    if not found:
        st.info(words["nothing_to_label"], icon=":material/check_circle:")
    for row in found:
        with st.container(border=True):
            about = f":small[{plain(row['source_id'])} · {when(row['published'])}]"
            st.markdown(f"**{plain(row['name'])}** &nbsp; {about}  \n{plain(row['sentence'] or row['title'])}")
            _choices(gateway, row["article_id"], row["company_id"], row, words)


def _choices(gateway: Gateway, article: str, company: str, row: Mapping[str, Any], words: Words) -> None:
    """The three sentiments as buttons, with what the model gives each."""
    with st.container(horizontal=True):
        for name in SENTIMENTS:
            if st.button(f"{words[name]} · {row[name]:.0%}", key=f"label-{article}-{company}-{name}"):
                body = {"article_id": article, "company_id": company, "value": name}
                with attempt(words["failed"]):
                    gateway.post("/finance/v1/corrections", body)
                    st.toast(words["kept"], icon=":material/check:")
                    st.rerun()


def _correct(gateway: Gateway, words: Words, language: str) -> None:
    text = st.text_input(words["words"], placeholder=words["words_example"], icon=":material/search:", key="label-find")
    found = gateway.get("/finance/v1/articles", text=text, limit=30)["articles"]
    if not found:
        st.info(words["no_articles"], icon=":material/search_off:")
        return
    titles = {row["id"]: f"{row['title']} · {row['source_id']}" for row in found}
    chosen = st.selectbox(words["article"], list(titles), format_func=titles.__getitem__)
    article = gateway.get(f"/finance/v1/articles/{chosen}")
    last = article["revisions"][-1]
    with st.container(border=True):
        st.markdown(f"{titled(article['title'], article['url'])}  \n{plain(last['text'][:600])}")
    st.markdown(f"**{words['whole_text']}** – {judged(words, article['label'])}")
    _choices(gateway, article["id"], "", article, words)
    for row in article["companies"]:
        st.markdown(f"**{plain(row['name'])}** – {judged(words, row['label'])}  \n> {plain(row['sentence'])}")
        _choices(gateway, article["id"], row["company_id"], row, words)
    _topics(gateway, article, words, language)


def _topics(gateway: Gateway, article: dict[str, Any], words: Words, language: str) -> None:
    known = topic_keys()
    with st.form(f"topics-{article['id']}", border=False):
        said = [row["topic"] for row in article["topics"] if row["topic"] in known]
        chosen = st.multiselect(words["topics"], known, default=said, format_func=lambda t: topic_name(t, language))
        if st.form_submit_button(words["keep_topics"]):
            body = {"article_id": article["id"], "field": "topics", "value": "|".join(chosen)}
            with attempt(words["failed"]):
                gateway.post("/finance/v1/corrections", body)
                st.toast(words["kept"], icon=":material/check:")


def _done(gateway: Gateway, words: Words) -> None:
    found = gateway.get("/finance/v1/corrections", limit=200)
    if not found:
        st.info(words["no_corrections"])
        return
    rows = [
        {
            words["when"]: when(row["moment"]),
            words["company"]: row["name"] or "",
            words["sentence"]: row["sentence"] or row["title"],
            words["model_said"]: words[
                (row["company_label"] if row["company_id"] else row["article_label"]) or "unsure"
            ]
            if row["field"] == "sentiment"
            else "",
            words["label"]: words.get(row["value"], row["value"]),
            words["by"]: row["actor"],
        }
        for row in found
    ]
    st.dataframe(rows, hide_index=True)
    st.caption(words["labels_use"])
    with st.container(horizontal=True):
        for field in ("sentiment", "topics"):
            name = f"{field}.csv"
            fetch = functools.partial(gateway.text, f"/finance/v1/exports/{name}")
            st.download_button(f"{words[field]} (CSV)", fetch, name, "text/csv", icon=":material/download:")
