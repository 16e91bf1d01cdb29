"""A job followed live: state, progress, estimate, log, cancel."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import streamlit as st

from headwater.dash.gateway import Gateway
from headwater.dash.page import attempt, plain

ENDED = ("done", "failed", "cancelled")
_ICONS = {"done": ":material/check_circle:", "failed": ":material/error:", "cancelled": ":material/cancel:"}


def follow_job(gateway: Gateway, job_id: str, words: Mapping[str, str]) -> None:
    """Draw the job and draw it again each second until it has ended; then the page is run once more.

    `words` gives: queued, running, done, failed, cancelled, remaining, cancel, log, error.
    """
    job = {}
    with attempt(words["error"]):
        job = gateway.get(f"/v1/jobs/{job_id}")
    if not job:
        return
    if job["state"] in ENDED:
        _draw(gateway, job, words)
    else:
        _live(gateway, job_id, words)


@st.fragment(run_every=1.0)  # type: ignore[untyped-decorator]
def _live(gateway: Gateway, job_id: str, words: Mapping[str, str]) -> None:
    with attempt(words["error"]):
        job = gateway.get(f"/v1/jobs/{job_id}")
        if job["state"] in ENDED:
            st.rerun()
        _draw(gateway, job, words)
        if st.button(words["cancel"], key=f"cancel-{job_id}", icon=":material/stop_circle:"):
            gateway.post(f"/v1/jobs/{job_id}/cancel")


def _draw(gateway: Gateway, job: dict[str, Any], words: Mapping[str, str]) -> None:
    state = job["state"]
    if state in ENDED:
        show = {"done": st.success, "failed": st.error, "cancelled": st.warning}[state]
        said = job["message"] if job["message"] not in ("", state) else ""
        message = f"**{words[state]}**" + (f"  \n{plain(said)}" if said else "")
        show(message, icon=_ICONS[state])
    else:
        left = _remaining(job)
        text = f"{words[state]}: {plain(job['message'] or '…')}" + (f" · {words['remaining']} {left}" if left else "")
        st.progress(min(1.0, float(job["progress"])), text=text)
    lines = _log(gateway, job["id"])
    if lines:
        with st.expander(words["log"], expanded=state == "failed"):
            st.code("\n".join(lines[-40:]), language=None)


def _remaining(job: dict[str, Any]) -> str:
    if not job["started"] or not 0.02 < job["progress"] < 1:
        return ""
    spent = (datetime.now(UTC) - datetime.fromisoformat(job["started"])).total_seconds()
    seconds = int(spent * (1 - job["progress"]) / job["progress"])
    return f"{seconds // 60}:{seconds % 60:02d}"


def _log(gateway: Gateway, job_id: str) -> list[str]:
    from headwater.errors import HeadwaterError

    try:
        return gateway.text(f"/v1/jobs/{job_id}/log").splitlines()
    except HeadwaterError:
        return []  # nothing has been written yet
