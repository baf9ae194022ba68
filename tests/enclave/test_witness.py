"""The opened sums are shown to nobody: the one way to an observer is an argument that nothing outside can set."""

import ast
import inspect
from pathlib import Path

import crimson_enclave
from crimson_enclave.commands.shell import _parser
from crimson_enclave.host import inside, launcher, start
from crimson_enclave.host.settings import Settings

ROOT = Path(crimson_enclave.__file__).parent
READS_ENVIRONMENT = {"commands/shell.py", "isolation/process.py"}


def calls(name: str) -> list[tuple[str, ast.Call]]:
    """Every call of a plain name in the enclave's code, with the file it stands in."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
                found.append((path.relative_to(ROOT).as_posix(), node))
    return found


def test_a_session_is_made_in_one_place_and_the_program_passes_no_observer():
    assert [place for place, _ in calls("Session")] == ["host/start.py"]
    [(place, call)] = calls("run_inside")
    assert place == "host/inside.py"
    assert not call.args and not call.keywords
    for function in (inside.run_inside, start.start, start.start_from_home):
        assert inspect.signature(function).parameters["observer"].default is None


def test_no_setting_flag_or_variable_leads_to_an_observer():
    fields = {*Settings.__dataclass_fields__, *launcher.Launch.__dataclass_fields__}
    assert not [name for name in fields if "observ" in name or "witness" in name]
    [(_, call)] = calls("Launch")
    # The command sets home and socket alone: no flag leaves the sandbox out, or names another program.
    assert not call.keywords
    assert len(call.args) == 2
    help_ = _parser().format_help() + "".join(launcher.PROGRAM)
    assert "observer" not in help_ and "witness" not in help_


def test_the_environment_is_read_for_the_default_home_and_to_see_that_it_is_cleared():
    readers = {
        path.relative_to(ROOT).as_posix()
        for path in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv", "argv")
    }
    assert readers == READS_ENVIRONMENT
