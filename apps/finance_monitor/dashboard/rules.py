"""Rules with a dry run on the last 30 days, new channels, and watchlists."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import streamlit as st

from finance_monitor.calendars import MARKETS
from finance_monitor.channels import KINDS
from finance_monitor.dashboard.parts import SEVERITIES, Words, reason_of
from finance_monitor.wording import topic_keys, topic_name
from headwater.dash import Gateway, attempt, plain, when
from headwater.errors import HeadwaterError

_CHANGES = ("opened", "grew", "closed")
_MODES = ("immediate", "daily", "weekly")
_DAYS = 30
_SHOWN = 20


def draw(gateway: Gateway, words: Words, language: str) -> None:
    found = gateway.get("/finance/v1/subscriptions")
    if not found:
        st.info(words["no_rules"], icon=":material/rule:")
    for one in found:
        _listed(gateway, one, words, language)
    changed = next((one for one in found if one["id"] == st.session_state.get("rule-changed")), None)
    st.subheader(words["change_rule"] if changed else words["new_rule"])
    _form(gateway, changed, words, language)


def _listed(gateway: Gateway, one: Mapping[str, Any], words: Words, language: str) -> None:
    with st.container(border=True):
        left, middle, right = st.columns([4, 1, 1], vertical_alignment="center")
        off = "" if one["enabled"] else f" :gray[({words['off']})]"
        left.markdown(f"**{plain(one['name'])}**{off}")
        left.caption(plain(_said(one["rule"], words, language)))
        if one["problem"]:
            left.error(plain(one["problem"]))
        if middle.button(words["change"], key=f"change-{one['id']}", width="stretch"):
            st.session_state["rule-changed"] = one["id"]
            st.rerun()
        with right.popover(words["remove"], width="stretch"):
            st.markdown(words["remove_question"].format(name=plain(one["name"])))
            if st.button(words["remove"], key=f"remove-{one['id']}", type="primary"):
                with attempt(words["failed"]):
                    gateway.delete(f"/finance/v1/subscriptions/{one['id']}")
                    st.rerun()


def _said(rule: Mapping[str, Any], words: Words, language: str) -> str:
    """The rule in a line."""
    about = [*rule["companies"], *([rule["watchlist"]] if rule["watchlist"] else [])]
    about += [topic_name(topic, language) for topic in rule["topics"]]
    parts = [
        ", ".join(about) or words["everything"],
        words["from_severity"].format(severity=words[rule["min_severity"]]),
        words["mode_" + rule["mode"]],
        "→ " + (", ".join(rule["channels"]) or words["nowhere"]),
    ]
    parts += [f"{words['quiet']} {quiet['from']}–{quiet['to']}" for quiet in rule["quiet"]]
    return " · ".join(parts)


def _form(gateway: Gateway, changed: Mapping[str, Any] | None, words: Words, language: str) -> None:
    former: dict[str, Any] = dict(changed["rule"]) if changed else {}
    key = changed["id"] if changed else "new"
    with st.form(f"rule-{key}"):
        name = st.text_input(words["name"], changed["name"] if changed else "", placeholder=words["rule_example"])
        rule = {**former, **_filters(gateway, former, words, language), **_delivery(gateway, former, words, language)}
        enabled = st.toggle(words["enabled"], changed["enabled"] if changed else True)
        with st.container(horizontal=True):
            tried = st.form_submit_button(words["dry_run"], icon=":material/science:")
            kept = st.form_submit_button(words["save"], type="primary", icon=":material/save:")
    with attempt(words["failed"]):
        if tried:
            _tried(gateway, rule, words, language)
        if kept:
            if not name.strip():
                raise HeadwaterError(words["name_needed"])
            body = {"name": name, "rule": rule, "enabled": enabled}
            if changed:
                gateway.put(f"/finance/v1/subscriptions/{changed['id']}", body)
            else:
                gateway.post("/finance/v1/subscriptions", body)
            st.session_state.pop("rule-changed", None)
            st.toast(words["saved"])
            st.rerun()


def _filters(gateway: Gateway, former: Mapping[str, Any], words: Words, language: str) -> dict[str, Any]:
    companies = {row["entity"]: row["name"] for row in gateway.get("/finance/v1/companies", silent="true")}
    companies |= {one: one for one in former.get("companies", ()) if one not in companies}
    lists = ["", *gateway.get("/finance/v1/watchlists")]
    left, right = st.columns(2)
    chosen = left.multiselect(
        words["companies"],
        list(companies),
        former.get("companies", []),
        format_func=companies.__getitem__,
        placeholder=words["any"],
    )
    topics = right.multiselect(
        words["topics"],
        topic_keys(),
        former.get("topics", []),
        format_func=lambda topic: topic_name(topic, language),
        placeholder=words["any"],
    )
    left, right = st.columns(2)
    watchlist = left.selectbox(
        words["watchlist"],
        lists,
        index=lists.index(former.get("watchlist", "")),
        format_func=lambda one: one or words["none"],
    )
    severity = right.select_slider(
        words["least_severity"], SEVERITIES, former.get("min_severity", "medium"), format_func=words.__getitem__
    )
    return {"companies": chosen, "topics": topics, "watchlist": watchlist, "min_severity": severity}


def _delivery(gateway: Gateway, former: Mapping[str, Any], words: Words, language: str) -> dict[str, Any]:
    names = [row["name"] for row in gateway.get("/finance/v1/channels")["channels"]]
    left, right = st.columns(2)
    to = left.multiselect(words["channels"], names, former.get("channels", names[:1]))
    mode = right.segmented_control(
        words["mode"], _MODES, default=former.get("mode", "immediate"), format_func=lambda m: words[f"mode_{m}"]
    )
    with st.expander(words["more"]):
        changes = st.pills(
            words["told_of"],
            _CHANGES,
            selection_mode="multi",
            default=former.get("changes", list(_CHANGES)),
            format_func=lambda change: words[f"change_{change}"],
        )
        quiet: Any = (former.get("quiet") or [{}])[0]
        first, second, third = st.columns(3)
        start = first.text_input(words["quiet_from"], quiet.get("from", ""), placeholder="22:00")
        end = second.text_input(words["quiet_to"], quiet.get("to", ""), placeholder="07:00")
        zone = third.text_input(words["zone"], former.get("zone", "UTC"), placeholder="Europe/London")
        first, second, third = st.columns(3)
        markets = ("", *MARKETS)
        market = first.selectbox(
            words["market"],
            markets,
            index=markets.index(former.get("market", "")),
            format_func=lambda one: one or words["none"],
        )
        group = second.number_input(words["group_minutes"], 0, 1_440, former.get("group_minutes", 0))
        limit = third.number_input(words["per_hour"], 0, 1_000, former.get("per_hour", 0))
    hours = [{**quiet, "from": start.strip(), "to": end.strip()}] if start.strip() or end.strip() else []
    kept = {"changes": list(changes), "quiet": [*hours, *former.get("quiet", [])[1:]], "zone": zone.strip() or "UTC"}
    rest = {"market": market, "group_minutes": int(group), "per_hour": int(limit)}
    spoken = former.get("language", language)
    return {"channels": to, "mode": mode or "immediate", "language": spoken, **kept, **rest}


def _tried(gateway: Gateway, rule: dict[str, Any], words: Words, language: str) -> None:
    found = gateway.post("/finance/v1/subscriptions/dry-run", {"rule": rule, "days": _DAYS})
    alerts = found["alerts"]
    said = words["would_once" if len(alerts) == 1 else "would"].format(
        times=len(alerts), messages=found["messages"], days=_DAYS
    )
    (st.success if alerts else st.info)(said, icon=":material/science:")
    for alert in alerts[::-1][:_SHOWN]:
        content = alert["content"]
        incident = {**content["incident"], "reason": content["reason"]}
        about = f"{when(alert['created'])} · {words['change_' + content['change']]} · {words[incident['severity']]}"
        st.markdown(f":small[:gray[{about}]]  \n{plain(reason_of(incident, language))}")


def new_channel(gateway: Gateway, words: Words) -> None:
    """A form for a channel; its options are those of its kind, as JSON."""
    with st.expander(words["new_channel"], icon=":material/add:"), st.form("channel", border=False):
        left, right = st.columns(2)
        name = left.text_input(words["name"], max_chars=64)
        kind = right.selectbox(words["channel_kind"], KINDS)
        options = st.text_area(
            words["options"], placeholder='{"url": "https://hooks.example.com/alerts"}', help=words["options_help"]
        )
        if st.form_submit_button(words["save_channel"]):
            with attempt(words["failed"]):
                body = {"kind": kind, "options": _json(options, words)}
                if not name.strip():
                    raise HeadwaterError(words["name_needed"])
                gateway.put(f"/finance/v1/channels/{quote(name.strip(), safe='')}", body)
                st.rerun()


def _json(text: str, words: Words) -> Any:
    try:
        return json.loads(text or "{}")
    except ValueError as error:
        raise HeadwaterError(f"{words['options']}: {error}") from None


def draw_watchlists(gateway: Gateway, words: Words) -> None:
    """Named lists of companies, from a file or chosen here."""
    st.caption(words["watchlists_intro"])
    companies = {row["entity"]: row["name"] for row in gateway.get("/finance/v1/companies", silent="true")}
    for name, ids in gateway.get("/finance/v1/watchlists").items():
        left, right = st.columns([5, 1], vertical_alignment="center")
        left.markdown(
            f"**{plain(name)}** ({len(ids)})  \n:small[{plain(', '.join(companies.get(i, i) for i in ids[:12]))}]"
        )
        if right.button(words["remove"], key=f"list-{name}", width="stretch"):
            with attempt(words["failed"]):
                gateway.delete(f"/finance/v1/watchlists/{quote(name, safe='')}")
                st.rerun()
    with st.form("watchlist"):
        name = st.text_input(words["name"], max_chars=64, placeholder=words["watchlist_example"])
        file = st.file_uploader(words["watchlist_file"], type=["csv", "tsv", "txt"])
        chosen = st.multiselect(words["companies"], list(companies), format_func=companies.__getitem__)
        if st.form_submit_button(words["save_watchlist"]):
            with attempt(words["failed"]):
                if not name.strip():
                    raise HeadwaterError(words["name_needed"])
                place = f"/finance/v1/watchlists/{quote(name.strip(), safe='')}"
                if file is not None:
                    kept = gateway.upload(f"{place}/file", file.name, file.getvalue(), {})
                else:
                    kept = gateway.put(place, {"companies": chosen})
                st.success(words["list_kept"].format(count=len(kept["companies"])))
                for problem in kept["problems"][:10]:
                    st.warning(plain(problem))
