"""The gateway's HTTP API as dashboards call it."""

import json
import os
from typing import Any

import httpx

from headwater.errors import HeadwaterError, Unavailable
from headwater.settings import Settings
from headwater.storage.users import admin_token

_SECONDS = 60.0


class Gateway:
    """Calls with the owner's token; a problem document becomes a HeadwaterError with its detail."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        self._client = httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {token}"}, timeout=_SECONDS, trust_env=False
        )

    def get(self, path: str, /, **query: Any) -> Any:
        return self._call("GET", path, params=_given(query))

    def post(self, path: str, body: Any = None) -> Any:
        return self._call("POST", path, json=body)

    def put(self, path: str, body: Any = None) -> Any:
        return self._call("PUT", path, json=body)

    def delete(self, path: str) -> Any:
        return self._call("DELETE", path)

    def upload(self, path: str, name: str, data: bytes, fields: dict[str, str]) -> Any:
        """A file with form fields."""
        return self._call("POST", path, files={"file": (name, data)}, data=fields)

    def text(self, path: str, /, **query: Any) -> str:
        """A plain text answer, such as a log."""
        return self._send("GET", path, params=query).text

    def content(self, path: str, /, **query: Any) -> bytes:
        """A file, as it is."""
        return self._send("GET", path, params=_given(query)).content

    def _call(self, method: str, path: str, **options: Any) -> Any:
        response = self._send(method, path, **options)
        return response.json() if response.content else None

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = self._client.request(method, path, **options)
        except httpx.HTTPError as error:
            raise Unavailable(
                f"the gateway at {self.url} does not answer ({type(error).__name__}); it may be starting again, "
                "try once more in a moment"
            ) from error
        if response.is_error:
            raise HeadwaterError(_detail(response))
        return response


def _given(query: dict[str, Any]) -> dict[str, Any]:
    """A query without what was left open."""
    return {key: value for key, value in query.items() if value not in (None, "")}


def _detail(response: httpx.Response) -> str:
    try:
        problem = response.json()
        return str(problem.get("detail") or problem.get("title"))
    except (ValueError, AttributeError):
        return f"the gateway answered {response.status_code}"


def open_gateway(settings: Settings) -> Gateway:
    """The gateway that the launcher names by HEADWATER_GATEWAY_URL, else the running one of run.json."""
    url = os.environ.get("HEADWATER_GATEWAY_URL")
    if not url:
        path = settings.home.absolute() / "run.json"
        try:
            url = str(json.loads(path.read_text())["gateway"]["url"])
        except (OSError, ValueError, KeyError) as error:
            raise Unavailable("no gateway is running from this state folder; start it with: make run-app") from error
    return Gateway(url, admin_token(settings))
