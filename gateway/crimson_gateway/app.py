"""The ASGI application: paths, problems for every error, limits per address, one log line a request."""

import time
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crimson_gateway.api import (
    documents,
    enrolments,
    invitations,
    mail,
    memberships,
    operators,
    public,
    uploads,
)
from crimson_gateway.api.services import Services
from crimson_gateway.limits import Concurrency, TokenBuckets, network_of
from crimson_gateway.problems import CATALOGUE, Problem

NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
"""The framework would send spans wherever its environment variables point."""
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")
GROUPS = (public, documents, mail, uploads, operators, invitations, enrolments, memberships)
BY_STATUS = {404: "not-found", 405: "method-not-allowed"}


def create_app(services: Services | None = None) -> FastAPI:
    """The application. Without services it only describes itself."""
    app = FastAPI(
        title="Crimson gateway",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
        telemetry=NO_TELEMETRY,
    )
    app.state.services = services
    for group in GROUPS:
        app.include_router(group.router)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]
    return app


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document: FastAPI's own, with the problem that every path may answer with."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            routes=app.routes,
            description="Requests under /v1 are signed (RFC 9421). Every error is a problem (RFC 9457).",
        )
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas["Problem"] = _problem_schema()
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        for path in document["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        app.openapi_schema = document
    return app.openapi_schema


def _problem_schema() -> dict[str, Any]:
    text = {"type": "string"}
    properties = dict.fromkeys(("type", "title", "detail", "hint"), text) | {
        "status": {"type": "integer"},
        "code": {"type": "string", "enum": sorted(CATALOGUE)},
    }
    return {"title": "Problem", "type": "object", "properties": properties, "required": sorted(properties)}


async def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = BY_STATUS.get(error.status_code, "bad-request" if error.status_code < 500 else "internal")
    return Problem(code, headers=dict(error.headers or {})).response()


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = [str(part) for part in first["loc"]]
    if where[-1] == "idempotency-key":
        return Problem("idempotency-key").response()
    # The offending value is the caller's own, and is not repeated.
    return Problem("bad-parameter", f"{'.'.join(where)}: {first['msg']}").response()


class Outermost:
    """Counts, limits and logs every request, and turns what nobody caught into a problem."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app, self._context = app, services.context
        settings = services.context.settings
        self._rate = TokenBuckets(settings.address_rate, 4 * settings.address_rate)
        self._at_once = Concurrency(settings.address_concurrency)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        began, status, taken, given = time.monotonic(), 0, 0, 0
        scope["state"] = {}

        async def sent(message: Message) -> None:
            nonlocal status, given
            if message["type"] == "http.response.start":
                status = message["status"]
            given += len(message.get("body", b""))
            await send(message)

        async def received() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            return message

        try:
            address = network_of(scope["client"][0] if scope.get("client") else "?")
            self._rate.charge(address)
            with self._at_once.one(address):
                await self._app(scope, received, sent)
        except Problem as problem:
            await problem.response()(scope, received, sent)
        except ClientDisconnect:
            status = status or 499
        except Exception:
            self._context.log.exception("a request failed", path=_route(scope), method=scope["method"])
            if not status:
                await Problem("internal").response()(scope, received, sent)
        finally:
            self._note(scope, status, time.monotonic() - began)
            for direction, length in (("in", taken), ("out", given)):
                self._context.metrics.bodies.labels(_route(scope), direction).inc(length)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route, context = _route(scope), self._context
        method = scope["method"] if scope["method"] in METHODS else "other"
        context.metrics.requests.labels(route, method, str(status)).inc()
        context.metrics.seconds.labels(route).observe(seconds)
        context.log.info(
            "request",
            route=route,
            method=method,
            status=status,
            ms=round(1000 * seconds, 1),
            caller=scope["state"].get("caller"),
        )


def _route(scope: Scope) -> str:
    """The path's template: what callers put into it is not ours to log."""
    return str(getattr(scope.get("route"), "path", "-"))
