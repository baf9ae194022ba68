"""A person at a terminal: fingerprints that can be read out, and questions."""

import sys
from collections.abc import Sequence

import typer
from rich.console import Console

WORDS_A_LINE = 5


def word_lines(words: Sequence[str]) -> list[str]:
    """A fingerprint in lines of five words."""
    rows = [words[at : at + WORDS_A_LINE] for at in range(0, len(words), WORDS_A_LINE)]
    return ["  " + " ".join(f"{word:<8}" for word in row).rstrip() for row in rows]


def plain_console(*, stderr: bool = False) -> Console:
    """A console that reads no markup: a peer may have had a hand in the text."""
    return Console(stderr=stderr, soft_wrap=True, highlight=False, markup=False)


def can_ask() -> bool:
    """Whether somebody sits there who can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def says_yes(question: str) -> bool:
    """A yes or no. Raises KeyboardInterrupt where the person breaks off."""
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        raise KeyboardInterrupt from None


def answer_to(question: str) -> str:
    """A line of text. Raises KeyboardInterrupt where the person breaks off."""
    try:
        return str(typer.prompt(question, err=True))
    except typer.Abort:
        raise KeyboardInterrupt from None
