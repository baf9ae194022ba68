"""What operators do and see: start rounds, follow them, and look at nodes."""

import json
from asyncio import to_thread
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from crimson_gateway.api.mail import LARGEST, RoundId, Wait
from crimson_gateway.api.services import (
    OPERATOR_CAP,
    PROBLEMS,
    Operator,
    Services,
    Use,
    existing,
    json_body,
    moment,
    read_json,
    signed_by,
)
from crimson_gateway.authentication import Signed
from crimson_gateway.authentication.callers import OPERATOR, Caller
from crimson_gateway.bodies import whole
from crimson_gateway.context import utc_now
from crimson_gateway.enrolment.membership import hold_on
from crimson_gateway.problems import Problem
from crimson_gateway.store.answers import keep_answer, known_answer
from crimson_gateway.store.log_leaves import leaves_from
from crimson_gateway.store.reports import MAX_CODE, report, report_once
from crimson_gateway.store.rounds import add_round, faults_of, newest_rounds, round_by_id
from crimson_gateway.store.seen import nodes_seen
from crimson_gateway.store.suspensions import suspensions
from crimson_gateway.store.tables import Fault, Round
from crimson_protocol.conduct import suspicions
from crimson_protocol.policy.access import Decision
from crimson_protocol.policy.decisions import may_start

JSON = "application/json"
router = APIRouter(prefix="/v1", tags=["operators"], responses=PROBLEMS)
Orders = Annotated[Signed, signed_by((OPERATOR,), lambda _: OPERATOR_CAP)]


class NewRound(BaseModel):
    """A round to start. `strategy`: one of the alternatives that the policy allows, instead of its first choice."""

    model_config = ConfigDict(extra="forbid")
    model: str = Field(min_length=1, max_length=64)
    strategy: str | None = Field(default=None, min_length=1, max_length=32)


class FaultView(BaseModel):
    """Who broke which rule: a node, "gateway", or nobody that can be named."""

    culprit: str | None
    code: str


class RoundView(BaseModel):
    """Where a round stands. `number` and `attempt` are the enclave's, 0 until it opened."""

    id: int
    model: str
    strategy: str | None
    number: int
    attempt: int
    state: str
    code: str | None
    version: int
    waiting: list[str]
    faults: list[FaultView]
    created: str
    deadline: str


class RoundPage(BaseModel):
    """Rounds from the newest on; `next` leads to the older ones."""

    rounds: list[RoundView]
    next: str | None


class NodeView(BaseModel):
    """A node of the roster: when it last spoke, and whether it vouches for the enclave's instance.

    `status` is the policy's. `held` and `reason`: what operators hold against it here, beside the policy. `suspicion`:
    probability that it is bad, by flags and faults in the enclave's log; a reason to look, and no more.
    """

    node: str
    organisation: str
    kind: str
    status: str
    held: str | None
    reason: str | None
    last_seen: str | None
    endorsed: bool
    suspicion: float


class NodeList(BaseModel):
    """Every node of the roster."""

    nodes: list[NodeView]


@router.post("/rounds", status_code=201, response_model=RoundView, openapi_extra=json_body(NewRound))
async def start_round(
    services: Use,
    signed: Orders,
    idempotency_key: Annotated[str, Header(pattern="^[!-~]{1,128}$")],
) -> Response:
    """Start a round. The same Idempotency-Key with the same body gives the same answer for a day."""
    context = services.context
    body = await whole(signed.request, signed.length, signed.digest, context.settings)
    order = read_json(NewRound, body)
    if order.model not in services.vector_lengths:
        raise Problem("unknown-model")
    rules = context.policy.rules(order.model)
    if order.strategy not in (None, rules.strategy, *rules.alternatives):
        allowed = ", ".join(sorted({rules.strategy, *rules.alternatives}))
        raise Problem("bad-parameter", f"the policy allows for {order.model}: {allowed}")
    now = utc_now()
    decision = await _permitted(services, signed.caller, order.model)
    seconds, key_id = int(now.timestamp()), signed.caller.key_id
    async with context.database.writing() as session:
        before = known_answer(session, key_id, idempotency_key, seconds)
        if before is not None:
            if before.request != signed.digest:
                raise Problem("idempotency-key-reused")
            return Response(before.body, before.status, media_type=JSON)
        deadline = now + timedelta(seconds=context.settings.gather_seconds)
        round_ = add_round(session, order.model, now, deadline, order.strategy)
        deciding = ",".join(decision.policies)[:MAX_CODE]
        report(session, "round-ordered", f"{order.model}/{round_.id}", signed.caller.name, now, deciding)
        answer = view_of(round_, ()).model_dump_json().encode()
        keep_answer(session, key_id, idempotency_key, signed.digest, 201, answer, seconds)
    context.bells.ring("calls")
    context.wake()
    return Response(answer, 201, media_type=JSON)


@router.get("/rounds", response_model=RoundPage)
async def rounds(
    services: Use,
    _: Operator,
    cursor: Annotated[str | None, Query(max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> RoundPage:
    """Rounds from the newest on."""
    async with services.context.database.reading() as session:
        found = newest_rounds(session, _before(cursor), limit + 1)
        views = [view_of(round_, faults_of(session, round_.id)) for round_ in found[:limit]]
    more = len(found) > limit
    return RoundPage(rounds=views, next=_cursor(found[limit - 1].id) if more else None)


@router.get("/rounds/{round_id}", response_model=RoundView)
async def one_round(
    services: Use,
    _: Operator,
    round_id: RoundId,
    version: Annotated[int, Query(ge=0, le=LARGEST)] = 0,
    wait: Wait = 0,
) -> RoundView:
    """Where a round stands, once its version is above `version` or the wait is over."""

    async def look() -> RoundView | None:
        view = await _view(services, round_id)
        return view if view.version > version else None

    found = await services.context.bells.until(("round", round_id), look, wait)
    return found or await _view(services, round_id)


@router.get("/nodes", response_model=NodeList)
async def nodes(services: Use, _: Operator) -> NodeList:
    """Every node of the roster."""
    context, policy = services.context, services.policy
    async with context.database.reading() as session:
        seen, held, leaves = nodes_seen(session), suspensions(session), leaves_from(session, 0)
    names = [entry.node for entry in policy.roster]
    suspected = await to_thread(suspicions, names, leaves)
    status = context.view.status
    endorsed = set(status.endorsed) if status is not None and context.view.connected else set()
    views = []
    for index, entry in enumerate(policy.roster):
        hold = hold_on((row for row in held if row.node == entry.node), entry.identity_key)
        view = NodeView(
            node=entry.node,
            organisation=entry.organisation,
            kind=entry.kind,
            status=entry.status,
            held=hold.state if hold else None,
            reason=hold.reason if hold else None,
            last_seen=moment(seen[index]) if index in seen else None,
            endorsed=index in endorsed,
            suspicion=round(suspected[entry.node], 4),
        )
        views.append(view)
    return NodeList(nodes=views)


def view_of(round_: Round, faults: Sequence[Fault]) -> RoundView:
    """A round as operators see it."""
    return RoundView(
        id=round_.id,
        model=round_.model,
        strategy=round_.strategy,
        number=round_.number,
        attempt=round_.attempt,
        state=round_.state,
        code=round_.code,
        version=round_.version,
        waiting=json.loads(round_.waiting),
        faults=[FaultView(culprit=fault.culprit, code=fault.code) for fault in faults],
        created=moment(round_.created),
        deadline=moment(round_.deadline),
    )


async def _permitted(services: Services, caller: Caller, model: str) -> Decision:
    """What lets an operator start a round of a model. Raises Problem(access-denied), and notes it once."""
    context = services.context
    policy, status = context.policy, context.view.status
    places = {place.model: place.round for place in status.places} if status else {}
    operator = next((entry for entry in policy.operators if entry.key == caller.public), None)
    if operator is None:
        raise Problem("not-permitted", "the policy lists no such operator any more")
    decision = may_start(policy, operator, model, places.get(model, 0) + 1)
    if not decision.allowed:
        async with context.database.writing() as session:
            report_once(session, "round-refused", model, caller.name, utc_now(), decision.reason[:MAX_CODE])
        raise Problem("access-denied", decision.reason)
    return decision


async def _view(services: Services, round_id: int) -> RoundView:
    async with services.context.database.reading() as session:
        round_ = existing(round_by_id(session, round_id))
        return view_of(round_, faults_of(session, round_id))


def _cursor(round_id: int) -> str:
    return urlsafe_b64encode(round_id.to_bytes(8, "big")).decode().rstrip("=")


def _before(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    try:
        raw = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except ValueError as error:
        raise Problem("bad-parameter", "cursor: not one that was given out") from error
    if len(raw) != 8 or raw[0] & 0x80:
        raise Problem("bad-parameter", "cursor: not one that was given out")
    return int.from_bytes(raw, "big")
