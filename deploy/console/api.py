"""The workers' API as the console uses it: any worker that answers will do."""

from __future__ import annotations

from typing import Any

import httpx

from streams.config import Settings

TIMEOUT = httpx.Timeout(8.0, connect=1.0)


class ApiDown(Exception):
    """No worker answers."""


class ApiRefused(Exception):
    """A worker's own sentence; `status` is that of its answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def _authorization(settings: Settings) -> dict[str, str]:
    token = settings.http_token.get_secret_value()
    return {"authorization": f"Bearer {token}"} if token else {}


class Api:
    """Asks the worker that answered last; when it does not, those that it knew of.

    Attributes:
      urls: of all workers heard of, the one that answered last first.
    """

    def __init__(self, settings: Settings) -> None:
        host = f"[{settings.http_host}]" if ":" in settings.http_host else settings.http_host
        local = "127.0.0.1" if settings.http_host in ("0.0.0.0", "::") else host
        self._first = settings.http_advertise or f"http://{local}:{settings.http_port}"
        self.urls = [self._first]
        headers = _authorization(settings)
        self._client = httpx.AsyncClient(headers=headers, timeout=TIMEOUT, trust_env=False)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def get(self, path: str, **params: str) -> dict[str, Any]:
        """Return the answer to a GET.

        Raises:
          ApiDown: no worker answers.
          ApiRefused: one refuses.
        """
        return await self._ask("GET", path, params, None)

    async def post(self, path: str, body: Any, **params: str) -> dict[str, Any]:
        """Return the answer to a POST; raises as `get` does."""
        return await self._ask("POST", path, params, body)

    async def health(self) -> dict[str, Any]:
        """Return how a worker is, and learn of the others from it."""
        found = await self.get("/healthz")
        others = [one["url"] for one in found.get("workers", ()) if one.get("url")]
        self.urls = list(dict.fromkeys([*self.urls, *others, self._first]))[:32]
        return found

    async def _ask(self, method: str, path: str, params: dict[str, str], body: Any) -> dict[str, Any]:
        for url in list(self.urls):
            try:
                answer = await self._client.request(method, f"{url}{path}", params=params, json=body)
                found: dict[str, Any] = answer.json()
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
            except (httpx.HTTPError, ValueError):
                break  # it may have done what was asked: the next must not do it again
            self.urls.remove(url)
            self.urls.insert(0, url)
            if answer.status_code >= 400:
                raise ApiRefused(answer.status_code, str(found.get("error", answer.reason_phrase)))
            return found
        raise ApiDown("no worker answers")
