"""Commands on a terminal, with a person who answers once."""

import os
import pty
import select
import sys
from pathlib import Path

CRIMSON = Path(sys.executable).with_name("crimson")


def on_a_terminal(answer: str, *argv: object) -> tuple[int, str]:
    """Exit code and everything that the person sees."""
    process, terminal = pty.fork()
    if process == 0:
        os.execv(CRIMSON, [str(CRIMSON), *map(str, argv)])
    seen, answered = "", False
    # A test process may hold more descriptors than `select` can watch.
    watch = select.poll()
    watch.register(terminal, select.POLLIN | select.POLLHUP)
    while watch.poll(60_000):
        try:
            seen += os.read(terminal, 4096).decode()
        except OSError:
            break
        if not answered and seen.rstrip().endswith(":"):
            os.write(terminal, f"{answer}\n".encode())
            answered = True
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), seen
