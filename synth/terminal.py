"""Text on a terminal: as it is, without what a terminal would obey."""

import os
import sys

from rich.console import Console
from rich.text import Text

WIDTH = 300


def plain(text: str, width: int = WIDTH) -> str:
    """`text` on one line, at most `width` characters, with nothing that a terminal obeys."""
    line = " ".join(text.split())
    shown = "".join(character if character.isprintable() else "�" for character in line)
    return shown if len(shown) <= width else f"{shown[: width - 1]}…"


def lines(text: str) -> list[str]:
    """The lines of `text`, as long as they are, with nothing that a terminal obeys."""
    return [
        "".join(character if character.isprintable() else "�" for character in line.expandtabs(4))
        for line in text.replace("\r\n", "\n").split("\n")
    ]


def console() -> Console:
    """The console: as wide as the terminal, or of a fixed width where there is none."""
    return Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 120)


def say(console: Console, text: str = "", style: str = "") -> None:
    """Print `text` as it is: no markup in it is read, and no line is broken, so that it can be copied."""
    console.print(Text(text, style=style), soft_wrap=True)


def tell(console: Console, text: str) -> None:
    """Print prose, broken between words."""
    console.print(Text(text))
