"""Limits around the API, as ASGI middleware: size of a body, token, and what is counted."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streams.clock import Clock
from streams.http.schema import Problem

MAX_BODY_BYTES = 256 * 1024
OPEN_PATHS = ("/healthz", "/readyz")
EVENTS_PATH = "/v1/events"
VIEWER = "freshloop.viewer"  # of a scope whose token is a viewer's: tells whether it is the one of a user
_OWN_PATH = re.compile(r"/v1/users/([^/]+)/(?:slate|explanation)")

Observe = Callable[[str, int, float], None]  # route, status, seconds


def viewer_token(token: str, user_id: str) -> str:
    """Return the bearer token that opens what belongs to one user."""
    return hmac.new(token.encode(), f"user:{user_id}".encode(), "sha256").hexdigest()


def may_send_for(scope: Scope, user_id: str) -> bool:
    """Tell whether a request that came through the guard has the right to send events of a user."""
    viewers: Callable[[str], bool] | None = scope.get(VIEWER)
    return viewers is None or viewers(user_id)


def _bearer(token: str) -> bytes:
    return b"Bearer " + token.encode()


class Guard:
    """Refuses what is too large or lacks the token, before anything reads it.

    Args:
      problem: makes the answer of a refusal.
      token: asked for except at the probes; empty asks for none. A viewer's (`viewer_token`) opens what is its own.
      observe: told of every request.
    """

    def __init__(
        self, app: ASGIApp, problem: Callable[[int, Problem], Response], token: str, observe: Observe, clock: Clock
    ) -> None:
        self._app, self._problem, self._token, self._observe, self._clock = app, problem, token, observe, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = self._clock.monotonic(), 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        headers = dict(scope["headers"])
        try:
            refused = self._refuse(scope, headers)
            if refused is not None:
                await refused(scope, receive, sending)
            else:
                await self._limited(scope, receive, sending)
        finally:
            route = scope.get("route")
            self._observe(getattr(route, "path", "none"), status, self._clock.monotonic() - started)

    def _refuse(self, scope: Scope, headers: dict[bytes, bytes]) -> Response | None:
        path = scope["path"]
        if self._token and path not in OPEN_PATHS:
            given = headers.get(b"authorization", b"")
            if not hmac.compare_digest(given, _bearer(self._token)) and not self._is_viewers(scope, given):
                answer = self._problem(401, Problem("a valid bearer token is needed", "token"))
                answer.headers["www-authenticate"] = "Bearer"
                return answer
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > MAX_BODY_BYTES:
            return self._too_large()
        return None

    def _is_viewers(self, scope: Scope, given: bytes) -> bool:
        """Tell whether a viewer asks with its own token; whose events it sends is looked at when they are read."""
        if scope["path"] == EVENTS_PATH and given.startswith(b"Bearer "):
            scope[VIEWER] = lambda user_id: hmac.compare_digest(given, _bearer(viewer_token(self._token, user_id)))
            return True
        mine = _OWN_PATH.fullmatch(scope["path"])
        return mine is not None and hmac.compare_digest(given, _bearer(viewer_token(self._token, mine[1])))

    def _too_large(self) -> Response:
        return self._problem(413, Problem(f"a body has at most {MAX_BODY_BYTES} bytes", "too-large"))

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the whole body, up to the limit, then let the application have it."""
        body = bytearray()
        more = True
        while more:
            message: dict[str, Any] = dict(await receive())
            if message["type"] != "http.request":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > MAX_BODY_BYTES:
                await self._too_large()(scope, receive, send)
                return
        given = False

        async def whole() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        await self._app(scope, whole, send)
