"""Hands a request on to the worker that owns the user's state, once."""

from __future__ import annotations

import httpx
from fastapi import Request, Response

from streams.http.directory import Announcement
from streams.http.service import ApiError

FORWARDED = "x-freshloop-forwarded"  # names the worker that handed a request on; it is not handed on again
_KEPT = ("authorization", "content-type")
_TIMEOUT = httpx.Timeout(10.0, connect=2.0)


class Forwarder:
    """Keeps connections to the other workers."""

    def __init__(self, name: str) -> None:
        """Args: name: of this worker."""
        self._name = name
        self._client: httpx.AsyncClient | None = None

    async def __call__(self, request: Request, body: bytes, owner: Announcement) -> Response:
        """Return the owner's answer.

        Raises:
          ApiError: it does not answer, or the request was handed on before: the partition is moving.
        """
        if FORWARDED in request.headers:
            raise ApiError(503, "moving", "the user's state moves to another worker, try again in a moment", 1)
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False, follow_redirects=False)
        headers = {name: request.headers[name] for name in _KEPT if name in request.headers} | {FORWARDED: self._name}
        path = request.scope["raw_path"].decode("ascii")
        query = request.scope["query_string"].decode("ascii")
        url = f"{owner.url}{path}" + (f"?{query}" if query else "")
        try:
            answer = await self._client.request(request.method, url, content=body, headers=headers)
        except httpx.HTTPError:
            message = f"worker {owner.worker}, which owns this user's state, does not answer; try again in a moment"
            raise ApiError(503, "owner-down", message, 1) from None
        kept = {name: answer.headers[name] for name in ("retry-after",) if name in answer.headers}
        return Response(answer.content, answer.status_code, kept, answer.headers.get("content-type"))

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()
