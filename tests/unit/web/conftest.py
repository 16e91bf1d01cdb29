"""An application with one route of each kind that the web pieces promise something about."""

from collections.abc import Callable, Iterator

import pytest
from fastapi import Depends, FastAPI, Request, UploadFile
from pydantic import BaseModel
from starlette.testclient import TestClient

from headwater.errors import Conflict, TooLarge
from headwater.settings import Settings
from headwater.storage.users import create_user
from headwater.web import build_app, event_stream, open_context, require


class Message(BaseModel):
    text: str


def add_routes(app: FastAPI) -> None:
    @app.post("/echo")
    def echo(message: Message) -> Message:
        return message

    @app.post("/size")
    async def size(request: Request) -> int:
        return len(await request.body())

    @app.post("/upload")
    def upload(file: UploadFile) -> int | None:
        return file.size

    @app.get("/conflict")
    def conflict() -> None:
        raise Conflict("the gate refused version 3")

    @app.get("/defect/{text}")
    def defect(text: str) -> None:
        raise RuntimeError(f"could not read {text}")

    @app.get("/editors", dependencies=[Depends(require("editor"))])
    def editors() -> str:
        return "in"


def add_stream(app: FastAPI) -> None:
    @app.get("/stream/{ending}")
    def stream(ending: str):
        def events():
            yield "sentence", {"text": "Zwei\nZeilen 退款"}
            if ending == "error":
                raise TooLarge("a page of 3 GB")
            if ending == "defect":
                raise RuntimeError("secret words")
            yield "done", {}

        return event_stream(events())


@pytest.fixture
def client_for(settings: Settings) -> Iterator[Callable[..., TestClient]]:
    """Builds a client of the application under changed settings."""
    opened: list[TestClient] = []

    def build(**changes: object) -> TestClient:
        context = open_context(settings.model_copy(update=changes))
        app = build_app(context, "test")
        add_routes(app)
        add_stream(app)
        client = TestClient(app)
        client.__enter__()
        opened.append(client)
        return client

    yield build
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture
def client(client_for: Callable[..., TestClient]) -> TestClient:
    return client_for()


@pytest.fixture
def token_for(client: TestClient) -> Callable[[str], dict[str, str]]:
    """The Authorization header of a new user with a role."""

    def make(role: str) -> dict[str, str]:
        token = create_user(client.app.state.context.engine("house"), f"a-{role}", role, actor="test")
        return {"Authorization": f"Bearer {token}"}

    return make
