"""The JSON that the console's scripts ask for: the workers' API, handed on, and clips of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import FileResponse, JSONResponse, Response

from deploy.console.api import Api, ApiDown, ApiRefused
from deploy.console.sources import Sources

MAX_BODY_BYTES = 64 * 1024
User = Annotated[str, Query(min_length=1, max_length=128)]


def routes(api: Api, sources: Sources, clips: Path) -> APIRouter:
    """Return the routes.

    Args:
      clips: folder below which clips may be served.
    """
    router = APIRouter()

    @router.get("/healthz")
    async def healthz() -> Response:
        return JSONResponse({"status": "ok", "part": "freshloop-console"})

    @router.get("/c/health")
    async def health() -> Response:
        return JSONResponse(sources.health, 200 if sources.health.get("status") == "ok" else 503)

    @router.get("/c/users")
    async def users() -> Response:
        return await _answer(api.get("/v1/users", limit="60"))

    @router.get("/c/slate")
    async def slate(user: User, fresh: bool = False) -> Response:
        return await _answer(api.get(f"/v1/users/{quote(user, safe='')}/slate", fresh=str(fresh).lower()))

    @router.get("/c/explanation")
    async def explanation(user: User) -> Response:
        return await _answer(api.get(f"/v1/users/{quote(user, safe='')}/explanation"))

    @router.post("/c/events")
    async def events(request: Request, x_freshloop: Annotated[str, Header()], wait: bool = False) -> Response:
        """The header is one that a foreign page cannot send."""
        body = await request.body()
        if len(body) > MAX_BODY_BYTES:
            return JSONResponse({"error": "too large"}, 413)
        try:
            found = await request.json()
        except ValueError:
            return JSONResponse({"error": "not JSON"}, 422)
        return await _answer(api.post("/v1/events", found, wait=str(wait).lower()))

    _clips(router, clips)
    return router


def _clips(router: APIRouter, clips: Path) -> None:
    @router.get("/c/clip")
    async def clip(ref: Annotated[str, Query(max_length=2000)]) -> Response:
        path = Path(ref.removeprefix("file://")).resolve()
        if path.suffix != ".mp4" or not path.is_relative_to(clips.resolve()) or not path.is_file():
            return JSONResponse({"error": "no such clip"}, 404)
        return FileResponse(path, media_type="video/mp4")


async def _answer(asked: Any) -> Response:
    try:
        return JSONResponse(await asked)
    except ApiDown as error:
        return JSONResponse({"error": str(error)}, 503)
    except ApiRefused as error:
        return JSONResponse({"error": str(error)}, error.status)
