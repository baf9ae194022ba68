"""Commands of the node as a program sees them."""

import json
from pathlib import Path

from tests.node.front_desk import FrontDesk

from crimson_node.commands import main
from crimson_node.outcome import OK


def ran(capsys, *argv: object) -> tuple[int, dict]:
    """Exit code and envelope of one command."""
    code = main([*map(str, argv), "--json"])
    return code, json.loads(capsys.readouterr().out)


def refused(capsys, *argv: object) -> tuple[int, str]:
    """Exit code and error code of a command that must fail, and says what to do."""
    code, envelope = ran(capsys, *argv)
    assert not envelope["ok"]
    assert envelope["error"]["hint"]
    return code, envelope["error"]["code"]


def joined(capsys, desk: FrontDesk, home: Path, *more: object) -> dict:
    """The data of a join that the gateway took."""
    code, envelope = ran(capsys, "join", "--token-file", desk.token_file(), "--home", home, *more)
    assert (code, envelope["ok"]) == (OK, True), envelope
    return envelope["data"]


def member(capsys, desk: FrontDesk, home: Path) -> None:
    """A site that joined, and that a policy lists."""
    joined(capsys, desk, home)
    desk.list_site()
    code, envelope = ran(capsys, "join", "--home", home)
    assert (code, envelope["data"]["listed"]) == (OK, True), envelope
