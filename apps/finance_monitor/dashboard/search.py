"""Articles by words, company, topic, sentiment, source and language, page by page."""

from typing import Any

import streamlit as st

from finance_monitor.dashboard.parts import Words, article_lines, downloads
from finance_monitor.wording import topic_keys, topic_name
from headwater.dash import Gateway, attempt

_PAGE = 25
_LABELS = ("", "negative", "neutral", "positive", "unsure")
_LANGUAGES = ("", "en", "zh")


def draw(gateway: Gateway, words: Words, language: str) -> None:
    st.title(words["search"])
    with attempt(words["no_gateway"]):
        query = _query(gateway, words, language)
        if st.session_state.get("search-query") != query:
            st.session_state.update({"search-query": query, "search-pages": [_page(gateway, query, {})]})
        pages: list[dict[str, Any]] = st.session_state["search-pages"]
        found = [row for page in pages for row in page["articles"]]
        following = pages[-1]["next"]
        if not found and following is None:
            st.info(words["no_articles"], icon=":material/search_off:")
            return
        with st.container(horizontal=True):
            downloads(gateway, "articles", query, words, key="search")
        article_lines(found, words)
        if following is None:
            st.caption(words["that_is_all"].format(count=len(found)))
        elif st.button(words["further"], icon=":material/expand_more:"):
            pages.append(_page(gateway, query, following))
            st.rerun()


def _query(gateway: Gateway, words: Words, language: str) -> dict[str, Any]:
    companies = {row["entity"]: row["name"] for row in gateway.get("/finance/v1/companies", days=90, silent="true")}
    sources = {row["id"]: row["name"] for row in gateway.get("/finance/v1/sources", with_health="false")}

    def choice(place: Any, label: str, options: Any, name: Any, start: int = 0) -> Any:
        return place.selectbox(
            words[label], options, index=start, format_func=lambda one: name(one) if one else words["any"]
        )

    left, right = st.columns([2, 1])
    text = left.text_input(words["words"], placeholder=words["words_example"], icon=":material/search:")
    asked = st.query_params.get("company", "")
    start = [*companies].index(asked) + 1 if asked in companies else 0
    company = choice(right, "company", ["", *companies], companies.__getitem__, start)
    places = st.columns(4)
    return {
        "text": text.strip(),
        "company": company,
        "topic": choice(places[0], "topic", ["", *topic_keys()], lambda topic: topic_name(topic, language)),
        "label": choice(places[1], "sentiment", _LABELS, words.__getitem__),
        "source": choice(places[2], "source", ["", *sources], sources.__getitem__),
        "language": choice(places[3], "language", _LANGUAGES, lambda code: words[f"language_{code}"]),
    }


def _page(gateway: Gateway, query: dict[str, Any], after: dict[str, str]) -> Any:
    return gateway.get("/finance/v1/articles", **query, **after, limit=_PAGE)
