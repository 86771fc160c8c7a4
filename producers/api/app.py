"""The application factory: everything the HTTP door offers, made of the doors it is given. Nothing here is global."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from importlib.metadata import version

from anyio import to_thread
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Scope
from starlette.websockets import WebSocket

from kith.errors import KithError
from kith.metrics.instruments import Instruments
from kith.metrics.requests import Requests
from producers.api import openapi
from producers.api.accepting import Accepting
from producers.api.bounding import Bounding
from producers.api.broadcasting import Broadcast
from producers.api.callers import Callers
from producers.api.completions import Completions
from producers.api.compreface import refusals
from producers.api.doors import Doors
from producers.api.fetching import Fetcher, Fetching
from producers.api.metering import Metering, turning
from producers.api.moving import Moving
from producers.api.pages.distributions import Remembered
from producers.api.pages.page_route import lost
from producers.api.pages.rendering import Pages
from producers.api.problems import Problem, of_error, of_http, of_validation
from producers.api.routers import ROUTERS
from producers.api.tracing import NoSpans, Spans, Tracing
from producers.api.v1 import decisions, events
from producers.api.v1.health import Asking


def create_app(doors: Doors, spans: Spans | None = None, shown: Instruments | None = None) -> FastAPI:
    """The door of the installation that `doors` are of. spans: made of requests, for OpenTelemetry. shown: what this
    process shows of itself, elsewhere: nothing of it is told at the door."""
    spans = spans or NoSpans()
    client, most = doors.client, doors.settings.api.max_listeners
    completions = Completions(client)
    told_decisions = Broadcast(
        client.results.position,
        lambda last, limit, block_s: client.results.after(last, limit=limit, block_s=block_s),
        decisions.told,
        most,
    )
    told_events = Broadcast(
        client.events.position,
        lambda last, limit, block_s: client.events.after(last, limit=limit, block_s=block_s),
        events.told,
        most,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            async with turning(shown.readiness) if shown is not None else nullcontext():
                yield
        finally:
            for each in (completions, told_decisions, told_events, spans):
                await to_thread.run_sync(each.close)

    # Its pages of documentation load scripts from elsewhere; the schema itself is at /openapi.json.
    app = FastAPI(
        title="Kith", version=version("kith"), description=openapi.DESCRIPTION, docs_url=None, redoc_url=None,
        lifespan=lifespan, openapi_tags=openapi.TAGS, separate_input_output_schemas=False,
    )  # fmt: skip
    app.state.doors, app.state.callers, app.state.completions = doors, Callers(doors), completions
    app.state.readiness = Asking(client.ledger)
    app.state.accepting = Accepting(client)
    app.state.pages, app.state.distributions = Pages(), Remembered()
    fetcher = Fetcher(doors.settings.limits.image_bytes)
    app.state.fetching = Fetching(fetcher, doors.settings.api.fetch_s)
    app.state.decisions, app.state.events, app.state.moving = told_decisions, told_events, Moving()
    for router in ROUTERS:
        app.include_router(router)
    app.exception_handler(Problem)(_problem)
    app.exception_handler(KithError)(_error)
    app.exception_handler(RequestValidationError)(_validation)
    app.exception_handler(WebSocketRequestValidationError)(_socket_validation)
    app.exception_handler(HTTPException)(_http)
    app.add_middleware(Bounding, settings=doors.settings.api)
    if doors.settings.api.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=doors.settings.api.origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["authorization", "x-api-key", "content-type", "idempotency-key", "prefer", "last-event-id"],
            expose_headers=["x-request-id", "retry-after", "location", "preference-applied"],
        )
    # The last one added is the outermost.
    app.add_middleware(Tracing, spans=spans)
    if shown is not None:
        app.add_middleware(Metering, requests=Requests(shown.registry))
    app.openapi = lambda: openapi.schema_of(app)  # type: ignore[method-assign]
    return app


async def _problem(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)
    return _answer(request, problem)


async def _error(request: Request, error: Exception) -> Response:
    assert isinstance(error, KithError)
    return _answer(request, of_error(error))


async def _validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return _answer(request, of_validation(error))


async def _socket_validation(socket: WebSocket, error: Exception) -> None:
    assert isinstance(error, WebSocketRequestValidationError)
    await of_validation(error).refuse(socket)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        # The framework names the methods of one of the routes that have this address.
        allowed = {method for router in ROUTERS for route in router.routes for method in _methods(route, request.scope)}
        error.headers = {"allow": ", ".join(sorted(allowed))}
    if error.status_code == 404 and request.method == "GET" and "text/html" in request.headers.get("accept", ""):
        return lost(request)
    return _answer(request, of_http(error))


def _methods(route: BaseRoute, scope: Scope) -> set[str]:
    match, _ = route.matches(scope)
    return set() if match is Match.NONE else (getattr(route, "methods", None) or set())


def _answer(request: Request, problem: Problem) -> Response:
    if request.url.path.startswith(refusals.PREFIX):
        return refusals.response(problem, request)
    return problem.response(request.state.trace.request_id, request.url.path)
