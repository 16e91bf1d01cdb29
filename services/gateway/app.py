"""The application: the house's routes and those of every installed app."""

import importlib.util
import logging
from importlib.metadata import EntryPoint, entry_points

from fastapi import APIRouter, FastAPI

from gateway.routes import jobs, registry, schedules, users
from headwater.settings import Settings
from headwater.web import Context, build_app, open_context

GROUP = "headwater.apps"
_log = logging.getLogger("headwater.gateway")


def create_app(settings: Settings) -> FastAPI:
    """Build the gateway; databases are migrated here, models are loaded in the background once it has started."""
    context = open_context(settings)
    app = build_app(context, "Headwater")
    for routes in (users, jobs, schedules, registry):
        app.include_router(routes.build_router(context), prefix="/v1")
    for point in entry_points(group=GROUP):
        if settings.apps and point.name not in settings.apps:
            continue
        app_router = _load(point, context)
        if app_router is not None:
            app.include_router(app_router)
    return app


def _load(point: EntryPoint, context: Context) -> APIRouter | None:
    """The router that the app's `build_router(context)` makes; None for an app that is not installed."""
    package = point.module.split(".")[0]
    if importlib.util.find_spec(package) is None or importlib.util.find_spec(point.module) is None:
        _log.info("app %s is not installed", point.name)
        return None
    router: APIRouter = point.load()(context)
    return router
