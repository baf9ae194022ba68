"""The process engine: starts a real federation on this machine, has it play rounds, and stops all of it."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from prometheus_client.parser import text_string_to_metric_families

from crimson_node.home import NodeHome
from crimson_node.outcome import ATTESTATION_FAILED, CommandFailed
from crimson_protocol.evidence.validate import Appraisal, appraise
from crimson_protocol.layout import Layout
from crimson_protocol.receipt import Receipt, verify_receipt
from crimson_protocol.transcript import model_digest
from crimson_protocol.wire.web import OVER
from crimson_simulation.attacks.carried_out import CarriedOut
from crimson_simulation.attacks.poisoned_files import poisoned
from crimson_simulation.attacks.registry import Attack
from crimson_simulation.engine import Drop, Progress, RoundLost, RunFacts, Traffic
from crimson_simulation.parties import Parties, now
from crimson_simulation.processes.homes import (
    LAUNCHER,
    Deadlines,
    Homes,
    fix_port,
    write_enclave_home,
    write_gateway_home,
    write_node_home,
)
from crimson_simulation.processes.operator import GatewayFailed, Operator
from crimson_simulation.processes.supervisor import Supervisor
from crimson_simulation.processes.witnesses import Comparison

CALM, WITH_DROPS = Deadlines(), Deadlines(gather=60.0, phase=8.0, grace=1.0)
NODE, ATTACKER = "crimson_simulation.processes.node", "crimson_simulation.processes.attacker"
OPENING = 30.0
"""Seconds that nodes may take, after a release, until one of them has verified and opened it."""


class NotIsolated(CommandFailed):
    """bubblewrap is here, and the enclave is not isolated all the same."""

    exit_code = ATTESTATION_FAILED
    code = "not-isolated"


class ProcessEngine:
    """One gateway, one enclave, one process per site. Raises ProcessDied where one of them ends unasked."""

    def __init__(
        self,
        parties: Parties,
        folder: Path,
        progress: Progress = lambda _: None,
        attack: Attack | None = None,
        seed: int = 0,
        *,
        drops: bool = False,
    ) -> None:
        self.attack = CarriedOut(attack, len(parties.names), seed, os.urandom)
        self.parties, self.progress = parties, progress
        self.homes = Homes(folder)
        self.deadlines = WITH_DROPS if drops else CALM
        self.supervisor = Supervisor(self.homes.logs)
        self.dropped: list[Drop] = []
        self.refused: set[str] = set()
        self._receipts: list[tuple[bytes, Receipt]] = []
        self._last_model = ""
        self._comparison = Comparison(self.homes)
        self.operator: Operator
        self.appraisal: Appraisal

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.supervisor.stop()
            self.homes.forget_socket()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.operator.close()
        self.supervisor.stop()
        self.homes.forget_socket()
        self.homes.forget_vectors()

    def start(self) -> None:
        """Write every home, then start enclave, gateway and nodes, and appraise the enclave as a node would."""
        self.homes.prepare()
        write_enclave_home(self.homes, self.parties)
        write_gateway_home(self.homes, self.parties, self.deadlines)
        enclave = self.start_enclave()
        gateway = self.start_gateway()
        self._refuse_unsandboxed(enclave.ready())
        url = gateway.ready()["url"]
        # Started again after a kill, it must be where the nodes look for it.
        fix_port(self.homes, url)
        parties = poisoned(self.parties, self.attack, self.homes.poisoned)
        for index in range(len(parties.names)):
            write_node_home(self.homes, parties, index, url)
            self.start_node(index)
        self.operator = Operator(
            url, self.homes.authority, self.homes.operator_key, now, self.supervisor.check
        )
        nonce = os.urandom(32)
        self.appraisal = appraise(self.operator.evidence(nonce), nonce, self.parties.policy, now())

    def start_enclave(self) -> Any:
        """The launcher of the sandbox, with the witness's inner program."""
        paths = {"--home": self.homes.enclave, "--socket": self.homes.socket, "--opened": self.homes.opened}
        arguments = [word for name, path in paths.items() for word in (name, str(path))]
        return self.supervisor.start("enclave", "crimson_simulation.processes.enclave", *arguments)

    def start_gateway(self) -> Any:
        """The gateway as an operator starts it."""
        arguments = ("gateway", "serve", "--home", str(self.homes.gateway), "--json")
        return self.supervisor.start("gateway", LAUNCHER, *arguments)

    def start_node(self, index: int) -> Any:
        """A node's agent with its witness and, where one is planned, its fault; or one that poisons its updates."""
        paths = [self.homes.node(index), self.homes.encoded(index), self.homes.fault(index)]
        program, arguments = NODE, [*map(str, paths)]
        if self.attack.poisons_updates(index):
            program, arguments = ATTACKER, [*arguments, self.attack.name, f"{self.attack.seed}", f"{index}"]
        return self.supervisor.start(f"node-{index:03d}", program, *arguments)

    def _refuse_unsandboxed(self, told: Mapping[str, Any]) -> None:
        """With bubblewrap on this machine, an enclave that is not isolated is a failure and no demonstration."""
        if told["sandboxed"] and not told["isolated"]:
            missing = ", ".join(name for name, held in told["measures"].items() if not held)
            hint = "this kernel refuses what the sandbox needs; --engine inline runs without isolation"
            raise NotIsolated(f"the enclave is sandboxed and yet not isolated: {missing}", hint)

    def run_round(self, model: str, drops: Mapping[int, str] | None = None) -> bytes:
        """One round of `model`; the artifact that finished nodes opened. Raises RoundLost, ProcessDied."""
        self._plan_faults(model, drops or {})
        self.progress("train")
        ended = self._watch(self.operator.start_round(model))
        self._note_drops(ended["number"], drops or {})
        self.refused |= {f"{fault['culprit']}: {fault['code']}" for fault in ended["faults"]}
        if ended["state"] != "released":
            raise RoundLost(model, ended["code"] or ended["state"])
        receipt, artifact = self._opened(model, ended["number"])
        self._receipts.append(receipt)
        self._last_model = model
        self._comparison.compare(Layout(self.parties.policy.rules(model).numbers))
        return artifact

    def _watch(self, told: dict[str, Any]) -> dict[str, Any]:
        while told["state"] not in OVER:
            self.progress(told["state"])
            self.supervisor.check()
            told = self.operator.watch(told["id"], told["version"], wait=2)
        return told

    def _plan_faults(self, model: str, drops: Mapping[int, str]) -> None:
        for index, phase in drops.items():
            self.homes.fault(index).write_text(f"{model} {phase}")
            self.supervisor.children[f"node-{index:03d}"].expected_to_die = True

    def _note_drops(self, number: int, drops: Mapping[int, str]) -> None:
        # A node removes its plan as its last act: a plan that is still there was not carried out.
        for index, phase in drops.items():
            if self.homes.fault(index).exists():
                self.homes.fault(index).unlink()
                self.supervisor.children[f"node-{index:03d}"].expected_to_die = False
            else:
                self.dropped.append(Drop(number, self.parties.names[index], phase))

    def _opened(self, model: str, number: int) -> tuple[tuple[bytes, Receipt], bytes]:
        """Receipt and artifact as the first node left them that verified the release."""
        deadline = time.monotonic() + OPENING
        homes = [NodeHome(self.homes.node(index)) for index in range(len(self.parties.names))]
        while time.monotonic() < deadline:
            for home in homes:
                found = self._opened_at(home.receipt(model, number), home.artifact(model))
                if found is not None:
                    return found
            self.supervisor.check()
            time.sleep(0.02)
        raise RoundLost(model, "not-opened")

    def _opened_at(self, receipt: Path, artifact: Path) -> tuple[tuple[bytes, Receipt], bytes] | None:
        if not (receipt.exists() and artifact.exists()):
            return None
        data, content = receipt.read_bytes(), artifact.read_bytes()
        verified = verify_receipt(data, self.appraisal.receipt_key)
        return ((data, verified), content) if model_digest(content) == verified.output_digest else None

    def facts(self) -> RunFacts:
        """What happened so far, read from the nodes' homes and through the gateway's API."""
        return RunFacts(
            isolated=self.appraisal.isolated,
            measures=self.appraisal.measures,
            receipt_key=self.appraisal.receipt_key,
            receipts=tuple(data for data, _ in self._receipts),
            leaves=self.operator.leaves(),
            release=self.operator.release(self._last_model),
            dropped=tuple(self.dropped),
            refused=tuple(sorted(self.refused)),
            traffic=self._traffic(),
            sum_matches_plain=self._comparison.sum_matches_plain,
        )

    def _traffic(self) -> Traffic:
        """Bytes of bodies as the gateway counted them since its last start."""
        # Counts are on a port that is new at every start.
        metrics = self.supervisor.children["gateway"].ready()["metrics"]
        try:
            text = httpx.get(f"{metrics}/metrics", trust_env=False, timeout=10).text
        except httpx.HTTPError as error:
            raise GatewayFailed(f"the gateway's counts cannot be read: {error}") from error
        traffic = Traffic()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name != "crimson_gateway_body_bytes_total":
                    continue
                if sample.labels["direction"] == "out":
                    traffic.down += int(sample.value)
                elif "payloads" in sample.labels["route"]:
                    traffic.vectors_up += int(sample.value)
                else:
                    traffic.control_up += int(sample.value)
        return traffic
