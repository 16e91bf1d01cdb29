"""The models in use: cards, reports, versions, promotion with the gate's verdict, rollback."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from headwater.dash import Gateway, attempt, when
from headwater.dash.jobs import follow_job


def draw(gateway: Gateway, words: Mapping[str, str], language: str) -> None:
    st.title(words["models_title"])
    cards: list[dict[str, Any]] = []
    with attempt(words["error"]):
        cards = gateway.get("/support/v1/models")
    if not cards:
        return
    names = [card["name"] for card in cards]
    intents = [card["name"] for card in cards if card["use"] == "intents"]
    name = st.segmented_control(
        words["model"], names, default=intents[0] if intents else names[0], label_visibility="collapsed"
    )
    card = next((card for card in cards if card["name"] == name), cards[0])
    if card["production"] is None:
        st.info(words["no_production"])
    else:
        overview, report = st.tabs([words["card"], words["report"]])
        with overview:
            _card(words, card)
        with report:
            _report(words, card.get("report"))
    st.subheader(words["versions"])
    versions(gateway, words, card)


def _card(words: Mapping[str, str], card: dict[str, Any]) -> None:
    manifest = card["manifest"]
    columns = st.columns(4)
    columns[0].metric(words["in_production"], f"@{card['production']}")
    columns[1].metric(words["base"], manifest["base"])
    columns[2].metric(words["size"], f"{card['bytes'] / 1e6:.0f} MB")
    columns[3].metric(words["labels"], len(manifest["labels"]) or "–")
    rows = {
        words["kind"]: manifest["kind"],
        words["language"]: manifest["language"],
        words["licence"]: manifest["licence"],
        words["sources"]: ", ".join(manifest["sources"]) or "–",
        words["fingerprint"]: manifest["data_fingerprint"] or "–",
        words["quantisation"]: _pairs(manifest["quantisation"]),
        words["thresholds"]: _pairs(manifest["thresholds"]) or "–",
        "bundle": card["versions"][0]["bundle_id"],
    }
    st.dataframe(
        pd.DataFrame({words["field"]: list(rows), words["value"]: [str(v) for v in rows.values()]}), hide_index=True
    )
    metrics_table(words, manifest["metrics"])


def metrics_table(words: Mapping[str, str], metrics: Mapping[str, Any]) -> None:
    """The metrics of a manifest with their intervals."""
    rows = _metric_rows(metrics)
    if rows:
        st.markdown(f"**{words['metrics']}**")
        frame = pd.DataFrame(rows, columns=[words["part"], words["metric"], words["value"], words["interval"]])
        st.dataframe(frame, hide_index=True)


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items())


def _metric_rows(metrics: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    rows = []
    for part, scores in metrics.items():
        for name, value in scores.items():
            if isinstance(value, dict) and "low" in value:
                interval = f"{value['low']:.3f} – {value['high']:.3f}"
                rows.append((part, name, f"{value['value']:.3f}", interval))
            elif isinstance(value, dict):
                rows += [(part, f"{name} {k}", f"{v:.3f}", "") for k, v in value.items() if isinstance(v, float)]
            elif isinstance(value, float):
                rows.append((part, name, f"{value:.3f}", ""))
    return rows


def _report(words: Mapping[str, str], report: dict[str, Any] | None) -> None:
    scores = (report or {}).get("scores") or {}
    if not scores:
        st.info(words["no_report"])
        return
    part = "test" if "test" in scores else next(iter(scores))
    shown = scores[part]
    st.caption(words["report_part"].format(part=part, examples=shown["examples"]))
    table = shown["report"]
    frame = pd.DataFrame(
        [{words["label"]: label, **values} for label, values in table["per_class"].items()],
    ).rename(columns={key: words[key] for key in ("precision", "recall", "support")})
    number = st.column_config.NumberColumn(format="%.2f")
    st.dataframe(
        frame,
        hide_index=True,
        height=300,
        column_config={
            words["precision"]: number,
            words["recall"]: number,
            "f1": st.column_config.ProgressColumn("F1", format="%.2f", min_value=0, max_value=1),
        },
    )
    left, right = st.columns([3, 2])
    if table["confusion"]:
        left.markdown(f"**{words['confusion']}**")
        left.altair_chart(_confusion(words, table), width="stretch")
    if shown.get("reliability"):
        right.markdown(f"**{words['calibration']}** (ECE {shown['calibration_error']:.3f})")
        right.altair_chart(_reliability(words, shown["reliability"]), width="stretch")
    if shown.get("mistakes"):
        st.markdown(f"**{words['mistakes']}**")
        mistakes = pd.DataFrame(shown["mistakes"])[["text", "true", "predicted", "probability"]]
        st.dataframe(mistakes, hide_index=True, height=260)


def _confusion(words: Mapping[str, str], table: dict[str, Any]) -> Any:
    names = list(table["per_class"])
    cells = [
        {"true": names[i], "predicted": names[j], "count": count}
        for i, row in enumerate(table["confusion"])
        for j, count in enumerate(row)
        if count
    ]
    size = max(320, 13 * len(names))
    axis = alt.Axis(labelFontSize=8, labelLimit=130, labelOverlap=False)
    return (
        alt.Chart(pd.DataFrame(cells))
        .mark_rect()
        .encode(
            x=alt.X("predicted:N", sort=names, title=words["predicted"], axis=axis),
            y=alt.Y("true:N", sort=names, title=words["true"], axis=axis),
            color=alt.Color("count:Q", scale=alt.Scale(scheme="teals"), legend=None),
            tooltip=["true", "predicted", "count"],
        )
        .properties(height=size)
    )


def _reliability(words: Mapping[str, str], bins: list[dict[str, Any]]) -> Any:
    frame = pd.DataFrame(bins)
    unit = alt.Scale(domain=[0, 1])
    points = (
        alt.Chart(frame)
        .mark_line(point=True, color="#0f6b5c")
        .encode(
            x=alt.X("confidence:Q", scale=unit, title=words["said"]),
            y=alt.Y("accuracy:Q", scale=unit, title=words["was_right"]),
            tooltip=["confidence", "accuracy", "count"],
        )
    )
    ends = pd.DataFrame({"x": [0, 1], "y": [0, 1]})
    diagonal = alt.Chart(ends).mark_line(strokeDash=[4, 4], color="#999").encode(x=alt.X("x:Q"), y=alt.Y("y:Q"))
    return (diagonal + points).properties(height=320)


def versions(gateway: Gateway, words: Mapping[str, str], card: dict[str, Any]) -> None:
    """The versions of a model, with promote and rollback."""
    rows = pd.DataFrame(
        [
            {
                words["version"]: f"@{v['version']}",
                words["stage"]: words.get(f"stage_{v['stage']}", v["stage"]),
                words["by"]: v["actor"],
                words["registered"]: when(v["created"]),
                words["promoted"]: when(v["promoted"]),
                words["verdict"]: verdict_line(words, v["verdict"]),
            }
            for v in card["versions"]
        ]
    )
    st.dataframe(rows, hide_index=True)
    candidates = [v["version"] for v in card["versions"] if v["stage"] == "candidate"]
    former = [v for v in card["versions"] if v["promoted"] and v["version"] != card["production"]]
    left, middle, right = st.columns([2, 2, 1], vertical_alignment="bottom")
    if candidates:
        number = left.selectbox(words["candidate"], candidates, format_func=lambda n: f"@{n}", key=f"c-{card['name']}")
        new_labels = middle.checkbox(words["new_labels"], key=f"n-{card['name']}")
        if right.button(words["promote"], type="primary", icon=":material/verified:", key=f"p-{card['name']}"):
            _start(gateway, words, f"/v1/registry/{card['name']}/{number}/promote", {"new_labels": new_labels})
    else:
        left.caption(words["no_candidates"])
    if former and right.button(words["rollback"], icon=":material/undo:", key=f"r-{card['name']}"):
        _confirm_rollback(gateway, words, card["name"])
    job = st.session_state.get("registry_job")
    if job:
        follow_job(gateway, job, words)


@st.dialog("⚠")
def _confirm_rollback(gateway: Gateway, words: Mapping[str, str], name: str) -> None:
    st.markdown(words["rollback_question"].format(name=name))
    yes, no = st.columns(2)
    if yes.button(words["rollback"], type="primary", width="stretch"):
        _start(gateway, words, f"/v1/registry/{name}/rollback", None)
    if no.button(words["keep"], width="stretch"):
        st.rerun()


def _start(gateway: Gateway, words: Mapping[str, str], path: str, body: Any) -> None:
    job = None
    with attempt(words["error"]):
        job = gateway.post(path, body)
    if job:
        st.session_state["registry_job"] = job["id"]
        st.rerun()


def verdict_line(words: Mapping[str, str], verdict: dict[str, Any] | None) -> str:
    """What the gate found, in a line."""
    if not verdict:
        return ""
    if verdict.get("candidate_accuracy") is None:
        return words["no_gate"]
    found = words["gate_candidate"].format(
        value=100 * verdict["candidate_accuracy"], examples=verdict.get("examples", 0)
    )
    if verdict.get("production_accuracy") is not None:
        found += words["gate_against"].format(value=100 * verdict["production_accuracy"])
    return found
