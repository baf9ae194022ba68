"""What nodes and operators read: policy, artifacts, evidence, log proofs, releases."""

from typing import Annotated

from fastapi import APIRouter, Header, Path, Query
from fastapi.responses import FileResponse, Response

from crimson_gateway import shelves
from crimson_gateway.api.services import PROBLEMS, Member, Reader, Services, Use, binary
from crimson_gateway.authentication.callers import Caller
from crimson_gateway.context import utc_now
from crimson_gateway.problems import Problem
from crimson_gateway.published import artifact_path
from crimson_gateway.store.letters import published
from crimson_gateway.store.log_leaves import leaves_from
from crimson_gateway.store.reports import MAX_CODE, report_once
from crimson_protocol.policy.decisions import may_export
from crimson_protocol.wire import link, web

MOST_LEAVES_BYTES = 1 << 19
LARGEST = 2**53
HEX32 = "^[0-9a-f]{64}$"
Size = Annotated[int, Query(ge=0, le=LARGEST)]

router = APIRouter(prefix="/v1", tags=["documents"], responses=PROBLEMS)


@router.get("/policy", response_class=Response, responses=binary(web.CBOR, "The policy bundle"))
async def policy(
    services: Use, _: Reader, if_none_match: Annotated[str | None, Header(include_in_schema=False)] = None
) -> Response:
    """The signed policy with its TUF metadata, as the governors published it. Its SHA-256 is the ETag."""
    tag = f'"{services.published.tag}"'
    if if_none_match == tag:
        return Response(status_code=304, headers={"ETag": tag})
    return Response(services.published.bundle, media_type=web.CBOR, headers={"ETag": tag})


@router.get("/artifacts/{digest}", response_class=Response, responses=binary(web.OCTETS, "The artifact"))
async def artifact(services: Use, _: Member, digest: Annotated[str, Path(pattern=HEX32)]) -> Response:
    """An initial artifact that the policy names."""
    named = {rules.initial_digest.hex() for rules in services.policy.models}
    path = artifact_path(services.context.repository, digest) if digest in named else None
    if path is None:
        raise Problem("unknown-artifact")
    return FileResponse(path, media_type=web.OCTETS)


@router.get("/evidence", response_class=Response, responses=binary(web.CBOR, "Signed evidence"))
async def evidence(services: Use, _: Member, nonce: Annotated[str, Query(pattern=HEX32)]) -> Response:
    """What the enclave says about itself, over a fresh challenge."""
    answer = await services.driver.questions.evidence(bytes.fromhex(nonce))
    return Response(answer, media_type=web.CBOR)


@router.get("/consistency", response_class=Response, responses=binary(web.CBOR, "Proof hashes"))
async def consistency(services: Use, _: Member, first: Size, second: Size) -> Response:
    """Proof that the log of `second` leaves begins with that of `first`."""
    hashes = services.driver.mirror.proof(first, second)
    return Response(web.ProofHashes(hashes).to_bytes(), media_type=web.CBOR)


@router.get("/events", response_class=Response, responses=binary(web.CBOR, "Log leaves"))
async def events(services: Use, _: Member, start: Size = 0) -> Response:
    """Leaves of the enclave's log from `start` on; none beyond its end."""
    async with services.context.database.reading() as session:
        leaves = leaves_from(session, start, link.MAX_LEAVES)
    chosen: list[bytes] = []
    total = 0
    for leaf in leaves:
        total += len(leaf)
        if total > MOST_LEAVES_BYTES:
            break
        chosen.append(leaf)
    return Response(link.Leaves(start, tuple(chosen)).to_bytes(), media_type=web.CBOR)


@router.get(
    "/models/{model}/release", response_class=Response, responses=binary(web.CBOR, "Release envelope")
)
async def release(services: Use, signed: Member, model: Annotated[str, Path(max_length=64)]) -> Response:
    """The model's newest release, sealed for the roster. An operator needs a rule that permits the export."""
    context = services.context
    if model not in services.vector_lengths:
        raise Problem("unknown-model")
    async with context.database.reading() as session:
        found = published(session, model)
    if found is None:
        raise Problem("no-release")
    if signed.caller.node is None:
        await _exported(services, signed.caller, model, found.round)
    return FileResponse(context.spool.path(shelves.RELEASES, found.digest), media_type=web.CBOR)


async def _exported(services: Services, caller: Caller, model: str, round_: int) -> None:
    """Raise Problem(access-denied) unless the access rules let an operator take a model out; either is noted once."""
    context = services.context
    operator = next((entry for entry in context.policy.operators if entry.key == caller.public), None)
    if operator is None:
        raise Problem("not-permitted", "the policy lists no such operator any more")
    decision = may_export(context.policy, operator, model, round_)
    kind = "export-allowed" if decision.allowed else "export-refused"
    async with context.database.writing() as session:
        code = ",".join(decision.policies)[:MAX_CODE] or "none"
        report_once(session, kind, f"{model}/{round_}", caller.name, utc_now(), code)
    if not decision.allowed:
        raise Problem("access-denied", decision.reason)
