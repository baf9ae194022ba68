"""docs/errors.md has a section for every code that a person or a program can meet, and for nothing else."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from crimson_gateway.problems import CATALOGUE
from crimson_node import outcome
from crimson_protocol.refusal import Refusal

ROOT = Path(__file__).parents[2]
ERRORS = (ROOT / "docs/errors.md").read_text()
PROTOCOL = (ROOT / "docs/PROTOCOL.md").read_text()
SECTIONS = re.findall(r"^### (.+)$", ERRORS, re.MULTILINE)
ROOMS = ("enclave", "gateway", "node", "governance", "simulation")
FILES = sorted(path for room in ROOMS for path in ROOT.glob(f"{room}/crimson_*/**/*.py"))
REFUSALS = {code.value for code in Refusal}
# Where the code stands among the arguments of what is raised. Subclasses of CommandFailed: see `classes`.
PLACES = {"Failure": 1, "LinkLost": 0, "RoundLost": 1}
FAMILY = "CommandFailed"
# Defaults of classes that are always raised with a finer code, which a test below holds them to.
ALWAYS_FINER = {
    "CertificateRejected": "certificate-rejected",
    "AuthenticationFailed": "authentication-failed",
}
CODE = re.compile(r"[a-z][a-z0-9-]*")
# A problem's code goes by its HTTP status where the gateway gave none.
STATUS = "http-STATUS"


def classes(trees: list[ast.Module]) -> set[str]:
    """Names of CommandFailed and of every class below it."""
    bases = {
        node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    family = {FAMILY}
    while more := {name for name, above in bases.items() if above & family} - family:
        family |= more
    return family


def words(value: ast.expr | None, assigned: dict[str, list[ast.expr]]) -> Iterator[str]:
    """The codes that an expression can be: text, either branch of a choice, what a local name was given."""
    match value:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=[ast.Constant(value="http-"), ast.FormattedValue()]):
            yield STATUS
        case ast.IfExp():
            yield from words(value.body, assigned)
            yield from words(value.orelse, assigned)
        case ast.BoolOp():
            for part in value.values:
                yield from words(part, assigned)
        case ast.Name():
            for part in assigned.get(value.id, ()):
                yield from words(part, {})


def assignments(tree: ast.Module) -> dict[str, list[ast.expr]]:
    """Everything that each name of a module is given, single or in a tuple."""
    found: dict[str, list[ast.expr]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                pairs = [(target, node.value)]
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    pairs = list(zip(target.elts, node.value.elts, strict=True))
                for name, value in pairs:
                    if isinstance(name, ast.Name):
                        found.setdefault(name.id, []).append(value)
    return found


def code_of_class(node: ast.ClassDef) -> Iterator[ast.expr]:
    """`code = "..."` in a class body."""
    for part in node.body:
        match part:
            case ast.Assign(targets=[ast.Name(id="code")], value=value):
                yield value
            case ast.AnnAssign(target=ast.Name(id="code"), value=ast.expr() as value):
                yield value


def codes_in(trees: list[ast.Module]) -> set[str]:
    """Every code that the modules raise, print or log."""
    family, found = classes(trees), set()
    for tree in trees:
        assigned = assignments(tree)
        for node in ast.walk(tree):
            values: list[ast.expr] = []
            match node:
                case ast.ClassDef(name=name) if name in family - {FAMILY} - set(ALWAYS_FINER):
                    values = list(code_of_class(node))
                case ast.Call(func=ast.Name(id=name), args=arguments, keywords=keywords):
                    # The third argument of CommandFailed(message, hint, code).
                    place = PLACES.get(name, 2 if name in family else None)
                    values = [word.value for word in keywords if word.arg == "code"]
                    if place is not None and len(arguments) > place:
                        values.append(arguments[place])
                    if name == "RoundLost":
                        values.append(arguments[1])
            every = {word for value in values for word in words(value, assigned)}
            found |= {word for word in every if CODE.fullmatch(word) or word == STATUS}
    return found


TREES = [ast.parse(path.read_text()) for path in FILES]
RAISED = codes_in(TREES)
ALL = RAISED | set(CATALOGUE) | REFUSALS


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ('class A(CommandFailed):\n    code = "new-code"', "new-code"),
        ('class A(CommandFailed):\n    code: str = "new-code"', "new-code"),
        ('class A(CommandFailed): ...\nclass B(A): ...\nraise B("text", "hint", "new-code")', "new-code"),
        ('raise CommandFailed("text", "hint", code="new-code")', "new-code"),
        ('Failure(4, "new-code", text, hint)', "new-code"),
        ('warn(report, "event", code="new-code")', "new-code"),
        ('RoundLost(model, state.code if state else "new-code")', "new-code"),
        ('text, name = "a", "new-code"\nCommandFailed(text, "hint", name)', "new-code"),
        ('code = f"http-{status}"\nCommandFailed("text", "hint", code)', STATUS),
    ],
)
def test_a_new_code_is_found_in_whatever_way_it_is_raised(source, code):
    assert codes_in([ast.parse(source)]) == {code}


@pytest.mark.parametrize("room", ROOMS)
def test_each_room_is_read(room):
    known = {
        "enclave": {"home-incomplete", "state-in-use", "ended"},
        "gateway": {"bad-setting", "port-taken", "usage", "enclave-gone"},
        "node": {"exposed-files", "proxy-login", "certificate-expired", "data-check-failed", STATUS},
        "governance": {"bad-yaml", "too-few-signatures", "unknown-publisher", "source-link"},
        "simulation": {"bad-option", "process-died", "not-isolated", "not-opened"},
    }
    trees = [tree for path, tree in zip(FILES, TREES, strict=True) if path.is_relative_to(ROOT / room)]
    # A class and its base may lie in different rooms.
    base = ast.parse("class CommandFailed(Exception): ...")
    assert known[room] <= codes_in([base, *trees])


@pytest.mark.parametrize("code", sorted(ALL))
def test_every_code_is_explained(code):
    section = ERRORS.split(f"\n### {code}\n", 1)
    assert len(section) == 2, f"docs/errors.md has no section for {code}"
    text = section[1].split("\n#", 1)[0]
    assert [part in text for part in ("**What happened.**", "**Why.**", "**What to do.**")] == [True] * 3


def test_no_section_is_without_a_code_and_none_is_there_twice():
    assert set(SECTIONS) <= ALL
    assert len(SECTIONS) == len(set(SECTIONS))


@pytest.mark.parametrize("code", sorted(CATALOGUE))
def test_the_gateways_codes_stand_with_their_status(code):
    section = ERRORS.split(f"\n### {code}\n", 1)[1].split("\n#", 1)[0]
    assert re.search(rf"\b{CATALOGUE[code].status}\b", section)


@pytest.mark.parametrize("code", sorted(REFUSALS))
def test_every_refusal_is_listed_in_the_protocol(code):
    assert f"[`{code}`](errors.md#{code})" in PROTOCOL


def test_defaults_that_nobody_meets_are_always_overridden():
    raised = [
        node
        for tree in TREES
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ALWAYS_FINER
    ]
    assert raised and all(len(call.args) == 3 for call in raised)
    assert not set(ALWAYS_FINER.values()) & ALL


def test_exit_codes_are_explained():
    rows = set(map(int, re.findall(r"^\| (\d+) \|", ERRORS, re.MULTILINE)))
    named = {value for name, value in vars(outcome).items() if name.isupper() and isinstance(value, int)}
    reserved = {outcome.BUDGET_EXHAUSTED, outcome.UPDATE_NEEDED}
    assert rows == named - reserved
    assert re.search(r"Codes 7 .*and 10 .*are reserved", ERRORS)


def test_reserved_exit_codes_are_not_used():
    used = {
        node.id
        for tree in TREES
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    assert not used & {"BUDGET_EXHAUSTED", "UPDATE_NEEDED"}
