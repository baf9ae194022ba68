"""Named checks of a node's machine, folder and way to the gateway. Nothing secret is sent or shown."""

from crimson_node.doctor.checks import examine
from crimson_node.doctor.finding import Finding

__all__ = ["Finding", "examine"]
