"""The web application of ``sslkit explore``: the page, the images, and JSON for queries and corrections."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sslkit.errors import InputError, RunError, SslkitError
from sslkit.explore.query import Query
from sslkit.explore.server.changes import CHANGES
from sslkit.explore.server.security import Guard
from sslkit.explore.session import NotLoadedError, Session

MEDIA_TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
"""Media types of the page's files, keyed by file extension."""

PICTURE_CACHE = {"cache-control": "private, max-age=3600"}
"""Headers of pictures. The browser may cache pictures, because their addresses contain the session's token."""

MAX_DETAILS = 500
"""Maximum number of images that one request can describe."""

FIRST_DETAILS = 100
"""Number of images that a list describes, so that the page needs no second request for those that it shows first."""

Endpoint = Callable[[Request], Awaitable[Response]]


def build_app(session: Session, token: str, port: int) -> Guard:
    """Return the web application for a session. The application answers only requests with the token in the path."""
    return Guard(Starlette(routes=[*_routes(session)]), token, port)


def _routes(session: Session) -> list[Route]:
    page = _page_files()

    async def static(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in page:
            return Response("not found", 404)
        return Response(page[name], media_type=MEDIA_TYPES[name.rpartition(".")[2]])

    async def status(request: Request) -> Response:
        return JSONResponse(session.status())

    return [
        Route("/", static),
        Route("/assets/{name}", static),
        Route("/api/status", status),
        Route("/api/training", _get(lambda _: session.training.status())),
        Route("/api/estimate", _get(lambda _: session.training.estimate(session.loaded.bench))),
        Route("/api/classes", _get(lambda _: session.loaded.queries.classes())),
        Route("/api/images", _get(lambda request: _list_images(session, request))),
        Route("/api/details", _get(lambda request: _details(session, request))),
        Route("/api/map/{method}", _get(lambda request: _map(session, request.path_params["method"]))),
        Route("/thumbnail/{index:int}", _picture(session, full=False)),
        Route("/image/{index:int}", _picture(session, full=True)),
        *(Route(f"/api/{name}", _post(session, name), methods=["POST"]) for name in CHANGES),
    ]


def _page_files() -> dict[str, bytes]:
    """Return the files of the built page, keyed by name."""
    folder = files("sslkit.explore") / "page"
    assets = {entry.name: entry.read_bytes() for entry in (folder / "assets").iterdir() if entry.is_file()}
    return assets | {"index.html": (folder / "index.html").read_bytes()}


async def _respond(compute: Callable[[], Any]) -> Response:
    """Return a JSON response with the result of ``compute``, or with the message of its error."""
    try:
        return JSONResponse(await run_in_threadpool(compute))
    except ValidationError as error:
        problem = error.errors()[0]
        text = f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
        return JSONResponse({"error": text}, 400)
    except SslkitError as error:
        code = 503 if isinstance(error, NotLoadedError) else 500 if isinstance(error, RunError) else 400
        return JSONResponse({"error": str(error)}, code)


def _get(answer: Callable[[Request], Any]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        return await _respond(lambda: answer(request))

    return endpoint


def _post(session: Session, name: str) -> Endpoint:
    """Return the POST endpoint ``name``. Its response contains the result of the request and all classes."""
    model, act = CHANGES[name]

    async def endpoint(request: Request) -> Response:
        body = await request.body()

        def change() -> dict[str, Any]:
            checked = model.model_validate_json(body)
            if checked.run != session.loaded.bench.run.name:
                raise InputError(f"sslkit explore shows {session.run.name} now: reload the page")
            result = act(session, checked)
            return {"result": result, "state": session.loaded.queries.classes()}

        return await _respond(change)

    return endpoint


def _picture(session: Session, *, full: bool) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        index = request.path_params["index"]
        try:
            loaded = session.loaded
        except NotLoadedError as error:
            return Response(str(error), 503)
        if index >= len(loaded.bench.images):
            return Response("not found", 404)
        read = loaded.pictures.full if full else loaded.pictures.thumbnail
        data, media_type = await run_in_threadpool(read, index)
        return Response(data, media_type=media_type, headers=PICTURE_CACHE)

    return endpoint


def _list_images(session: Session, request: Request) -> dict[str, Any]:
    queries = session.loaded.queries
    found = queries.images(Query.model_validate(dict(request.query_params)))
    if found is None:
        return {"images": None, "progress": queries.outliers.progress}
    return {"images": found, "details": queries.details(found[:FIRST_DETAILS])}


def _details(session: Session, request: Request) -> list[dict[str, Any]]:
    try:
        indices = [int(text) for text in request.query_params.get("images", "").split(",")]
    except ValueError:
        raise InputError("images must be numbers separated by commas") from None
    if len(indices) > MAX_DETAILS:
        raise InputError(f"at most {MAX_DETAILS} images can be described at once")
    return session.loaded.queries.details(indices)


def _map(session: Session, method: str) -> dict[str, Any]:
    points = session.map(method)
    if points is None:
        return {"points": None}
    bench = session.loaded.bench
    with bench.lock:
        current, confidence = bench.current, bench.confidence
    return {
        "points": [round(value, 5) for value in points.flatten().tolist()],
        "classes": current.tolist(),
        "confidence": [round(value, 4) for value in confidence.tolist()],
        "labels": bench.images.labels.tolist(),
        "splits": bench.images.split.tolist(),
    }
