"""What every HTTP interface of the house shares: problem documents, users, limits, streaming, metrics, readiness."""

from headwater.web.application import build_app
from headwater.web.auth import require
from headwater.web.context import AllowedJob, Context, open_context
from headwater.web.streaming import event_stream

__all__ = ["AllowedJob", "Context", "build_app", "event_stream", "open_context", "require"]
