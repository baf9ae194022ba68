"""CPU of the server's side in a whole round, over plain averaging of the same vectors through the same gateway."""

import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tests.playground import MODEL

from benchmarks.goals import Row, reported
from benchmarks.played_rounds import Sites
from benchmarks.processes import Place, Process, cpu_seconds, place, process_parties
from benchmarks.uploads import Body, fresh_body, node_gateway, submitting_rounds
from crimson_node.service.process import now
from crimson_node.transport.gateway import Gateway
from crimson_protocol.layout import Layout
from crimson_simulation.processes.operator import Operator

AFTERMATH = 0.5
"""Seconds after a round in which the gateway still removes what it kept; they count."""


@dataclass(frozen=True)
class Cost:
    """CPU seconds of one round: of the gateway, and of the enclave or of the averaging process."""

    gateway: float
    inner: float

    @property
    def total(self) -> float:
        return self.gateway + self.inner


def round_cost(nodes: int, parameters: int, repeats: int) -> Row:
    """A real round with every node present, from the operator's order to the last node's verified release, over
    plain averaging: the same nodes upload as many bytes, a process averages the files, each node downloads the mean.

    Nodes live in the measuring process, so their CPU is in neither. The first round of each does not count. Most
    of the ratio is the price of signed requests, of which a node makes about twenty in a round and two in plain
    averaging: it falls as vectors grow, and has no goal.
    """
    secure = min(secure_rounds(nodes, parameters, repeats), key=lambda cost: cost.total)
    plain = min(plain_rounds(nodes, parameters, repeats), key=lambda cost: cost.total)
    name = f"server CPU per round, n = {nodes}, d = {parameters:,}, 0% dropped"
    return reported(name, secure.total / plain.total, "x plain averaging")


def secure_rounds(nodes: int, parameters: int, repeats: int) -> list[Cost]:
    """Costs of rounds through gateway and sandboxed enclave, all warm."""
    costs = []
    with ExitStack() as stack:
        here = stack.enter_context(place(process_parties(nodes, {MODEL: parameters})))
        enclave = stack.enter_context(here.enclave())
        sites: Sites | None = None
        try:
            with here.gateway() as gateway:
                url = gateway.ready["url"]
                operator = Operator(url, here.homes.authority, here.homes.operator_key, now, lambda: None)
                stack.callback(operator.close)
                with Sites(here, url) as sites:
                    for _ in range(repeats + 1):
                        costs.append(_secure_round(operator, sites, gateway, enclave))
        finally:
            # With the gateway gone, no long-poll holds a site back.
            if sites is not None:
                sites.join()
    return costs[1:]


def _secure_round(operator: Operator, sites: Sites, gateway: Process, enclave: Process) -> Cost:
    before = cpu_seconds(gateway.pid), cpu_seconds(enclave.pid)
    operator.start_round(MODEL)
    sites.wait()
    time.sleep(AFTERMATH)
    return Cost(cpu_seconds(gateway.pid) - before[0], cpu_seconds(enclave.pid) - before[1])


def plain_rounds(nodes: int, parameters: int, repeats: int) -> list[Cost]:
    """Costs of plain averaging, all warm. The gateway has no enclave: its rounds are rows that take vectors."""
    parties = process_parties(nodes, {MODEL: parameters})
    with ExitStack() as stack:
        here = stack.enter_context(place(parties))
        process = stack.enter_context(here.gateway())
        averaging = stack.enter_context(ProcessPoolExecutor(1, mp_context=get_context("spawn")))
        threads = stack.enter_context(ThreadPoolExecutor(nodes))
        url, authority = process.ready["url"], here.homes.authority
        gateways = [node_gateway(url, parties, index, authority) for index in range(nodes)]
        for gateway in gateways:
            stack.callback(gateway.close)
        return [_plain_round(here, process, gateways, threads, averaging) for _ in range(repeats + 1)][1:]


def _plain_round(
    here: Place,
    process: Process,
    gateways: Sequence[Gateway],
    threads: ThreadPoolExecutor,
    averaging: ProcessPoolExecutor,
) -> Cost:
    rules = here.parties.policy.rules(MODEL)
    length = Layout(rules.numbers).packed
    (round_id,) = submitting_rounds(here.homes.gateway, MODEL, 1)
    bodies = [fresh_body(length) for _ in gateways]

    def upload(gateway: Gateway, body: Body) -> None:
        gateway.put_payload(round_id, body)

    before = cpu_seconds(process.pid)
    list(threads.map(upload, gateways, bodies))
    folder = here.homes.gateway / "spool" / "rounds" / str(round_id) / "attempts" / "1"
    mean = here.homes.root / "mean"
    spent = averaging.submit(average, folder, mean, rules.numbers.parameters).result()
    # What is downloaded has the mean's length: the gateway serves no other artifact than the policy's.
    list(threads.map(lambda gateway: gateway.artifact(rules.initial_digest), gateways))
    time.sleep(AFTERMATH)
    return Cost(cpu_seconds(process.pid) - before, spent)


def average(folder: Path, result: Path, parameters: int) -> float:
    """Average the float32 vectors in a folder into a file; CPU seconds of this process."""
    begun = time.process_time()
    paths = list(folder.iterdir())
    total = np.zeros(parameters, np.float32)
    with np.errstate(all="ignore"):
        for path in paths:
            total += np.fromfile(path, np.float32, parameters)
        total /= len(paths)
    total.tofile(result)
    return time.process_time() - begun
