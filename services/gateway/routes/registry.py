"""`/v1/registry`: bundles by name and version, promotion with its verdict, rollback."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from headwater.bundles import Version
from headwater.storage.users import User
from headwater.web import Context, require

Viewer = Annotated[User, Depends(require("viewer"))]
Editor = Annotated[User, Depends(require("editor"))]


class Promotion(BaseModel):
    new_labels: bool = False


def build_router(context: Context) -> APIRouter:
    router = APIRouter(prefix="/registry", tags=["registry"])
    bundles = context.registry

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

    return router
