"""`/healthz`: the process answers. `/readyz`: it answers well. `/jobsz`: the scheduler and its workers are heard of."""

import sqlalchemy as sa
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from headwater.storage.alarms import alarms
from headwater.web.auth import context_of
from headwater.web.errors import problem


def add_health_routes(app: FastAPI) -> None:
    @app.get("/healthz", tags=["health"])
    async def alive() -> dict[str, str]:
        """Whether the process answers at all."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["health"])
    def ready(request: Request) -> JSONResponse:
        """Whether the database answers and every model is loaded (503 with the reasons before)."""
        context = context_of(request)
        waiting = context.waiting()
        try:
            with context.engine("house").connect() as connection:
                connection.execute(sa.text("SELECT 1"))
        except sa.exc.DBAPIError as error:
            waiting["database"] = type(error.orig).__name__
        if waiting:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in sorted(waiting.items()))
            return problem(503, f"not ready yet: {reasons}", headers={"Retry-After": "1"}, waiting=waiting)
        return JSONResponse({"status": "ready"})

    @app.get("/jobsz", tags=["health"])
    def jobs_run(request: Request) -> JSONResponse:
        """Whether scheduler and resident workers are heard of (503 with the reasons if not).

        Apart from /readyz: a gateway whose scheduler is silent still answers, and must stay behind its load balancer.
        """
        found = alarms(context_of(request).engine("house"))
        shown = [{"kind": alarm.kind, "subject": alarm.subject, "message": alarm.message} for alarm in found]
        silent = [f"{alarm.subject} {alarm.message}" for alarm in found if alarm.kind == "silent"]
        if silent:
            return problem(503, "; ".join(silent), headers={"Retry-After": "30"}, alarms=shown)
        return JSONResponse({"status": "ok", "alarms": shown})
