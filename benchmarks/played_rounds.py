"""Whole rounds between real processes: sites are threads here with the node's own service, over HTTPS."""

import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from tests.playground import MODEL

from benchmarks.federation import shared_values
from benchmarks.processes import Place
from crimson_node.agent import Agent
from crimson_node.home import NodeHome
from crimson_node.journal import Journal
from crimson_node.member import Update
from crimson_node.service.attestation import Attestation
from crimson_node.service.events import Event
from crimson_node.service.library import Library
from crimson_node.service.membership import Membership
from crimson_node.service.process import now
from crimson_node.service.runner import Runner
from crimson_node.service.stopping import Stop, StopRequested, Waiting
from crimson_node.transport.gateway import connect
from crimson_protocol.evidence.validate import Appraisal
from crimson_simulation.processes.homes import write_node_home

PATIENCE = 600.0
"""Seconds for one round."""


@dataclass
class Trained:
    """Stands in for training: the same numbers in every round, on whatever the node released last."""

    values: np.ndarray
    counters: int

    def update(self, agent: Agent, model: str, appraisal: Appraisal) -> Update:
        """What this node contributes; nothing is computed."""
        del appraisal
        base = agent.seen.base_digest(agent.member.policy, model)
        return Update(model, base, self.values, 3, tuple(range(self.counters)))


@dataclass
class Site:
    """One node in a thread: the service of `crimson node run`, with an update made of numbers."""

    place: Path
    trained: Trained
    over: threading.Semaphore
    ended: list[str] = field(default_factory=list)
    failure: BaseException | None = None
    stop: Stop = field(default_factory=Stop)

    def run(self) -> None:
        """Play every round until a stop is asked for."""
        home = NodeHome(self.place)
        settings, keys = home.settings(), home.keys()
        home.prepare()
        gateway = connect(settings, keys.identity, Waiting(self.stop, self._note, PATIENCE), now)
        library, journal = Library(home, gateway, self._note), Journal(home.journal)
        membership = Membership(home, settings.node, keys, journal, gateway, now, os.urandom, self._note)
        attestation = Attestation(gateway, self._note)
        runner = Runner(
            gateway,
            membership,
            attestation,
            library,
            self.trained,
            self.stop,
            self._note,
            settings.poll_seconds,
        )
        try:
            runner.run()
        except StopRequested:
            pass
        except BaseException as error:
            if not self.stop.requested:
                self.failure = error
                self.over.release()
        finally:
            gateway.close()
            journal.close()

    def _note(self, event: Event) -> None:
        if event.name == "round-over":
            self.ended.append(str(event.fields["state"]))
            self.over.release()


class Sites:
    """Every site of a federation, each in a thread, waiting for calls."""

    def __init__(self, here: Place, url: str) -> None:
        knobs = here.parties.policy.rules(MODEL).numbers
        trained = Trained(shared_values(knobs), knobs.counters)
        self._over = threading.Semaphore(0)
        self.sites = []
        for index in range(len(here.parties.names)):
            write_node_home(here.homes, here.parties, index, url)
            self.sites.append(Site(here.homes.node(index), trained, self._over))
        self._threads = [threading.Thread(target=site.run, daemon=True) for site in self.sites]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for site in self.sites:
            site.stop.request()

    def join(self) -> None:
        """After a stop was asked for and the gateway is gone: until every thread ended."""
        for thread in self._threads:
            thread.join()

    def wait(self) -> None:
        """Until every site saw the running round's end. Raises where it was not a release for one of them."""
        for _ in self.sites:
            if not self._over.acquire(timeout=PATIENCE):
                raise TimeoutError("a site did not see the round's end")
        for site in self.sites:
            if site.failure is not None:
                raise site.failure
            if site.ended[-1] != "released":
                raise RuntimeError(f"a round ended as {site.ended[-1]}")
