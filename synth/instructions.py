"""New tasks in a model's words: how they are taken out of a reply, and why one of them is not kept.

Wang et al. 2022 (Self-Instruct, code at 0b26cca, ``post_process_gpt3_response``) and Stanford Alpaca (code at
761dc5b, the function of the same name). In the mode ``faithful`` a reply is read as they read it; in the mode
``modern`` marks count only at the start of a line, an instruction keeps its case, and of a reply that was
cut off only the last task is dropped. Nothing goes in silence: what is no task comes out with its reason.
"""

import re
import string
from dataclasses import dataclass
from typing import Literal

Mode = Literal["modern", "faithful"]

FEWEST_WORDS, MOST_WORDS = 4, 150
UNFIT = (
    *("image", "images", "graph", "graphs", "picture", "pictures", "file", "files", "map", "maps"),
    *("draw", "plot", "go to"),
)
UNFIT_ALPACA = (*UNFIT, "video", "audio", "music", "flowchart", "diagram")

_ITEM = re.compile(r"(?:^|\n)[ \t]*(?:\*\*)?(\d+)[ \t]?[.)](?:\*\*)?[ \t]+")
_ITEM_FAITHFUL = re.compile(r"\n(\d+)\s?\. ")
_NUMBER_ALONE = re.compile(r"\n[ \t]*(?:\*\*)?\d+[ \t]?[.)]?(?:\*\*)?[ \t]*\Z")
_BLOCK = re.compile(r"^[ \t]*(?:#{3,}[ \t]*)?(?:\*\*)?(\d+)\.[ \t]+Instruction(?:\*\*)?:", re.MULTILINE)
_SEPARATOR = re.compile(r"^[ \t]*#{3,}[ \t]*$", re.MULTILINE)
_NO_INPUT = re.compile(
    r"[<\[(]?\s*(?:no[ _-]?input(?:\s+(?:is\s+)?(?:needed|required|necessary))?|n\s*/\s*a|none"
    r"|not applicable)\s*[>\])]?\.?",
    re.IGNORECASE,
)
FIELDS = ["Instruction", "Input", "Output"]


@dataclass(frozen=True, slots=True)
class Form:
    """What must be known of a reply to read it.

    Attributes:
        goes_on: it goes on with a list whose last number was shown, so that its first words are a task. In a
            chat they are a preamble.
        cut_off: the model did not end it itself.
        first: the number of the first new task.
        end: the number that ends the list if the model was given no stop sequence, else None.
    """

    goes_on: bool
    cut_off: bool
    first: int
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a reply offers as a task. `reason` says why its form alone makes it none."""

    instruction: str
    input: str = ""
    output: str = ""
    reason: str | None = None

    @property
    def asks(self) -> str:
        """What a model that is to do the task is asked: the instruction, then the input, if it has one."""
        return "\n\n".join(filter(None, (self.instruction, self.input)))


def listed(text: str, form: Form, mode: Mode) -> list[Candidate]:
    """The instructions of a numbered list, white space collapsed."""
    mark = _ITEM if mode == "modern" else _ITEM_FAITHFUL
    items, ended = _items(text if form.goes_on else f"\n{text}", mark, form)
    if mode == "faithful" and form.cut_off and not ended:  # with its stop the original would have ended there
        return [Candidate(text, reason="cut_off")]
    found = [_instruction(item, mode) for item in items]
    if form.cut_off and found and not ended:
        found[-1] = Candidate(found[-1].instruction, reason="cut_off")
    return found


def _items(text: str, mark: re.Pattern[str], form: Form) -> tuple[list[str], bool]:
    """The texts between the numbers, and whether the list was ended by its last number."""
    marks = list(mark.finditer(text))
    ends = [
        place for place, found in enumerate(marks) if form.end is not None and _number(found[1]) == form.end
    ]
    marks, rest = (marks[: ends[0]], marks[ends[0]].start()) if ends else (marks, len(text))
    starts = [0, *(found.end() for found in marks)]
    stops = [*(found.start() for found in marks), rest]
    items = [text[start:stop] for start, stop in zip(starts, stops, strict=True)]
    return items[0 if form.goes_on else 1 :], bool(ends)


def _number(digits: str) -> int:
    """The number of an item. A model that repeats itself writes more digits than Python reads."""
    return int(digits[:9])


def _instruction(item: str, mode: Mode) -> Candidate:
    # What comes after an empty line is no part of the item but what a chat says at its end.
    text = item.strip().split("\n\n")[0]
    text = " ".join((_undressed(text) if mode == "modern" else text).split())
    text = text.capitalize() if mode == "faithful" else text
    return Candidate(text, reason=None if text else "empty")


def _undressed(text: str) -> str:
    """`text` without the number of an item that never came, and without the bold around all of it."""
    text = _NUMBER_ALONE.sub("", text)
    whole = text.count("**") == 2 and text.startswith("**") and text.endswith("**")
    return text.replace("**", "") if whole or text.count("**") == 1 else text


def blocks(text: str, form: Form, mode: Mode) -> list[Candidate]:
    """The tasks of a list of blocks, ``N. Instruction:``, ``N. Input:`` and ``N. Output:``, apart by ``###``.

    A block must split into exactly seven fields: what comes before, and three names with what follows each.
    """
    if form.goes_on:
        text = f"{form.first}. Instruction:{text}"
    return _blocks(text, form) if mode == "modern" else _blocks_faithful(text, form)


def _blocks(text: str, form: Form) -> list[Candidate]:
    """Blocks by their own numbers, which stand at the start of a line."""
    starts = list(_BLOCK.finditer(text))
    ends = [start.start() for start in starts[1:]] + [len(text)] * bool(starts)
    found = []
    for place, (start, end) in enumerate(zip(starts, ends, strict=True)):
        if form.end is not None and _number(start[1]) >= form.end:
            break
        block, *separator = _SEPARATOR.split(text[start.start(1) : end], maxsplit=1)
        if form.cut_off and place == len(starts) - 1 and not separator:
            found.append(Candidate(block.strip(), reason="cut_off"))
        else:
            found.append(_task(block, rf"(?m)^[ \t]*(?:\*\*)?{start[1]}\.[ \t]+", modern=True))
    return found


def _blocks_faithful(text: str, form: Form) -> list[Candidate]:
    """Blocks as the original counts them: the n-th must carry the n-th number."""
    begin = re.search(rf"{form.first}\.\s+Instruction:", text)
    pieces = text[begin.start() :].split("###") if begin else []
    found = []
    for number, piece in enumerate(pieces, form.first):
        if form.end is not None and number >= form.end:
            break
        if form.cut_off and number == form.first + len(pieces) - 1:
            found.append(Candidate(piece.strip(), reason="cut_off"))
        elif piece.strip():  # what a stop sequence leaves behind the last separator is no block
            found.append(_task(piece, rf"{number}\.\s+", modern=False))
    return found


def _task(block: str, number: str, *, modern: bool) -> Candidate:
    """The task in a block whose fields begin with the pattern `number` and a name."""
    colon = r"(?:\*\*)?:(?:\*\*)?" if modern else ":"
    fields = re.split(rf"{number}(Instruction|Input|Output){colon}", block)
    if len(fields) != 7 or (modern and fields[1::2] != FIELDS):
        return Candidate(block.strip(), reason="not_seven_fields")
    instruction, input_, output = (field.strip() for field in fields[2::2])
    none = _NO_INPUT.fullmatch(input_) if modern else input_.lower() == "<noinput>"
    reason = "empty_output" if modern and not output else None
    return Candidate(instruction, "" if none else input_, output, reason)


def reason_unfit(
    text: str, unfit: tuple[str, ...] = UNFIT, *, any_case: bool = True, ascii_only: bool = True
) -> str | None:
    """Why `text` is no instruction for a text-only model; None if it may be one. In the originals' order.

    Args:
        unfit: words that name what such a model cannot handle; each is a reason of its own.
        any_case: drop what begins with "Write a program" in any casing.
        ascii_only: drop what does not begin in ASCII.
    """
    words = len(text.split())
    if words < FEWEST_WORDS:
        return "too_short" if words else "empty"
    if words > MOST_WORDS:
        return "too_long"
    for word in unfit:
        if re.search(rf"\b{word}\b", text, re.IGNORECASE):
            return f"says_{word.replace(' ', '_')}"
    if (text.lower() if any_case else text).startswith("write a program" if any_case else "Write a program"):
        return "write_a_program"
    return _reason_of_first(text[0], ascii_only=ascii_only)


def _reason_of_first(first: str, *, ascii_only: bool) -> str | None:
    if first in string.punctuation:
        return "starts_with_punctuation"
    return "not_ascii" if ascii_only and not first.isascii() else None
