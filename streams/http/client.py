"""Asks a worker's API, for commands and the console."""

from __future__ import annotations

from typing import Any, Self
from urllib.parse import quote

import httpx

from streams.config import ConfigError, Settings
from streams.http.server import url_of

TIMEOUT_S = 10.0


class ApiRefusal(ConfigError):
    """The API's own sentence; `status` is that of its answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ApiClient:
    """A connection to one worker; whichever it is, it hands requests on to the owner of a user's state."""

    def __init__(self, settings: Settings, url: str = "") -> None:
        """Args: url: of a worker's API; empty means the first one on this machine."""
        self.url = (url or url_of(settings, settings.http_port)).rstrip("/")
        token = settings.http_token.get_secret_value()
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.Client(base_url=self.url, headers=headers, timeout=TIMEOUT_S, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def explanation(self, user_id: str) -> dict[str, Any]:
        """Return why the user got the last slate."""
        return self.get(f"/v1/users/{quote(user_id, safe='')}/explanation")

    def get(self, path: str) -> dict[str, Any]:
        """Return the answer to a GET.

        Raises:
          ApiRefusal: the API refuses; its own sentence.
          ConfigError: no worker answers.
        """
        return self._answer("GET", path, None)

    def post(self, path: str, body: Any) -> dict[str, Any]:
        """Return the answer to a POST; raises as `get` does."""
        return self._answer("POST", path, body)

    def _answer(self, method: str, path: str, body: Any) -> dict[str, Any]:
        try:
            answer = self._client.request(method, path, json=body)
            found: dict[str, Any] = answer.json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError):
            raise ConfigError(
                f"no worker's API answers at {self.url}; start one with 'freshloop worker' or set FRESHLOOP_HTTP_PORT"
            ) from None
        if answer.status_code >= 400:
            raise ApiRefusal(answer.status_code, str(found.get("error", answer.reason_phrase)))
        return found
