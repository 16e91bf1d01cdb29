"""`/v1/jobs`: submit what is allowed, list, cancel, read logs."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, Field

from gateway.submission import check_files
from headwater.errors import HeadwaterError, NotFound
from headwater.storage import jobs
from headwater.storage.jobs import Job
from headwater.storage.users import User
from headwater.web import AllowedJob, Context, require
from headwater.web.auth import check_role

HOUSE_JOBS = (
    AllowedJob(("tune",), "editor", heavy=True),
    AllowedJob(("evaluate",), "analyst", heavy=True),
)
Viewer = Annotated[User, Depends(require("viewer"))]


class NewJob(BaseModel):
    """A headwater command without its first word."""

    app: str = Field("house", max_length=32, pattern="^[a-z_]+$")
    argv: list[Annotated[str, Field(max_length=4096)]] = Field(min_length=1, max_length=100)


def build_router(context: Context) -> APIRouter:
    router = APIRouter(prefix="/jobs", tags=["jobs"])
    house = context.engine("house")
    home = context.settings.home.absolute()
    context.allowed_jobs.extend(HOUSE_JOBS)

    @router.get("")
    def list_jobs(
        user: Viewer,
        state: str | None = None,
        app: str | None = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> list[Job]:
        """The latest jobs, newest first."""
        return jobs.list_jobs(house, state=state, app=app, limit=limit)

    @router.post("", status_code=202)
    def submit(new: NewJob, user: Viewer) -> Job:
        """Queue a command: only those that an app has opened to HTTP, with files of the state folder's runs/ alone."""
        allowed = allowed_job(context.allowed_jobs, new.argv)
        check_role(user, allowed.role)
        check_files(new.argv, context.settings.folder("runs"))
        return jobs.submit(house, new.app, new.argv, actor=user.name, heavy=allowed.heavy)

    @router.get("/{job_id}")
    def get(job_id: str, user: Viewer) -> Job:
        return jobs.get(house, job_id)

    @router.post("/{job_id}/cancel")
    def cancel(job_id: str, user: Annotated[User, Depends(require("editor"))]) -> Job:
        """End a queued job at once; a running one gets some seconds to keep its checkpoint."""
        return jobs.cancel(house, job_id, actor=user.name)

    @router.get("/{job_id}/log", response_class=PlainTextResponse)
    def log(
        job_id: str,
        user: Annotated[User, Depends(require("analyst"))],
        tail: Annotated[int, Query(ge=1, le=1_000_000, description="bytes from the end")] = 20_000,
    ) -> str:
        """The end of what the job has written."""
        path = home / jobs.get(house, job_id).log
        if not path.exists():
            raise NotFound(f"job {job_id} has written nothing yet")
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - tail))
            return file.read().decode(errors="replace")

    return router


def allowed_job(allowed: list[AllowedJob], argv: list[str]) -> AllowedJob:
    """The entry whose words `argv` begins with. Raises HeadwaterError."""
    for job in allowed:
        if tuple(argv[: len(job.words)]) == job.words:
            return job
    known = ", ".join(" ".join(job.words) for job in allowed)
    raise HeadwaterError(f"{' '.join(argv[:2])!r} cannot be submitted over HTTP; what can: {known}")
