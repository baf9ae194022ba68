"""A new source folder: commented files, the default access rules, and, where asked for, everybody's keys."""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crimson_governance.files import MAX_PRIVATE, read_file, refuse_within, write_file, write_private_key
from crimson_governance.outcome import BadInput
from crimson_governance.parties import MAX_GOVERNORS
from crimson_governance.public_files import read_public, write_public
from crimson_governance.source.folder import ACCESS, FEDERATION, MODELS, ROSTER, SCHEMA
from crimson_governance.templates import EXAMPLES, filled, template
from crimson_protocol.secret.keys import DualKey

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ROLES = ("backend", "rounds")


@dataclass(frozen=True)
class Founding:
    """What a federation starts with. `operators`: name and hexadecimal public key."""

    federation: str
    governors: tuple[str, ...]
    threshold: int
    publisher: str
    operators: tuple[tuple[str, str], ...]
    measurements: tuple[str, ...]
    roots: tuple[Path, ...]


def found(folder: Path, founding: Founding, keys: Path | None) -> list[Path]:
    """Write the folder; with `keys`, make every private key there. Gives the files that were written.

    Raises BadInput where the folder is a source already or a value cannot be used; nothing is written then.
    """
    _check(folder, founding, keys)
    texts = _texts(founding)
    for number, path in enumerate(founding.roots, 1):
        texts[f"evidence/root-{number}.pub"] = write_public(
            read_public(str(path), read_file(path, MAX_PRIVATE))
        )
    for name in ("governors", MODELS, "examples", "evidence"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    written = _make_keys(folder, founding, keys) if keys else []
    # federation.yaml comes last: it is what makes the folder a source, so an interrupted init can be run again.
    for name in sorted(texts, key=lambda name: (name == FEDERATION, name)):
        write_file(folder / name, texts[name])
        written.append(folder / name)
    return written


def _texts(founding: Founding) -> dict[str, bytes]:
    governors = "\n".join(
        f"  - name: {_quoted(name)}\n    keys: governors/{name}.pub" for name in founding.governors
    )
    operators = "".join(
        f"\n  - name: {_quoted(name)}\n    key: {key}\n    roles: [{', '.join(_ROLES)}]"
        for name, key in founding.operators
    )
    federation = filled(
        "federation.yaml",
        federation=_quoted(founding.federation),
        governors=governors,
        threshold=str(founding.threshold),
        publisher=_quoted(founding.publisher),
        publisher_file=founding.publisher,
        operators=operators or " []",
        measurements=_items(founding.measurements),
        roots=_items([f"evidence/root-{number + 1}.pub" for number in range(len(founding.roots))]),
    )
    texts = {
        FEDERATION: federation,
        "README.md": filled("README.md", federation=founding.federation),
        **{name: template(name) for name in (ROSTER, ACCESS, SCHEMA, *EXAMPLES)},
    }
    return {name: text.encode() for name, text in texts.items()}


def _make_keys(folder: Path, founding: Founding, keys: Path) -> list[Path]:
    keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    written = []
    for name in (*founding.governors, founding.publisher):
        key = DualKey.fresh(os.urandom)
        write_private_key(keys / f"{name}.pem", key)
        write_file(folder / "governors" / f"{name}.pub", write_public(key.public))
        written += [keys / f"{name}.pem", folder / "governors" / f"{name}.pub"]
    return written


def _check(folder: Path, founding: Founding, keys: Path | None) -> None:
    if (folder / FEDERATION).exists():
        raise BadInput(
            f"{folder} is a policy's source already", "edit its files, or name a new folder", "source-exists"
        )
    names = (*founding.governors, founding.publisher)
    for name in names:
        if not _FILE_NAME.fullmatch(name):
            hint = "letters, digits, dots, hyphens and underscores: names become file names"
            raise BadInput(f"{name!r} cannot be a party's name", hint, "bad-name")
    if len(set(names)) < len(names):
        raise BadInput(
            "a governor or the publisher is named twice", "each party has its own name", "bad-name"
        )
    if not 1 <= founding.threshold <= len(founding.governors) <= MAX_GOVERNORS:
        hint = f"give 1 to {MAX_GOVERNORS} governors, and --threshold from 1 to their number"
        raise BadInput("so many governors cannot sign", hint, "bad-threshold")
    for name, key in founding.operators:
        if not name or not re.fullmatch("[0-9a-f]{64}", key):
            raise BadInput(
                f"the operator {name!r} needs a public key",
                "--operator NAME=64 hexadecimal digits",
                "bad-operator",
            )
    if keys is not None:
        refuse_within(keys, folder)
        for name in names:
            if (keys / f"{name}.pem").exists():
                hint = "give another --keys-dir; a key that is overwritten is lost"
                raise BadInput(f"{keys / name}.pem is there already", hint, "key-exists")


def _items(values: Sequence[str]) -> str:
    return "".join(f"\n    - {value}" for value in values) or " []"


def _quoted(text: str) -> str:
    """A text as YAML: every JSON string is one."""
    return json.dumps(text, ensure_ascii=False)
