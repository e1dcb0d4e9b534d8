"""Text on a terminal: as it is, without what a terminal would obey."""

from rich.console import Console
from rich.text import Text

WIDTH = 300


def plain(text: str, width: int = WIDTH) -> str:
    """`text` on one line, at most `width` characters, with nothing that a terminal obeys."""
    line = " ".join(text.split())
    shown = "".join(character if character.isprintable() else "�" for character in line)
    return shown if len(shown) <= width else f"{shown[: width - 1]}…"


def say(console: Console, text: str = "", style: str = "") -> None:
    """Print `text` as it is: no markup in it is read, and no line is broken, so that it can be copied."""
    console.print(Text(text, style=style), soft_wrap=True)


def tell(console: Console, text: str) -> None:
    """Print prose, broken between words."""
    console.print(Text(text))
