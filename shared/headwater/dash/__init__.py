"""Streamlit pieces that the apps' dashboards share; they reach everything through the gateway's HTTP API."""

from headwater.dash.gateway import Gateway, open_gateway
from headwater.dash.page import attempt, plain, set_up, when

__all__ = ["Gateway", "attempt", "open_gateway", "plain", "set_up", "when"]
