"""Arguments, output and exit codes of `crimson enclave`. Data on stdout, talk on stderr."""

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from crimson_enclave.commands.question import ask_evidence
from crimson_enclave.host.failure import BAD_INPUT, FAILED, Failure, failure_of
from crimson_enclave.host.home import Home
from crimson_enclave.host.launcher import Launch, launch
from crimson_enclave.measurement import measure
from crimson_protocol.errors import CrimsonError

SCHEMA = "crimson/enclave/1"
_INTERRUPTED = 130
_EXAMPLES = """examples:
  crimson enclave serve                       start on the default home, until it is stopped
  crimson enclave serve --home /srv/enclave   another home folder
  crimson enclave evidence                    ask the running enclave what isolates it
  crimson enclave measure --json              the measurement that a policy names

home folder: root.json, policy/ (the published repository), keys/root.pem; state/ and keys/seal.key are made.
exit codes: 0 ok, 1 failed, 2 no connection, 3 time-out, 4 bad input, 5 refused by policy,
            6 evidence does not hold, 9 integrity, 130 interrupted
"""


_SERVE_EXAMPLES = """examples:
  crimson enclave serve --home /srv/enclave
  crimson enclave serve --home /srv/enclave --socket /run/crimson/enclave.sock --json

Runs until SIGTERM or Ctrl-C. What it does not enforce on this machine is said on stderr.
"""
_EVIDENCE_EXAMPLES = """examples:
  crimson enclave evidence --home /srv/enclave
  crimson enclave evidence --home /srv/enclave --json
"""
_MEASURE_EXAMPLES = """examples:
  crimson enclave measure
  crimson enclave measure --json
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    options = _parser().parse_args(argv)
    try:
        return int(options.run(options))
    except Failure as failure:
        return _failed(failure, as_json=options.json)
    except CrimsonError as error:
        return _failed(failure_of(error), as_json=options.json)
    except KeyboardInterrupt:
        return _INTERRUPTED


class _Parser(argparse.ArgumentParser):
    """Ends with the code of bad input."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(BAD_INPUT, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    parser = _Parser(
        "crimson enclave",
        description="The isolated process that opens sums, and nothing else.",
        epilog=_EXAMPLES,
        formatter_class=form,
    )
    commands = parser.add_subparsers(required=True, metavar="serve|evidence|measure")
    parsers: dict[str, argparse.ArgumentParser] = {}
    for name, (run, words, examples) in _COMMANDS.items():
        parsers[name] = commands.add_parser(name, help=words, epilog=examples, formatter_class=form)
        parsers[name].set_defaults(run=run)
        parsers[name].add_argument("--json", action="store_true", help="one JSON document on stdout")
    for command in (parsers["serve"], parsers["evidence"]):
        command.add_argument("--home", type=Path, default=None, help="default: $CRIMSON_HOME/enclave")
        command.add_argument(
            "--socket", type=Path, default=None, help="default: run/enclave.sock in the home"
        )
    return parser


def default_home() -> Path:
    """$CRIMSON_HOME/enclave, else the user's state folder."""
    if chosen := os.environ.get("CRIMSON_HOME"):
        return Path(chosen) / "enclave"
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "crimson" / "enclave"


def _serve(options: argparse.Namespace) -> int:
    home = options.home or default_home()
    # A stop ends the launcher, and with it the enclave.
    signal.signal(signal.SIGTERM, _stop)
    enclave = launch(Launch(home, options.socket))
    try:
        if not enclave.sandboxed:
            text = "bubblewrap is not installed (package bubblewrap): no sandbox, and the evidence says so"
            print(f"crimson enclave: {text}", file=sys.stderr)
        ready = {"ready": True, "socket": str(enclave.socket), **enclave.told}
        print(json.dumps(ready) if options.json else "ready", flush=True)
        if not options.json:
            _explain(enclave.told)
        code = enclave.wait()
    finally:
        enclave.stop()
    raise Failure(code if 0 < code < 128 else FAILED, "ended", "the enclave ended", "start it again")


def _stop(number: int, frame: FrameType | None) -> None:
    del frame
    sys.exit(0 if number == signal.SIGTERM else _INTERRUPTED)


def _explain(told: dict[str, object]) -> None:
    measures = told["measures"]
    missing = [name for name, held in measures.items() if not held] if isinstance(measures, dict) else []
    print(f"isolated: {'yes' if told['isolated'] else 'NO'}", file=sys.stderr)
    if missing:
        print("not enforced here: " + ", ".join(missing), file=sys.stderr)


def _evidence(options: argparse.Namespace) -> int:
    home = Home(options.home or default_home())
    data = ask_evidence(options.socket or home.socket, home)
    if options.json:
        print(json.dumps({"schema": SCHEMA, "ok": True, "data": data, "warnings": []}))
        return 0
    for name in ("kind", "label", "measurement", "isolated", "epoch", "policy_serial", "log_size"):
        print(f"{name:<22}{data[name]}")
    measures = data["measures"]
    for name, held in sorted(measures.items()) if isinstance(measures, dict) else ():
        print(f"  {name:<20}{'enforced' if held else 'NOT enforced'}")
    return 0


def _measure(options: argparse.Namespace) -> int:
    digest = measure().hex()
    document = {"schema": SCHEMA, "ok": True, "data": {"measurement": digest}, "warnings": []}
    print(json.dumps(document) if options.json else digest)
    return 0


def _failed(failure: Failure, *, as_json: bool) -> int:
    doc = f"docs/errors.md#{failure.code}"
    error = {"code": failure.code, "message": failure.text, "hint": failure.hint, "doc": doc}
    if as_json:
        document = {"schema": SCHEMA, "ok": False, "data": None, "warnings": [], "error": error}
        print(json.dumps(document))
    print(f"crimson enclave: {failure}", file=sys.stderr)
    if failure.hint:
        print(f"  {failure.hint}", file=sys.stderr)
    return failure.exit_code


_COMMANDS = {
    "serve": (_serve, "start the enclave and print a line once it can answer", _SERVE_EXAMPLES),
    "evidence": (_evidence, "ask the running enclave for evidence and print it", _EVIDENCE_EXAMPLES),
    "measure": (_measure, "print the measurement of the installed enclave", _MEASURE_EXAMPLES),
}
