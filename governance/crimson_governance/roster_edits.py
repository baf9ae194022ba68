"""Changes to roster.yaml that keep its comments and everything else that people wrote there."""

import base64
import io
import textwrap
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import LiteralScalarString

from crimson_governance.files import write_file
from crimson_governance.outcome import BadSource
from crimson_governance.source.folder import ROSTER, Source
from crimson_governance.source.forms import RosterForm
from crimson_governance.source.reading import fill
from crimson_protocol.policy.document import RosterEntry


def listed_nodes(source: Source) -> tuple[RosterEntry, ...]:
    """The roster as its file has it."""
    return _entries(source.roster.form)


def write_roster(source: Source, entries: tuple[RosterEntry, ...]) -> None:
    """Make roster.yaml say `entries`, which are the listed nodes with some changed and some added at the end.

    Raises BadSource where the file is laid out in a way that cannot be kept; nothing is written then.
    """
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    # Read strictly before: neither tag nor alias is in it.
    tree = yaml.load(source.files[ROSTER].decode())
    nodes = _nodes(tree)
    for place, entry in enumerate(entries):
        if place == len(nodes):
            nodes.append(_mapping(entry))
        elif entry != listed_nodes(source)[place]:
            nodes[place].update(_mapping(entry))
    text = io.StringIO()
    yaml.dump(tree, text)
    data = text.getvalue().encode()
    if _entries(fill(RosterForm, ROSTER, data).form) != entries:
        raise BadSource(f"{ROSTER} is laid out in a way that cannot be edited", "edit it by hand")
    write_file(source.folder / ROSTER, data)


def _nodes(tree: Any) -> Any:
    if tree.get("nodes") is None:
        tree["nodes"] = CommentedSeq()
    nodes = tree["nodes"]
    # An empty list is written [], and what is added to it would go on in that style.
    nodes.fa.set_block_style()
    return nodes


def _mapping(entry: RosterEntry) -> CommentedMap:
    packed = textwrap.wrap(base64.b64encode(entry.encryption_key).decode(), 76)
    return CommentedMap(
        node=entry.node,
        organisation=entry.organisation,
        kind=entry.kind,
        status=entry.status,
        identity_key=entry.identity_key.hex(),
        encryption_key=LiteralScalarString("\n".join(packed) + "\n"),
    )


def _entries(form: RosterForm) -> tuple[RosterEntry, ...]:
    return tuple(
        RosterEntry(
            item.node, item.organisation, item.kind, item.identity_key, item.encryption_key, item.status
        )
        for item in form.nodes
    )
