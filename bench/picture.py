"""Draw what a command printed as an SVG: ``python bench/picture.py OUTPUT.txt PICTURE.svg TITLE``."""

import io
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text


def main(printed: str, picture: str, title: str) -> None:
    """Write the picture of the text in the file `printed`."""
    text = Path(printed).read_text(encoding="utf-8").rstrip()
    console = Console(record=True, width=120, file=io.StringIO())
    console.print(Text(text))
    Path(picture).write_text(console.export_svg(title=title), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
