"""Draw what a command printed as an SVG: ``python bench/picture.py OUTPUT.txt PICTURE.svg TITLE``."""

import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text


def main(printed: str, picture: str, title: str) -> None:
    """Write the picture of the text in the file `printed`."""
    text = Path(printed).read_text(encoding="utf-8").rstrip()
    width = max(map(len, text.splitlines()))
    console = Console(record=True, width=width, file=io.StringIO())
    console.print(Text(text))
    drawn = re.sub(r"@font-face \{.*?\}", "", console.export_svg(title=title), flags=re.DOTALL)
    Path(picture).write_text(drawn, encoding="utf-8")  # no font is fetched from anywhere


if __name__ == "__main__":
    main(*sys.argv[1:])
