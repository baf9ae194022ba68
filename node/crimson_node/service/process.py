"""The agent's process: everything of one home put together, and run until it is asked to stop."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crimson_node.enrolment.rotation import NextKeys
from crimson_node.enrolment.standing import EnrolmentFiles
from crimson_node.home import NodeHome
from crimson_node.journal import Journal
from crimson_node.rounds.submit import Encoder, Witness
from crimson_node.service.attestation import Attestation
from crimson_node.service.events import Report, say
from crimson_node.service.library import Library
from crimson_node.service.listing import Listing
from crimson_node.service.membership import Membership
from crimson_node.service.runner import Runner
from crimson_node.service.stopping import Stop, StopRequested, Waiting
from crimson_node.service.training import Training
from crimson_node.transport.backoff import Backoff
from crimson_node.transport.errors import Transient
from crimson_node.transport.gateway import connect


def now() -> int:
    """Unix time in whole seconds."""
    return int(time.time())


@dataclass(frozen=True)
class Pace:
    """How patient a node is. `longest`: seconds without an answer after which it gives up, None for never.

    refusals: how many in a row end it. pauses: seconds after each.
    """

    longest: float | None = None
    refusals: int = 3
    pauses: Sequence[float] = (1.0, 3.0)
    backoff: Backoff = field(default_factory=Backoff)


def serve(
    home: Path,
    *,
    report: Report,
    stop: Stop | None = None,
    witness: Witness | None = None,
    encode: Encoder | None = None,
    pace: Pace | None = None,
    clock: Callable[[], int] = now,
) -> int:
    """Run the agent that lives in `home`; how many rounds it finished once it was asked to stop.

    `witness` sees this node's encoded vectors before they are masked, and `encode` makes them another way: a
    simulation that was given all rows passes them, and nothing else can. Raises BadConfiguration, TransportFailed,
    DataFault, CrimsonError.
    """
    stop, pace, place = stop or Stop(), pace or Pace(), NodeHome(home.absolute())
    files = EnrolmentFiles(place.root)
    files.refuse_no_site()
    settings = place.settings()
    with place.lock():
        following = NextKeys(files)
        following.finish()
        keys = place.keys()
        place.prepare()
        journal = Journal(place.journal)
        patience = Waiting(stop, report, pace.longest)
        gateway = connect(settings, keys.identity, patience, clock, pace.backoff, spare=following.identity)
        library = Library(place, gateway, report)
        runner = Runner(
            gateway=gateway,
            membership=Membership(
                place, settings.node, keys, journal, gateway, clock, os.urandom, report, witness, encode
            ),
            attestation=Attestation(gateway, report),
            library=library,
            training=Training(settings.training_file, library),
            stop=stop,
            report=report,
            poll=settings.poll_seconds,
            patience=pace.refusals,
            pauses=pace.pauses,
        )
        say(report, "started", gateway=settings.gateway, node=settings.node)
        try:
            Listing(files, stop, report, clock, pace.longest).wait()
            runner.run()
        except StopRequested:
            pass
        except Transient:
            # With a stop asked for, a gateway that is away is no failure of ours.
            if not stop.requested:
                raise
        finally:
            gateway.close()
            journal.close()
        say(report, "stopped", rounds=runner.rounds)
        return runner.rounds
