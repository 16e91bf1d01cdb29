"""`/v1/registry`: bundles by name and version, promotion with its verdict, rollback."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from headwater.bundles import Version
from headwater.storage import jobs
from headwater.storage.jobs import Job
from headwater.storage.users import User
from headwater.web import Context, require

Viewer = Annotated[User, Depends(require("viewer"))]
Editor = Annotated[User, Depends(require("editor"))]


class Promotion(BaseModel):
    """`new_labels`: accept a version whose labels differ from those in production."""

    new_labels: bool = False


def build_router(context: Context) -> APIRouter:
    router = APIRouter(prefix="/registry", tags=["registry"])
    bundles = context.registry
    house = context.engine("house")

    @router.get("")
    def names(user: Viewer) -> list[dict[str, Any]]:
        """Every name with its production version."""
        return [{"name": name, "production": bundles.production(name)} for name in bundles.names()]

    @router.get("/{name}")
    def versions(name: str, user: Viewer) -> list[Version]:
        """Newest first; 404 for an unknown name."""
        bundles.version(name)
        return bundles.versions(name)

    @router.get("/{name}/{version}")
    def version(name: str, version: int, user: Viewer) -> dict[str, Any]:
        """The version's row, its manifest and the report of its tuning run (null when the bundle has none)."""
        found = bundles.version(name, version)
        bundle = bundles.open(found)
        report = bundle.path / "report.json"
        return {
            "version": found,
            "manifest": json.loads(bundle.manifest.to_text()),
            "report": json.loads(report.read_text()) if report.exists() else None,
        }

    @router.post("/{name}/{version}/promote", status_code=202)
    def promote(name: str, version: int, promotion: Promotion, user: Editor) -> Job:
        """Judge the version against the one in production and put it there if the gate accepts it.

        The gate scores both models, so it runs as a job; its verdict is the job's message and log, and stays with the
        version. It does not wait behind heavy jobs: mending what customers see must not wait for a tuning run.
        """
        found = bundles.version(name, version)
        words = ["registry", "promote", f"{found.name}@{found.version}"]
        return jobs.submit(
            house, "house", [*words, *(["--new-labels"] if promotion.new_labels else [])], actor=user.name
        )

    @router.post("/{name}/rollback", status_code=202)
    def rollback(name: str, user: Editor) -> Job:
        """Put the production version from before back, as a job."""
        bundles.version(name)
        return jobs.submit(house, "house", ["registry", "rollback", name], actor=user.name)

    return router
