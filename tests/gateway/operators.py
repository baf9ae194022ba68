"""Operators beside the one whose key `init` made, and a policy that asks for the word of two."""

import os

from tests.gateway.federation import Federation

from crimson_protocol.policy.document import EnrolmentRules, OperatorEntry
from crimson_protocol.secret.keys import IdentityKey

STAFF = [IdentityKey.fresh(os.urandom) for _ in range(2)]


def ask_two_of_three(federation: Federation) -> None:
    """Publish a policy with three operators, of whom two must approve; hospitals alone are enrolled."""
    more = [OperatorEntry(f"operator-{place}", key.public, ("rounds",)) for place, key in enumerate(STAFF)]
    operators = (federation.operator_entry, *more)
    federation.publish(operators=operators, enrolment=EnrolmentRules(2, ("hospital",)))
