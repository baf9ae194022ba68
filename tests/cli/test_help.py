"""What help and documents say of commands is so: examples, options, and every command line that is quoted."""

import ast
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest
from typer.main import get_command

from crimson_enclave.commands import shell
from crimson_gateway import commands as gateway
from crimson_governance import commands as governance
from crimson_node import commands as node
from crimson_protocol.launcher import commands, main
from crimson_simulation.commands import config

ROOT = Path(__file__).parents[2]
PAGES = (
    "README.md",
    "docs/operator-guide.md",
    "docs/hospital-guide.md",
    "docs/governor-guide.md",
    "docs/errors.md",
    "policies/README.md",
    "governance/crimson_governance/templates/README.md",
)
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
# A line of a code block, or what stands between backticks; a path or variables may come first.
LINE = re.compile(r"^(?:[A-Z_]+=\S+ |ExecStart=)*(?:\S*/)?crimson ([a-z][^`]*)$")


def leaves(command: object, path: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Paths of the commands that do something, below a group."""
    inner = getattr(command, "commands", None)
    if not inner:
        return [path]
    return [leaf for name, below in inner.items() for leaf in leaves(below, (*path, name))]


COMMANDS = [
    ("train",),
    ("demo",),
    *leaves(get_command(config.app), ("config",)),
    *leaves(get_command(node.app), ("node",)),
    *leaves(get_command(gateway.app), ("gateway",)),
    *leaves(get_command(governance.app), ("policy",)),
    *(("enclave", name) for name in shell._COMMANDS),
]
GROUPS = sorted({path[:depth] for path in COMMANDS for depth in range(1, len(path))})


def run(*argv: str) -> int:
    """The exit code; a parser that leaves by itself counts like one that returns."""
    try:
        return main(list(argv))
    except SystemExit as ending:
        return int(ending.code or 0)


@pytest.fixture
def help_of(capfd, monkeypatch):
    """The help text of a command, wide enough that nothing is cut."""
    monkeypatch.setenv("COLUMNS", "240")
    monkeypatch.setenv("TERMINAL_WIDTH", "240")

    def shown(path: tuple[str, ...]) -> str:
        assert run(*path, "--help") == 0
        return capfd.readouterr().out

    return shown


def examples(text: str, path: tuple[str, ...]) -> list[str]:
    """Example lines: the command at the start of a line, perhaps after variables; without the box around them."""
    lines = [line.strip(" │") for line in text.split("xamples:", 1)[1].splitlines()]
    name = " ".join(("crimson", *path))
    return [line for line in lines if re.match(rf"(?:[A-Z_]+=\S+ )*{name}(?: |$)", line)]


def quoted(page: str) -> list[str]:
    """Command lines of `crimson` in a page, without what stands before them."""
    text = (ROOT / page).read_text()
    blocks = "".join(re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    lines = [line.strip() for line in blocks.splitlines()]
    lines += [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose)]
    return [match.group(1) for line in lines if (match := LINE.match(line))]


def command_of(line: str) -> tuple[str, ...]:
    """The longest command or group that a line begins with."""
    told = shlex.split(line)
    known = [path for path in (*COMMANDS, *GROUPS) if tuple(told[: len(path)]) == path]
    assert known, f"there is no command: crimson {line}"
    path = max(known, key=len)
    # After the name of a group only its own options may follow.
    assert path in COMMANDS or all(word.startswith("-") for word in told[len(path) :]), line
    return path


QUOTED = sorted({(page, line) for page in PAGES for line in quoted(page)})


def test_every_installed_command_is_looked_at():
    assert {path[0] for path in COMMANDS} == set(commands())
    wanted = {
        "node run",
        "node status",
        "node doctor",
        "node journal verify",
        "gateway init",
        "gateway serve",
    }
    wanted |= {f"policy {name}" for name in ("init", "lint", "explain", "sign", "publish", "diff", "show")}
    wanted |= {"enclave serve", "enclave evidence", "enclave measure", "train", "demo", "config show"}
    assert wanted <= {" ".join(path) for path in COMMANDS}


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_two_examples_and_json(path, help_of):
    text = help_of(path)
    assert "--json" in OPTION.findall(text)
    lines = examples(text, path)
    assert len(lines) >= 2, lines
    unknown = set(OPTION.findall(" ".join(lines))) - set(OPTION.findall(text.split("xamples:", 1)[0]))
    assert not unknown


@pytest.mark.parametrize("path", GROUPS, ids=" ".join)
def test_every_group_lists_its_commands(path, help_of):
    text = help_of(path)
    below = {other[len(path)] for other in COMMANDS if other[: len(path)] == path}
    assert all(re.search(rf"\b{name}\b", text) for name in below)


@pytest.mark.parametrize(("page", "line"), QUOTED, ids=[f"{page}: {line}" for page, line in QUOTED])
def test_quoted_command_lines_name_commands_and_options_that_exist(page, line, help_of):
    path = command_of(line)
    known = {*OPTION.findall(help_of(path)), "--help"}
    assert set(OPTION.findall(line)) <= known, f"{page} quotes options that `crimson {' '.join(path)}` lacks"


def test_the_pages_quote_what_they_should():
    found = {command_of(line) for _, line in QUOTED}
    assert {
        ("enclave", "serve"),
        ("gateway", "serve"),
        ("node", "run"),
        ("node", "doctor"),
        ("policy", "sign"),
        ("train",),
    } <= found


@pytest.mark.parametrize("line", ["node fly", "enclave serve --no-sandbox"])
def test_a_line_that_is_not_so_is_found(line, help_of):
    with pytest.raises(AssertionError):
        test_quoted_command_lines_name_commands_and_options_that_exist("a page", line, help_of)


@pytest.mark.parametrize("page", PAGES)
def test_python_in_a_page_compiles_and_imports_what_is_there(page):
    for block in re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE):
        for part in ast.walk(ast.parse(block)):
            if isinstance(part, ast.ImportFrom):
                assert all(hasattr(import_module(part.module or ""), name.name) for name in part.names)


def test_a_usage_error_of_any_command_gives_four(capfd):
    for path in COMMANDS:
        assert run(*path, "--no-such-option") == 4, path
    assert "Traceback" not in capfd.readouterr().err
