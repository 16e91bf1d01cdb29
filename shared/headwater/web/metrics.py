"""Prometheus metrics of requests; routes are labelled by their template, so that ids make no new series."""

from typing import Any

from fastapi import FastAPI, Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

# From an answer template (a few ms) to an ingestion.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class RequestMetrics:
    """Duration of requests by method, route and status, and the number under way."""

    def __init__(self, registry: CollectorRegistry) -> None:
        ProcessCollector(registry=registry)
        self.active = Gauge("headwater_requests_active", "requests under way", registry=registry)
        self._seconds = Histogram(
            "headwater_request_seconds",
            "time to the end of the response",
            ("method", "route", "status"),
            buckets=_BUCKETS,
            registry=registry,
        )

    def observe(self, scope: dict[str, Any], status: int, seconds: float) -> None:
        self._seconds.labels(scope["method"], route_template(scope), str(status)).observe(seconds)


def route_template(scope: dict[str, Any]) -> str:
    """`/v1/jobs/{job_id}` rather than the path; "unmatched" for a path that no route has."""
    route = scope.get("route")
    template = getattr(route, "path_format", None)
    if template is None:
        return "unmatched"
    # The route knows its template below the router that it was declared on; what lies before it is literal.
    own_part = template.format(**scope.get("path_params", {}))
    return str(scope["path"].removesuffix(own_part) + template) if scope["path"].endswith(own_part) else str(template)


def add_metrics_route(app: FastAPI, registry: CollectorRegistry) -> None:
    @app.get("/metrics", include_in_schema=False)
    def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
