"""Streamlit pieces that the apps' dashboards share; they reach everything through the gateway's HTTP API."""

from headwater.dash.frame import DashboardPage, run_dashboard
from headwater.dash.gateway import Gateway, open_gateway
from headwater.dash.page import attempt, plain, set_up, when

__all__ = ["DashboardPage", "Gateway", "attempt", "open_gateway", "plain", "run_dashboard", "set_up", "when"]
