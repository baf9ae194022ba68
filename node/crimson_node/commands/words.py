"""Fingerprints on a terminal, in lines that can be read out."""

from collections.abc import Sequence

from rich.console import Console

WORDS_A_LINE = 5


def word_lines(words: Sequence[str]) -> list[str]:
    """A fingerprint in lines of five words."""
    rows = [words[at : at + WORDS_A_LINE] for at in range(0, len(words), WORDS_A_LINE)]
    return ["  " + " ".join(f"{word:<8}" for word in row).rstrip() for row in rows]


def plain_console(*, stderr: bool = False) -> Console:
    """A console that reads no markup: a peer may have had a hand in the text."""
    return Console(stderr=stderr, soft_wrap=True, highlight=False, markup=False)
