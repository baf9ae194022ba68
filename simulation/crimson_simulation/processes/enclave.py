"""Starts a simulation's enclave: the real launcher and sandbox, with the witness's program inside.

`python -m crimson_simulation.processes.enclave --home H --socket S --opened FOLDER`
"""

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

import crimson_simulation
from crimson_enclave.host.failure import Failure
from crimson_enclave.host.launcher import Launch, launch
from crimson_node.durable import write_file
from crimson_simulation.processes.inner import LENGTH

PROGRAM = "crimson_simulation.processes.inner"


def main() -> int:
    """Run until stopped; the enclave ends with its launcher."""
    parser = argparse.ArgumentParser()
    for name in ("--home", "--socket", "--opened"):
        parser.add_argument(name, type=Path, required=True)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _stop)
    inside, outside = os.pipe()
    threading.Thread(target=_keep_sums, args=(inside, options.opened), daemon=True).start()
    code = Path(crimson_simulation.__file__).parent
    program = ("-m", PROGRAM, str(outside))
    try:
        enclave = launch(
            Launch(options.home, options.socket, program=program, readable=(code,), descriptors=(outside,))
        )
    except Failure as failure:
        print(f"{failure.code}: {failure.text}; {failure.hint}", file=sys.stderr)
        return failure.exit_code
    try:
        print(json.dumps({"ready": True, "sandboxed": enclave.sandboxed, **enclave.told}), flush=True)
        return enclave.wait()
    finally:
        enclave.stop()


def _keep_sums(descriptor: int, folder: Path) -> None:
    """Write each sum that comes through the pipe to a file of its own, numbered from 0 on."""
    number = len(list(folder.glob("*.npz")))
    with os.fdopen(descriptor, "rb") as pipe:
        while header := pipe.read(LENGTH):
            data = pipe.read(int.from_bytes(header, "big"))
            write_file(folder / f"{number:06d}.npz", data)
            number += 1


def _stop(number: int, frame: FrameType | None) -> None:
    del number, frame
    sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
