"""An application with the house's manners: every service that speaks HTTP starts from here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Scope

from headwater import __version__
from headwater.storage.users import user_of_token
from headwater.web.auth import token_of
from headwater.web.context import Context
from headwater.web.errors import add_error_handlers
from headwater.web.health import add_health_routes
from headwater.web.limits import LimitsMiddleware
from headwater.web.metrics import RequestMetrics, add_metrics_route
from headwater.web.observation import ObservationMiddleware

# A document in a form is a little larger than the document.
_FORM_BYTES = 1_000_000


def build_app(context: Context, title: str) -> FastAPI:
    """An empty FastAPI application with errors, limits, metrics, health and the context's start and stop."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        context.start()
        yield
        context.close()

    app = FastAPI(title=title, version=__version__, lifespan=lifespan)
    app.state.context = context
    add_error_handlers(app)
    add_health_routes(app)
    add_metrics_route(app, context.metrics)
    settings = context.settings
    # The last one added is the outermost.
    app.add_middleware(
        LimitsMiddleware,
        max_body_bytes=settings.max_document_bytes + _FORM_BYTES,
        requests_per_minute=settings.requests_per_minute,
        max_concurrent=settings.max_concurrent_requests,
        is_known=lambda scope: _is_known(context, scope),
    )
    if settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allowed_origins,
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
        )
    app.add_middleware(ObservationMiddleware, metrics=RequestMetrics(context.metrics))
    return app


def _is_known(context: Context, scope: Scope) -> bool:
    token = token_of(dict(scope))
    return token is not None and user_of_token(context.engine("house"), token) is not None
