"""What anybody may ask: whether the gateway lives, is ready, and which version it is."""

from importlib.metadata import version as installed

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from crimson_gateway.api.services import PROBLEMS, Services, Use
from crimson_protocol.wire.link import LINK_VERSION

router = APIRouter(tags=["public"], responses=PROBLEMS)


class Live(BaseModel):
    """The process answers."""

    live: bool


class Ready(BaseModel):
    """Whether rounds can run now, and what is missing where they cannot."""

    ready: bool
    checks: dict[str, bool]


class Version(BaseModel):
    """Versions of the service and of its link to the enclave."""

    service: str
    version: str
    link: str


@router.get("/livez", response_model=Live)
async def livez() -> Live:
    """The process answers."""
    return Live(live=True)


@router.get("/readyz", response_model=Ready, responses={503: {"model": Ready, "description": "Not ready"}})
async def readyz(services: Use) -> JSONResponse:
    """Database, room in the spool, and the enclave."""
    context = services.context
    checks = {
        "database": await _answers(services),
        "spool": context.spool.free() > services.vector_cap,
        "enclave": context.view.connected,
    }
    good = all(checks.values())
    return JSONResponse({"ready": good, "checks": checks}, 200 if good else 503)


@router.get("/version", response_model=Version)
async def version() -> Version:
    """Which version runs."""
    return Version(service="crimson-gateway", version=installed("crimson-gateway"), link=LINK_VERSION)


async def _answers(services: Services) -> bool:
    try:
        async with services.context.database.reading() as session:
            session.execute(text("SELECT 1"))
    except SQLAlchemyError:
        return False
    return True
