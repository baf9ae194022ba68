"""Rewrites the generated parts of the documents from the code: `python -m docs.generate`.

A generated part lies between `<!-- generated: NAME -->` and `<!-- end -->`. With `--check` nothing is
written, and the exit code is 1 where a part is stale.
"""

import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import get_args, get_type_hints

from crimson_node.learning.plan import TrainingPlan
from crimson_protocol import artifact, cohort, enrolment, events, faults, phases, receipt, words
from crimson_protocol.crypto import labels
from crimson_protocol.evidence import format as evidence
from crimson_protocol.policy import bundle, document, update
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire import envelope, link, records
from crimson_protocol.wire.messages import sketch, unmask
from crimson_protocol.wire.records import Field, Record
from crimson_protocol.wire.table import MESSAGES, MessageType, Role

HERE = Path(__file__).parent
PART = re.compile(r"(<!-- generated: (\S+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
# Cohorts of the example table: a few dense ones at every share, and large ones with their drop-out share.
DENSE_SIZES = (4, 6, 12, 30, 60, 100, 128)
SPARSE_SIZES = (200, 500, 1000)
SHARES = ((1, 10), (1, 5), (1, 3))
ENROLMENT = (
    enrolment.Token,
    enrolment.Invitation,
    enrolment.NewInvitation,
    enrolment.SignedJoin,
    enrolment.JoinRequest,
    enrolment.SignedRotation,
    enrolment.RotationRequest,
    enrolment.SignedLeave,
    enrolment.LeaveRequest,
    enrolment.EnrolmentState,
)


def table(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table."""
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *([str(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def label_table() -> str:
    """Every label by the name that the code gives it."""
    named = [(name, value) for name, value in vars(labels).items() if name.isupper() and name != "VERSION"]
    return table(("label", "string"), ((name, f"`{value}`") for name, value in named))


def message_table() -> str:
    """Kinds, directions and caps."""
    heads = ("kind", "message", "from", "largest body, for n roster entries, in bytes")
    return table(heads, ((m.kind, m.name, _sender(m), _cap(m)) for m in MESSAGES))


def _sender(message: MessageType) -> str:
    if message.inner:
        return f"{message.sender.value}, inside Share and Shared"
    return message.sender.value


def _cap(message: MessageType) -> str:
    fixed, each = message.cap(0), message.cap(1) - message.cap(0)
    if message.cap(1000) != fixed + 1000 * each:
        raise ValueError(f"the cap of {message.name} is not linear")
    return f"{fixed} + {each} · n" if each else str(fixed)


def record_tables(roots: Iterable[type[Record]]) -> str:
    """Fields of the records and of the records inside them, each once, in order of first use."""
    seen: list[type[Record]] = []
    for root in roots:
        _collect(root, seen)
    return "\n\n".join(_record(record) for record in seen)


def _collect(record: type[Record], seen: list[type[Record]]) -> None:
    if record in seen:
        return
    seen.append(record)
    for _, bound in _fields(record):
        inner = bound
        while isinstance(inner, records.Items | records.Maybe):
            inner = inner.inner
        if isinstance(inner, records.Nested):
            _collect(inner.record, seen)


def _fields(record: type[Record]) -> list[tuple[str, Field]]:
    hints = get_type_hints(record, include_extras=True)
    names = record.__dataclass_fields__  # type: ignore[attr-defined]
    return [(name, _bound(hints[name])) for name in names]


def _bound(hint: object) -> Field:
    return next(mark for mark in get_args(hint)[1:] if hasattr(mark, "parse"))


def _record(record: type[Record]) -> str:
    first = " ".join((record.__doc__ or "").split("\n\n")[0].split())
    rows = [(place, f"`{name}`", describe(bound)) for place, (name, bound) in enumerate(_fields(record))]
    return f"**{record.__name__}** — {first}\n\n" + table(("#", "field", "bounds"), rows)


def describe(bound: Field) -> str:
    """The bounds of a field in words."""
    match bound:
        case records.UInt() | records.Int():
            top = _number(bound.maximum)
            return f"integer, {'-' + top if isinstance(bound, records.Int) else 0} to {top}"
        case records.Bytes():
            return f"{bound.length} bytes"
        case records.BytesUpTo():
            return f"0 to {_number(bound.maximum)} bytes"
        case records.Text():
            return f"printable text, 1 to {bound.maximum} bytes"
        case records.Prose():
            return f"text of lines, 0 to {_number(bound.maximum)} bytes"
        case records.OneOf():
            return "one of " + ", ".join(f"`{word}`" for word in bound.words)
        case records.Flag():
            return "true or false"
        case records.Fraction():
            return f"[numerator, denominator], up to {_number(bound.maximum)}, denominator above 0"
        case records.Nested():
            return bound.record.__name__
        case records.Maybe():
            return f"null, or {describe(bound.inner)}"
        case records.Items():
            order = "" if bound.key is None else ", strictly ascending"
            return f"list of at most {_number(bound.maximum)}{order}: {describe(bound.inner)}"
        case _:
            raise TypeError(f"no words for {bound}")


def _number(value: int) -> str:
    """Powers of two, and one below them, as such where that is shorter."""
    for base, tail in ((value, ""), (value + 1, " - 1")):
        if base >= 1 << 16 and base & (base - 1) == 0:
            return f"2^{base.bit_length() - 1}{tail}"
    return str(value)


def refusal_table() -> str:
    """Every refusal code, linked to its explanation."""
    codes = [f"[`{code.value}`](errors.md#{code.value})" for code in Refusal]
    width = 4
    rows = [codes[at : at + width] for at in range(0, len(codes), width)]
    return table([""] * width, (row + [""] * (width - len(row)) for row in rows))


def word_list() -> str:
    """The words of fingerprints, sixteen to a line: the row is a byte's upper half, the column its lower."""
    width = 16
    rows = [words.WORDS[at : at + width] for at in range(0, len(words.WORDS), width)]
    return "```text\n" + "\n".join(" ".join(row) for row in rows) + "\n```"


def phase_diagram(role: Role) -> str:
    """The state diagram of a role, as GitHub and most viewers draw it."""
    return f"```mermaid\n{phases.diagram(role)}\n```"


def dense_table() -> str:
    """Corrupt nodes, threshold and drops before Submit of dense rounds of the whole roster."""
    heads = ["n = N", *(f"corrupt {top}/{bottom}: c, t, drops" for top, bottom in SHARES)]
    return table(heads, ([size, *(_dense(size, share) for share in SHARES)] for size in DENSE_SIZES))


def _dense(size: int, share: cohort.Share) -> str:
    if size < cohort.corrupt_count(size, share) + cohort.HONEST_FLOOR:
        return "refused"
    found = cohort.numbers(size, size, share, (0, 1))
    least = max(found.threshold, found.corrupt + cohort.HONEST_FLOOR)
    return f"{found.corrupt}, {found.threshold}, {size - least}"


def sparse_table() -> str:
    """Degrees of sparse rounds at a drop-out share of a tenth."""
    rows = []
    for size in SPARSE_SIZES:
        for share in SHARES:
            found = cohort.numbers(size, size, share, (1, 10))
            degrees = (found.holders, found.threshold, found.neighbours, found.live_degree, found.quorum)
            rows.append((size, f"{share[0]}/{share[1]}", *degrees))
    return table(("n = N", "corrupt", "holders h", "t", "neighbours k", "live degree m", "q"), rows)


PARTS: dict[str, Callable[[], str]] = {
    "labels": label_table,
    "messages": message_table,
    "envelope": lambda: record_tables([envelope.Envelope]),
    "fields": lambda: record_tables(
        [*(m.record for m in MESSAGES), unmask.OpenedShares, sketch.SketchedUpdate]
    ),
    "bundle": lambda: record_tables([bundle.PolicyBundle, update.Trust]),
    "policy": lambda: record_tables([document.Policy]),
    "adoption": lambda: record_tables([link.Adopt, link.Tell]),
    "enrolment": lambda: record_tables(ENROLMENT),
    "words": word_list,
    "evidence": lambda: record_tables([evidence.Evidence]),
    "receipt": lambda: record_tables([receipt.SignedReceipt, receipt.Receipt]),
    "log": lambda: record_tables([events.Event, events.SignedCheckpoint]),
    "artifact": lambda: record_tables([artifact.Artifact]),
    "proof": lambda: record_tables([faults.BadDealerProof]),
    "plan": lambda: record_tables([TrainingPlan]),
    "refusals": refusal_table,
    "enclave-phases": lambda: phase_diagram(Role.ENCLAVE),
    "node-phases": lambda: phase_diagram(Role.NODE),
    "dense-numbers": dense_table,
    "sparse-numbers": sparse_table,
}


def renew(text: str) -> str:
    """The text with every generated part as the code has it now."""
    return PART.sub(lambda found: f"{found[1]}\n{PARTS[found[2]]()}\n\n{found[4]}", text)


def main(arguments: list[str]) -> int:
    """Write what is stale, or with `--check` only name it; 1 where something is stale and was not written."""
    stale = []
    for path in sorted(HERE.glob("*.md")):
        text = path.read_text()
        fresh = renew(text)
        if fresh != text:
            stale.append(path)
            if "--check" not in arguments:
                path.write_text(fresh)
    for path in stale:
        print(f"docs/{path.name} {'is stale' if '--check' in arguments else 'rewritten'}")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
