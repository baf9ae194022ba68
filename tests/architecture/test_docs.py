"""Documents say what the code does: generated parts are fresh, and whatever the code cites or names is there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PROTOCOL = (DOCS / "PROTOCOL.md").read_text()
SOURCES = sorted(
    path
    for room in ("protocol", "enclave", "gateway", "node", "governance", "simulation")
    for path in ROOT.glob(f"{room}/crimson_*/**/*.py")
)
# RFC 9162 numbers its steps in the same way, and so do the TUF specification's sections 5.3 to 5.7.
OTHER_NUMBERS = {"log.py": r".*", "update.py": r"5\.[3-7]"}
# "step 9", "steps 12.2 to 12.4", "steps 10, 11", "# 4.3 and 4.4:", "11.4: the first request", "U1: ...", "E1 to E4"
NUMBER = r"(?:[PEFU]\d+|\d+(?:\.\d+|b)?)"
CITED = re.compile(
    rf"[Ss]teps? ({NUMBER}(?:(?: to |, | and ){NUMBER})*)"
    rf"|(?:# |\"\"\"|\. )((?:[PEFU]\d+|\d+\.\d+)(?:(?: to |, | and )(?:[PEFU]\d+|\d+\.\d+))*):"
    rf"|[Cc]hecks ({NUMBER} to {NUMBER})"
)
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def cited() -> set[str]:
    """Every step number that the code names, ranges spelled out."""
    found: set[str] = set()
    for path in SOURCES:
        others = re.compile(OTHER_NUMBERS.get(path.name, r"(?!)"))
        for match in CITED.finditer(path.read_text()):
            numbers = spelled_out(next(group for group in match.groups() if group))
            found |= {number for number in numbers if not others.fullmatch(number)}
    return found


def spelled_out(text: str) -> set[str]:
    """ "12.2 to 12.4" as 12.2, 12.3, 12.4."""
    numbers = set(re.findall(NUMBER, text))
    for first, last in re.findall(rf"({NUMBER}) to ({NUMBER})", text):
        stem, low = re.fullmatch(r"(.*?)(\d+)", first).groups()
        high = re.fullmatch(r".*?(\d+)", last).group(1)
        numbers |= {f"{stem}{number}" for number in range(int(low), int(high) + 1)}
    return numbers


def defined() -> set[str]:
    """Every step number that PROTOCOL.md defines: bold at its step, or first in a table's row."""
    bold = re.findall(rf"^(?:- )?\*\*({NUMBER})\*\*", PROTOCOL, re.MULTILINE)
    return {*bold, *re.findall(r"^\| ([EU]\d+) \|", PROTOCOL, re.MULTILINE)}


def anchor(heading: str) -> str:
    """The anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_generated_parts_are_fresh():
    done = subprocess.run(
        [sys.executable, "-m", "docs.generate", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}run: python -m docs.generate"


def test_a_stale_part_is_found(tmp_path, monkeypatch, capsys):
    from docs import generate  # noqa: PLC0415 the package lies beside the rooms

    (tmp_path / "page.md").write_text("<!-- generated: labels -->\nold\n<!-- end -->\n")
    monkeypatch.setattr(generate, "HERE", tmp_path)
    assert generate.main(["--check"]) == 1
    assert "old" in (tmp_path / "page.md").read_text()
    assert generate.main([]) == 0 and generate.main(["--check"]) == 0
    assert "crimson/1/envelope" in (tmp_path / "page.md").read_text()
    capsys.readouterr()


def test_every_cited_step_is_defined():
    numbers = cited()
    assert {"1.1", "2.6", "6b", "9.7", "12.3", "P5", "P9", "E7", "F4", "U16"} <= numbers, (
        "the pattern finds too little"
    )
    assert not numbers - defined()


def test_no_step_is_defined_twice():
    bold = re.findall(rf"^(?:- )?\*\*({NUMBER})\*\*", PROTOCOL, re.MULTILINE)
    assert len(bold) == len(set(bold))


def test_cited_chapters_exist():
    chapters = set(HEADING.findall(PROTOCOL))
    for path in SOURCES:
        for name in re.findall(r"docs/PROTOCOL\.md, \"([^\"]+)\"", path.read_text()):
            assert name in chapters, f"{path.name} cites {name}"


def test_decisions_are_short():
    decisions = sorted((DOCS / "adr").glob("*.md"))
    assert [path.name[:4] for path in decisions] == [
        f"{number:04d}" for number in range(1, len(decisions) + 1)
    ]
    for path in decisions:
        assert path.read_text().count("\n") < 70, path.name


def test_the_readmes_make_targets_exist():
    targets = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert {"demo", "test"} <= named <= targets


def test_the_readmes_test_command_is_what_ci_runs():
    section = (ROOT / "README.md").read_text().split("\n## Tests\n", 1)[1].split("\n## ", 1)[0]
    assert re.search(r"^make test$", section, re.MULTILINE)


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))], ids=lambda page: page.name
)
def test_links_lead_somewhere(page):
    for target, part in LINK.findall(page.read_text()):
        if target.startswith("http"):
            continue
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{page.name} links to {target}"
        if part:
            assert part in {anchor(heading) for heading in HEADING.findall(path.read_text())}, (
                f"{target}#{part}"
            )


@pytest.mark.parametrize("page", ["THREAT_MODEL.md", "PROTOCOL.md"])
def test_named_test_files_exist(page):
    for name in re.findall(r"`(tests/[\w/]+(?:\.py)?)`", (DOCS / page).read_text()):
        assert (ROOT / name).exists(), f"{page} names {name}"
