"""What the gateway did, handed to the enclave's log: each report once, whatever is killed in between."""

from crimson_gateway.context import Context
from crimson_gateway.enclave_link import EnclaveLink, Refused
from crimson_gateway.store.reports import delivered, number_reports, undelivered_reports
from crimson_gateway.store.tables import Report
from crimson_protocol.events import Reported
from crimson_protocol.wire import link


class Reports:
    """Told between the driver's other steps."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def hand_over(self, enclave: EnclaveLink, status: link.Status) -> link.Status:
        """Where the enclave stands once its log has every report so far. One that it will not take now waits."""
        while True:
            # Numbers are durable before anything is told: told again after a kill, they are the same.
            async with self._context.database.writing() as session:
                rows = undelivered_reports(session, link.MAX_REPORTS)
                number_reports(session, rows, status.reports)
                session.expire_all()
                told = tuple(map(_reported, rows))
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


def _reported(row: Report) -> Reported:
    assert row.number is not None
    return Reported(row.number, row.kind, row.subject, row.actor, int(row.at.timestamp()), row.code)
