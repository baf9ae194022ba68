"""Newer policies for an enclave that runs, and nodes that follow them as well."""

import os
from collections.abc import Iterable
from dataclasses import replace

from tests.enclave.hosting import Client, Hosted, now, resigned
from tests.playground import Parties, default_numbers, default_rules, initial

from crimson_node.agent import Agent
from crimson_node.member import Member
from crimson_protocol.events import MAX_EVENT, Event
from crimson_protocol.policy.document import RosterEntry
from crimson_protocol.wire import link

GONE = 5
"""The node that is revoked, of six."""
SECOND = "second"
"""A model that a newer policy adds."""


class Following(Hosted):
    """Nodes that change to another policy, each on its own journal. Who is not active any more is not there."""

    def follow(self, parties: Parties) -> None:
        self.parties, self.policy = parties, parties.policy
        for index, agent in enumerate(self.agents):
            keys = parties.identities[index], parties.encryptions[index]
            member, outbox = Member(index, *keys, self.policy), self.home / f"node-{index}" / "outbox"
            witness = self.encoded.__setitem__
            self.agents[index] = Agent(member, agent._journal, outbox, now, os.urandom, witness)

    def prepare(self, client: Client, nodes: Iterable[int] | None = None) -> None:
        super().prepare(client, self.policy.active() if nodes is None else nodes)

    def deliver(
        self, client: Client, said: Iterable[tuple[int | None, bytes]], only: Iterable[int] | None = None
    ) -> list[link.Heard]:
        active = self.policy.active()
        return super().deliver(client, said, [index for index in only or active if index in active])


def entries(parties: Parties, index: int, **changes: object) -> tuple[RosterEntry, ...]:
    """The roster with one entry changed."""
    roster = list(parties.policy.roster)
    roster[index] = replace(roster[index], **changes)
    return tuple(roster)


def revoking(parties: Parties) -> Parties:
    """The next policy, under which one node is revoked."""
    roster = entries(parties, GONE, status="revoked")
    return resigned(parties, serial=parties.policy.serial + 1, roster=roster)


def with_second_model(parties: Parties) -> tuple[Parties, bytes]:
    """The next policy, with another model, and what that one starts from."""
    numbers = default_numbers(6, parameters=7)
    models = (*parties.policy.models, default_rules(numbers, model=SECOND))
    return resigned(parties, serial=parties.policy.serial + 1, models=models), initial(numbers)


def adopt(client: Client, parties: Parties, *artifacts: bytes) -> link.Status:
    return client.ask(link.Adopt(parties.signed, artifacts))


def events(client: Client) -> list[Event]:
    return [Event.from_bytes(leaf, MAX_EVENT) for leaf in client.leaves()]
