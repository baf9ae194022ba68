"""Where a token comes from: a file, stdin, or a path in the environment. Never the command line.

Everybody on the machine can read a command line, and a shell keeps it in its history.
"""

import os
import re
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from crimson_node.outcome import BadConfiguration
from crimson_node.settings import address
from crimson_protocol.enrolment import MAX_TOKEN, PREFIX, Invitation, read_token
from crimson_protocol.errors import PeerFault
from crimson_protocol.secret.keys import IdentityKey

STDIN = "-"
VARIABLES = ("CRIMSON_JOIN_TOKEN_FILE", "FL_JOIN_TOKEN_FILE")
_LETTERS = re.compile(r"[A-Za-z0-9._-]*")
ASK_AGAIN = "ask the operator for the token again, and copy it whole"


@dataclass(frozen=True)
class Invited:
    """An invitation with the key that answers it. gateway: its address, checked. warnings: for people."""

    invitation: Invitation
    key: IdentityKey = field(repr=False)
    gateway: str
    warnings: tuple[str, ...] = ()


def chosen_source(given: str | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """The path that was given, else the one that a variable names; None where there is neither.

    Raises BadConfiguration(token-in-argv) for a token in a path's place. It is never repeated.
    """
    found = [given, *(environment.get(name) for name in VARIABLES)]
    source = next((value for value in found if value), None)
    if source is not None:
        refuse_token_text(source)
    return source


def refuse_token_text(text: str) -> None:
    """Raise BadConfiguration(token-in-argv) for a token where a path belongs."""
    if text.strip().startswith(PREFIX):
        hint = "put it into a file of yours alone and give --token-file FILE; ask for a new one if others may read"
        message = "a token was given on the command line or in a variable, where others can read it"
        raise BadConfiguration(message, hint, "token-in-argv")


def read_invited(source: str, stdin: BinaryIO | None = None) -> Invited:
    """The invitation in a file, or on stdin for "-".

    Raises BadConfiguration(bad-token) for anything else than a whole token, and OSError.
    """
    if source == STDIN:
        data, warnings = (stdin or sys.stdin.buffer).read(MAX_TOKEN + 1), []
    else:
        with Path(source).open("rb") as file:
            data, warnings = file.read(MAX_TOKEN + 1), _readable_by_others(Path(source))
    try:
        invitation, token = read_token(_one_word(data))
        gateway = address(invitation.gateway)
    except PeerFault as fault:
        raise BadConfiguration(f"this is no token: {fault.text}", ASK_AGAIN, "bad-token") from None
    except ValueError:
        # Not ASCII, or an address that no gateway has. The text is not repeated.
        raise BadConfiguration("this is no token", ASK_AGAIN, "bad-token") from None
    return Invited(invitation, IdentityKey(token.seed), gateway, tuple(warnings))


def _one_word(data: bytes) -> str:
    """The text without the line breaks that mail programs put in. Raises ValueError for what no token holds."""
    if len(data) > MAX_TOKEN:
        raise ValueError("too long")
    text = "".join(data.decode("ascii").split())
    if not _LETTERS.fullmatch(text):
        raise ValueError("other letters than a token's")
    return text


def _readable_by_others(path: Path) -> list[str]:
    found = path.stat()
    if stat.S_ISREG(found.st_mode) and found.st_mode & (stat.S_IRGRP | stat.S_IROTH):
        return ["other users of this machine can read the token's file: delete it once you have joined"]
    return []
