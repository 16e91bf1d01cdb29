"""`/v1/jobs`: submit what is allowed, list, cancel, read logs."""

import os
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, Field

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

    app: str = Field("house", max_length=32)
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
        """Queue a command; only those that an app has opened to HTTP, with files under the state folder alone."""
        allowed = allowed_job(context.allowed_jobs, new.argv)
        check_role(user, allowed.role)
        refuse_outside_files(new.argv, home)
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


def refuse_outside_files(argv: list[str], home: Path) -> None:
    """Raise HeadwaterError for a word that may name a file outside the state folder.

    A remote editor must not read or write the server's files: every word (and the value after `=`) with a path
    separator or leading dot has to lie under home, and so has every word that names an existing file.
    """
    for word in argv:
        value = word.partition("=")[2] if word.startswith("-") and "=" in word else word
        looks_like_path = any(mark in value for mark in ("/", os.sep, "..")) or value.startswith(("~", "."))
        if value and (looks_like_path or Path(value).exists()):
            path = Path(value).resolve()
            if not path.is_relative_to(home.resolve()):
                raise HeadwaterError(
                    f"{value!r} lies outside the state folder; upload it first, or use the command line"
                )
