"""The `crimson` command: finds the sub-commands of the installed rooms and runs the one that was named.

Only the named plug-in is loaded, so a hospital with the node alone never imports another room.
"""

import sys
from importlib.metadata import EntryPoint, entry_points, version

GROUP = "crimson.commands"
BAD_INPUT = 4

USAGE = """usage: crimson COMMAND [options]

Commands installed on this machine:
{commands}

Each has its own help:   crimson COMMAND --help
Version:                 crimson --version
"""


def commands() -> dict[str, EntryPoint]:
    """Installed sub-commands by name."""
    return {point.name: point for point in entry_points(group=GROUP)}


def main(argv: list[str] | None = None) -> int:
    """Run one sub-command; its exit code is ours. Code 4 for a command that is not installed."""
    arguments = sys.argv[1:] if argv is None else argv
    installed = commands()
    usage = USAGE.format(commands="\n".join(f"  {name}" for name in sorted(installed)) or "  (none)")
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage)
        return 0
    if arguments[0] == "--version":
        print(f"crimson {version('crimson-protocol')}")
        return 0
    point = installed.get(arguments[0])
    if point is None:
        print(f"crimson: no command {arguments[0]!r} is installed here.\n\n{usage}", file=sys.stderr)
        return BAD_INPUT
    return int(point.load()(arguments[1:]))


if __name__ == "__main__":
    sys.exit(main())
