"""The program inside the sandbox: read the home, give up every right, open the state, answer questions.

Its settings come as one record on standard input; it reads no argument and no environment variable.
"""

import json
import socket
import sys
from pathlib import Path

from crimson_enclave.host.failure import FAILED, Failure, failure_of
from crimson_enclave.host.folder import StateFolder, Uncertain
from crimson_enclave.host.gate import Gate
from crimson_enclave.host.home import Home, read_home
from crimson_enclave.host.keeper import NotKept
from crimson_enclave.host.server import Server
from crimson_enclave.host.settings import MAX_SETTINGS, PATIENCE, Settings, code_folders
from crimson_enclave.host.start import start_from_home
from crimson_enclave.host.talk import say
from crimson_enclave.isolation import Boundary, isolate
from crimson_enclave.measurement import measure
from crimson_enclave.privacy import composition  # noqa: F401 - no code can be loaded once the sandbox is closed
from crimson_enclave.rounds.release import Observer
from crimson_protocol.errors import CrimsonError


def run_inside(observer: Observer | None = None) -> int:
    """The whole life of the process; its exit code.

    observer: sees the opened sums. Only a simulation that holds everybody's data passes one.
    """
    try:
        settings = Settings.from_bytes(sys.stdin.buffer.read(MAX_SETTINGS), MAX_SETTINGS)
        return _serve(settings, observer)
    except CrimsonError as error:
        return _fail(failure_of(error))
    except Failure as failure:
        return _fail(failure)
    except NotKept as error:
        hint = "make room on the disk of state/, or check its owner"
        return _fail(Failure(FAILED, "state-not-kept", str(error), hint))
    except Uncertain as error:
        say(f"{error}; start again")
        return FAILED


def _fail(failure: Failure) -> int:
    _tell({"ready": False, "code": failure.code, "message": failure.text, "hint": failure.hint})
    return failure.exit_code


def _tell(what: dict[str, object]) -> None:
    """The one line on standard output: ready, or why not."""
    print(json.dumps(what), flush=True)


def _serve(settings: Settings, observer: Observer | None) -> int:
    home = Home(Path(settings.home))
    files, measurement, folder = read_home(home), measure(), StateFolder(home.state, PATIENCE)
    listener = socket.socket(fileno=settings.listener)
    code = (*code_folders(), *map(Path, settings.readable))
    measures = isolate(Boundary(code, (home.state,), settings.outside))
    started = start_from_home(files, measurement, measures, folder, observer)
    instance = started.session.instance
    _tell(
        {
            "ready": True,
            "isolated": instance.attester.isolated,
            "measures": {measure.name: measure.enforced for measure in measures},
            "measurement": measurement.hex(),
            "epoch": instance.claims.epoch,
        }
    )
    Server(listener, Gate(started)).run()
    return 0


if __name__ == "__main__":
    sys.exit(run_inside())
