"""Rules, a dry run on the last 30 days, channels and what was sent."""

from typing import Any

import streamlit as st

from headwater.dash import Gateway, attempt, plain, when
from headwater.errors import HeadwaterError

_SEVERITIES = ["low", "medium", "high", "critical"]


def draw(gateway: Gateway, words: dict[str, str], language: str) -> None:
    st.title(words["alerts"])
    with attempt(words["no_gateway"]):
        found = gateway.get("/finance/v1/channels")
        companies = {row["entity"]: row["name"] for row in gateway.get("/finance/v1/companies")}
        _rules(gateway, words, language, [row["name"] for row in found["channels"]], companies)
        st.subheader(words["channels"])
        states = [
            {words["name"]: row["name"], words["state"]: row["state"], words["reason"]: row["reason"]}
            for row in found["channels"]
        ]
        st.dataframe(states, hide_index=True)
        st.subheader(words["messages"])
        _messages(gateway, words, language)


def _rules(
    gateway: Gateway, words: dict[str, str], language: str, channels: list[str], companies: dict[str, str]
) -> None:
    st.subheader(words["rules"])
    for rule in gateway.get("/finance/v1/subscriptions"):
        severity = words[rule["rule"].get("min_severity", "low")]
        st.markdown(
            f"**{plain(rule['name'])}** · {words['least_severity']} {severity} · {plain(rule['problem'] or '')}"
        )
    with st.expander(words["dry_run"], expanded=False):
        name = st.text_input(words["name"])
        chosen = st.multiselect(words["companies"], list(companies), format_func=companies.get)
        severity = st.select_slider(words["least_severity"], _SEVERITIES, "medium", format_func=words.get)
        to = st.multiselect(words["channels"], channels, default=channels[:1])
        rule: dict[str, Any] = {"companies": chosen, "min_severity": severity, "channels": to, "language": language}
        left, right = st.columns(2)
        try:
            if left.button(words["dry_run"], icon=":material/science:"):
                found = gateway.post("/finance/v1/subscriptions/dry-run", {"rule": rule})
                st.info(words["would"].format(messages=found["messages"], alerts=len(found["alerts"])))
                for alert in found["alerts"][:20]:
                    text = alert["content"]["reason"]["text"].get(language, "")
                    st.markdown(f"{when(alert['created'])} · {plain(text)}")
            if right.button(words["save"], type="primary", disabled=not name):
                gateway.post("/finance/v1/subscriptions", {"name": name, "rule": rule})
                st.success(words["saved"])
        except HeadwaterError as error:
            st.error(f"{words['failed']}: {plain(str(error))}")


def _messages(gateway: Gateway, words: dict[str, str], language: str) -> None:
    found = gateway.get("/finance/v1/alerts", limit=50)
    if not found:
        st.info(words["no_messages"])
    for alert in found:
        content = alert["content"]
        severity = content["incident"]["severity"]
        with st.container(border=True):
            st.markdown(
                f"**{plain(content['reason']['entity_name'])}** · {words[severity]} · {content['change']} · "
                f"{when(alert['created'])} UTC {alert['held']}"
            )
            st.markdown(plain(content["reason"]["text"].get(language, "")))
