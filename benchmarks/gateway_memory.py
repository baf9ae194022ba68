"""What uploads add to the memory of a gateway that was idle: whole vectors never lie in it."""

from collections.abc import Sequence

from benchmarks.goals import Row, at_most
from benchmarks.processes import place, process_parties
from benchmarks.resident import forget_peak_of, resident_of
from benchmarks.uploads import Uploaders, submitting_rounds
from crimson_protocol.layout import Layout

GROWTH_GOAL = 32
MIB = 1 << 20


def gateway_memory(cells: Sequence[tuple[int, int]]) -> list[Row]:
    """The most that the gateway holds beyond what it held before its first upload, for each (uploads at once,
    parameters)."""
    most = max(at_once for at_once, _ in cells)
    models = {f"of {parameters}": parameters for _, parameters in cells}
    parties, rows = process_parties(most, models), []
    with place(parties) as here, here.gateway() as process:
        url, homes = process.ready["url"], here.homes
        idle = resident_of(process.pid, "VmRSS")
        for at_once, parameters in cells:
            model = f"of {parameters}"
            length = Layout(parties.policy.rules(model).numbers).packed
            with Uploaders(url, parties, homes.authority, at_once) as uploaders:
                forget_peak_of(process.pid)
                uploaders.upload(submitting_rounds(homes.gateway, model, 1), length)
            growth = resident_of(process.pid, "VmHWM") - idle
            name = f"gateway peak memory over idle, {at_once} uploads of {length / MIB:.1f} MiB at once"
            rows.append(at_most(name, growth / MIB, GROWTH_GOAL, "MiB"))
    return rows
