"""The routes of the HTTP API, version 1. What they do is in `streams.http.service`."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import Annotated, Any

import msgspec
from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from streams.clock import Clock
from streams.http.forward import Forwarder
from streams.http.guard import Guard, Observe, may_send_for
from streams.http.schema import MAX_SLATE, Choice, Problem, components
from streams.http.service import ApiError, Service, decode_events

VERSION = "1.0"
UserId = Annotated[str, Path(min_length=1, max_length=128, description="The user's id, at most 128 characters.")]
Size = Annotated[int, Query(ge=1, le=MAX_SLATE, description="At most so many positions.")]
Limit = Annotated[int, Query(ge=1, le=1000, description="At most so many users.")]

_encoder = msgspec.json.Encoder()
_choice = msgspec.json.Decoder(Choice)
_REASONS = {400: "Not understood", 401: "No valid token", 403: "No right to it", 404: "Not known",
            405: "Method not allowed", 409: "Not possible now", 410: "Asked to be forgotten", 413: "Too large",
            422: "Not valid", 500: "A fault of ours",
            503: "Not now: recovering, or Kafka does not answer"}  # fmt: skip


def make_api(service: Service, token: str, observe: Observe, clock: Clock) -> FastAPI:
    """Return the application of one worker.

    Args:
      token: that requests must carry; empty asks for none.
      observe: told route, status and seconds of every request.
    """
    forward = Forwarder(service.name)

    @asynccontextmanager
    async def life(app: FastAPI) -> Any:
        yield
        await forward.close()

    app = FastAPI(
        title="Freshloop", version=VERSION, lifespan=life, openapi_url="/v1/openapi.json", docs_url=None,
        redoc_url=None, redirect_slashes=False,
        description="Slates for users, events in, and why. Every error is one sentence and a stable word.",
    )  # fmt: skip
    app.add_middleware(Guard, problem=_problem, token=token, observe=observe, clock=clock)
    _probes(app, service)
    _users(app, service, forward)
    _events(app, service, forward)
    _models(app, service)
    _errors(app)
    schema = app.openapi
    app.openapi = lambda: _document(schema(), bool(token))  # type: ignore[method-assign]  # as FastAPI documents it
    return app


def _probes(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", summary="The process answers", **_answers("Health", token=False))
    async def healthz() -> Response:
        return _json(service.health())

    @app.get("/readyz", summary="States are recovered", **_answers("Health", 503, token=False))
    async def readyz() -> Response:
        if not service.ready:
            raise ApiError(503, "recovering", "the worker recovers its states, try again in a moment", 1)
        return _json(service.health())


def _users(app: FastAPI, service: Service, forward: Forwarder) -> None:
    @app.get("/v1/users", summary="Users served last by this worker", **_answers("Users"))
    async def users(limit: Limit = 50) -> Response:
        return _json(service.users(limit))

    @app.get("/v1/users/{user_id}/slate", summary="The user's slate", **_answers("SlateAnswer", 410, 503))
    async def slate(request: Request, user_id: UserId, k: Size = 20, fresh: bool = False) -> Response:
        """Return the last slate. Without one, or with `fresh`, a session is opened and its first slate returned."""
        owner = service.elsewhere(user_id)
        if owner is not None:
            return await forward(request, b"", owner)
        return _json(await service.slate(user_id, k, fresh))

    @app.get(
        "/v1/users/{user_id}/explanation", summary="Why the user got the last slate",
        **_answers("Explanation", 404, 410, 503),
    )  # fmt: skip
    async def explanation(request: Request, user_id: UserId) -> Response:
        """Return the state and what it rests on; for each video the parts of its score and what moved it."""
        owner = service.elsewhere(user_id)
        if owner is not None:
            return await forward(request, b"", owner)
        return _json(service.explain(user_id))


def _events(app: FastAPI, service: Service, forward: Forwarder) -> None:
    one = {"$ref": "#/components/schemas/Event"}
    many = {"type": "array", "items": one, "minItems": 1, "maxItems": 500}

    @app.post(
        "/v1/events", summary="Send events", status_code=202,
        openapi_extra=_body({"oneOf": [one, many]}), **_answers("EventsAnswer", 403, 413, 503, ok=202),
    )  # fmt: skip
    async def events(request: Request, wait: bool = False) -> Response:
        """Take one event or an array of them; all or none. With `wait`, return the slate the last one triggers."""
        body = await request.body()
        found = decode_events(body)
        if not all(may_send_for(request.scope, event.user_id) for event in found):
            raise ApiError(403, "not-yours", "this token has no right to send events of that user")
        owner = service.elsewhere(found[-1].user_id) if wait else None
        if owner is not None:
            return await forward(request, body, owner)
        return _json(await service.accept(found, wait), 202)


def _models(app: FastAPI, service: Service) -> None:
    @app.get("/v1/models", summary="Model versions", **_answers("Models"))
    async def models() -> Response:
        return _json(service.models())

    @app.post(
        "/v1/models/current", summary="Promote a version, or roll back",
        openapi_extra=_body({"$ref": "#/components/schemas/Choice"}), **_answers("Chosen", 409, 413),
    )  # fmt: skip
    async def choose(request: Request) -> Response:
        """Put a version into service; null goes back to the parent of the one that serves."""
        try:
            choice = _choice.decode(await request.body())
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ApiError(422, "invalid", str(error)) from None
        return _json(await service.choose(choice.version, choice.reason))


def _errors(app: FastAPI) -> None:
    @app.exception_handler(ApiError)
    async def refused(request: Request, error: ApiError) -> Response:
        answer = _problem(error.status, Problem(str(error), error.code))
        if error.retry_s is not None:
            answer.headers["retry-after"] = str(error.retry_s)
        return answer

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or "request"
        return _problem(422, Problem(f"{where}: {first['msg']}", "invalid"))

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> Response:
        found = {404: ("there is no such path", "no-such-path"),
                 405: (f"this path does not take {request.method}", "method")}  # fmt: skip
        answer = _problem(error.status_code, Problem(*found.get(error.status_code, (str(error.detail), "http"))))
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(Exception)
    async def fault(request: Request, error: Exception) -> Response:
        return _problem(500, Problem("the worker could not answer; its log says why", "fault"))


def _json(answer: msgspec.Struct, status: int = 200) -> Response:
    return Response(_encoder.encode(answer), status, media_type="application/json")


def _problem(status: int, problem: Problem) -> Response:
    return _json(problem, status)


def _content(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _answers(name: str, *problems: int, ok: int = 200, token: bool = True) -> dict[str, Any]:
    """Return FastAPI's description of what a route may answer."""
    codes = [*problems, 422, 500, *([401] if token else [])]
    responses: dict[int | str, Any] = {code: {"description": _REASONS[code], "content": _content("Problem")}
                                       for code in sorted(codes)}  # fmt: skip
    responses[ok] = {"description": "Done" if ok == 200 else "Acknowledged by Kafka", "content": _content(name)}
    return {"responses": responses, "response_class": Response}


def _document(document: dict[str, Any], token: bool) -> dict[str, Any]:
    """Add the schemas of the structs, and the token where one is needed."""
    document.setdefault("components", {})["schemas"] = components()
    if token:
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
    return document
