"""Bearer tokens become users; a route names the least role that it needs."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

from headwater.storage.users import ROLES, User, user_of_token
from headwater.web.context import Context

_bearer = HTTPBearer(auto_error=False, description="a user's token; the admin's lies in HEADWATER_HOME/admin.token")


def context_of(request: Request) -> Context:
    """The Context that the application was built with."""
    context: Context = request.app.state.context
    return context


def optional_user(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> User | None:
    """The user of the request's token; None without a token. Refuses (401) a token that is nobody's."""
    if credentials is None:
        return None
    user = user_of_token(context_of(request).engine("house"), credentials.credentials)
    if user is None:
        raise HTTPException(
            401, "this token is unknown or disabled", {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        )
    return user


def require(role: str) -> Callable[..., User]:
    """A dependency: the request's user, refused (401, 403) unless they have at least `role`.

    Example: `user: Annotated[User, Depends(require("editor"))]`
    """
    if role not in ROLES:
        raise ValueError(f"{role!r} is no role; choose one of {ROLES}")

    def check(user: Annotated[User | None, Depends(optional_user)]) -> User:
        if user is None:
            raise HTTPException(401, "send Authorization: Bearer <token>", {"WWW-Authenticate": "Bearer"})
        check_role(user, role)
        return user

    return check


def check_role(user: User, role: str) -> None:
    """Refuse (403) a user who has less than `role`."""
    if not user.may(role):
        raise HTTPException(403, f"this needs the role {role}; {user.name} is {user.role}")


def token_of(scope: dict[str, Any]) -> str | None:
    """The bearer token in an ASGI scope's headers."""
    for name, value in scope.get("headers", ()):
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return str(value[7:].decode("latin-1").strip())
    return None
