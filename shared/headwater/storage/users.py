"""Users, their roles and their bearer tokens. A token is shown once; the database keeps its SHA-256 alone."""

import hashlib
import os
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from headwater.errors import Conflict, HeadwaterError, NotFound, Unavailable
from headwater.settings import Settings
from headwater.storage.columns import now
from headwater.storage.tables import users

ROLES = ("viewer", "agent", "analyst", "editor", "admin")
_NAME = re.compile(r"[\w.@+-]{1,64}")


@dataclass(frozen=True)
class User:
    """A person or program with one role, which holds the rights of every role before it in ROLES."""

    name: str
    role: str
    created: datetime
    disabled: bool = False

    def may(self, role: str) -> bool:
        """Whether this user has at least the rights of `role`."""
        return not self.disabled and ROLES.index(self.role) >= ROLES.index(role)


def create_user(engine: sa.Engine, name: str, role: str, *, actor: str) -> str:
    """Add a user and return the token. Raises Conflict for a taken name, HeadwaterError for a wrong name or role."""
    if not _NAME.fullmatch(name):
        raise HeadwaterError(f"{name!r} is no user name: 1 to 64 letters, digits and . _ @ + -")
    _check_role(role)
    token = _new_token()
    row = {"name": name, "role": role, "token_hash": _hash(token), "created": now(), "created_by": actor}
    try:
        with engine.begin() as connection:
            connection.execute(users.insert().values(row))
    except sa.exc.IntegrityError:
        raise Conflict(f"a user named {name!r} exists; choose another name, or give that one a new token") from None
    return token


def renew_token(engine: sa.Engine, name: str) -> str:
    """Replace the user's token; the old one is refused from now on. Raises NotFound."""
    token = _new_token()
    _change(engine, name, token_hash=_hash(token))
    return token


def set_role(engine: sa.Engine, name: str, role: str) -> None:
    """Raises NotFound, or HeadwaterError for an unknown role."""
    _check_role(role)
    _change(engine, name, role=role)


def disable_user(engine: sa.Engine, name: str) -> None:
    """Refuse the user's token from now on; what they wrote keeps their name. Raises NotFound."""
    _change(engine, name, disabled=now())


def list_users(engine: sa.Engine) -> list[User]:
    with engine.connect() as connection:
        return [_user(row) for row in connection.execute(sa.select(users).order_by(users.c.name))]


def user_of_token(engine: sa.Engine, token: str) -> User | None:
    """The user whose token this is; None for an unknown or disabled one."""
    query = sa.select(users).where(users.c.token_hash == _hash(token), users.c.disabled.is_(None))
    with engine.connect() as connection:
        row = connection.execute(query).first()
    return None if row is None else _user(row)


def ensure_admin_token(settings: Settings, engine: sa.Engine) -> Path:
    """Make `home/admin.token` (mode 0600) and its user at first start; safe when several processes do so at once.

    The file wins: a restored database takes the file's token, a deleted file is made anew with a new token.
    """
    path = settings.home.absolute() / "admin.token"
    if not path.exists():
        _create_token_file(path)
    hashed = _hash(path.read_text().strip())
    with engine.connect() as connection:
        known = connection.execute(sa.select(users.c.token_hash).where(users.c.name == "admin")).scalar()
    if known == hashed:
        return path
    row = {"name": "admin", "role": "admin", "token_hash": hashed, "created": now(), "created_by": "first start"}
    try:
        with engine.begin() as connection:
            changed = connection.execute(users.update().where(users.c.name == "admin").values(token_hash=hashed))
            if changed.rowcount == 0:
                connection.execute(users.insert().values(row))
    except sa.exc.IntegrityError:
        pass  # another process inserted the same token a moment ago
    return path


def admin_token(settings: Settings) -> str:
    """The token in `home/admin.token`, for processes of the machine's owner (dashboards). Raises Unavailable."""
    path = settings.home.absolute() / "admin.token"
    try:
        return path.read_text().strip()
    except OSError as error:
        raise Unavailable(f"{path} cannot be read ({error.strerror}); start the gateway once, as this user") from None


def _create_token_file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".admin.token.{secrets.token_hex(4)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(_new_token() + "\n")
    try:
        # A link fails where a rename would replace the token that another process has just handed out.
        os.link(partial, path)
    except FileExistsError:
        pass
    finally:
        partial.unlink()


def _change(engine: sa.Engine, name: str, **values: object) -> None:
    with engine.begin() as connection:
        if connection.execute(users.update().where(users.c.name == name).values(values)).rowcount == 0:
            raise NotFound(f"no user named {name!r}")


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise HeadwaterError(f"{role!r} is no role; choose one of {', '.join(ROLES)}")


def _new_token() -> str:
    return "hw_" + secrets.token_urlsafe(32)


def _hash(token: str) -> str:
    # 256 random bits need no slow hash.
    return hashlib.sha256(token.encode()).hexdigest()


def _user(row: sa.Row[tuple[object, ...]]) -> User:
    return User(row.name, row.role, row.created, row.disabled is not None)
