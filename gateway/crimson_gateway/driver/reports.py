"""What the gateway did, handed to the enclave's log: each report once, whatever is killed in between."""

from collections.abc import Sequence

from crimson_gateway.context import Context
from crimson_gateway.enclave_link import EnclaveLink, Refused
from crimson_gateway.store.reports import delivered, undelivered_reports
from crimson_gateway.store.tables import Report
from crimson_protocol.events import Reported
from crimson_protocol.wire import link

_ID_BITS = 20


class Reports:
    """Told between the driver's other steps."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def hand_over(self, enclave: EnclaveLink, status: link.Status) -> link.Status:
        """Where the enclave stands once its log has every report so far. One that it will not take now waits."""
        while True:
            async with self._context.database.reading() as session:
                rows = undelivered_reports(session, link.MAX_REPORTS)
                told = _numbered(rows)
                last = rows[-1].id if rows else 0
            if not told:
                return status
            try:
                status = await enclave.tell(told)
            except Refused as refused:
                self._context.log.warning("the enclave takes no reports now", code=refused.code)
                return status
            async with self._context.database.writing() as session:
                delivered(session, last)


def _numbered(rows: Sequence[Report]) -> tuple[Reported, ...]:
    """The reports with numbers that grow, even where the clock went back.

    Ids begin anew where the database is lost; what the enclave's log has seen does not, so numbers begin with the time.
    """
    told: list[Reported] = []
    for row in rows:
        seconds = int(row.at.timestamp())
        number = (seconds << _ID_BITS) | (row.id % (1 << _ID_BITS))
        least = told[-1].number + 1 if told else 0
        told.append(Reported(max(number, least), row.kind, row.subject, row.actor, seconds, row.code))
    return tuple(told)
