"""`/v1/me` and `/v1/users`."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from headwater.storage import users
from headwater.storage.users import User
from headwater.web import Context, require

Admin = Annotated[User, Depends(require("admin"))]


class NewUser(BaseModel):
    name: str
    role: str


class Token(BaseModel):
    """Shown this once."""

    name: str
    token: str


def build_router(context: Context) -> APIRouter:
    router = APIRouter(tags=["users"])
    house = context.engine("house")

    @router.get("/me")
    def me(user: Annotated[User, Depends(require("viewer"))]) -> User:
        """Whose token this is."""
        return user

    @router.get("/users")
    def list_users(admin: Admin) -> list[User]:
        return users.list_users(house)

    @router.post("/users", status_code=201)
    def create(new: NewUser, admin: Admin) -> Token:
        return Token(name=new.name, token=users.create_user(house, new.name, new.role, actor=admin.name))

    @router.post("/users/{name}/token")
    def renew(name: str, admin: Admin) -> Token:
        """A new token; the old one is refused from now on."""
        return Token(name=name, token=users.renew_token(house, name))

    @router.delete("/users/{name}", status_code=204)
    def disable(name: str, admin: Admin) -> None:
        users.disable_user(house, name)

    return router
