"""`/v1/schedules`: what runs by the clock, the ledger of its runs, and what is silent."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from headwater.storage.alarms import Alarm, alarms
from headwater.storage.schedules import LedgerRow, Schedule, ledger, list_schedules
from headwater.storage.users import User
from headwater.web import Context, require

Viewer = Annotated[User, Depends(require("viewer"))]


def build_router(context: Context) -> APIRouter:
    router = APIRouter(prefix="/schedules", tags=["jobs"])
    house = context.engine("house")

    @router.get("")
    def schedules(user: Viewer) -> dict[str, Any]:
        """The schedules in force, and the alarms: a scheduler or resident worker that is silent, a wrong setting."""
        listed: list[Schedule] = list_schedules(house)
        found: list[Alarm] = alarms(house)
        return {"schedules": listed, "alarms": found}

    @router.get("/ledger")
    def rows(user: Viewer, name: str | None = None, limit: Annotated[int, Query(ge=1, le=500)] = 50) -> list[LedgerRow]:
        """What became of the latest windows: run, several as one, or missed with the reason."""
        return ledger(house, name=name, limit=limit)

    return router
