"""Instances of a task in a model's words: how they are taken out of a reply, and which of them are dropped.

Wang et al. 2022 (Self-Instruct, code at 0b26cca, ``prepare_for_finetuning.py``). An instance is an input and
an output. In the mode ``faithful`` a reply is split as there, where the word "Example" inside an output
splits it and "Input:" cuts it; in the mode ``modern`` such marks count only at the start of a line, there
also as a heading or in bold, and an example without an output is dropped rather than taken for one.

Differs in both: equal instances are dropped in their order, where the original's order follows a hash
that is another in every process.
"""

import re
from collections import Counter
from dataclasses import dataclass, field

from synth.instructions import Mode


def _line_of(name: str, end: str = ":") -> re.Pattern[str]:
    """A line that begins with `name`, plain, as a heading or in bold."""
    return re.compile(rf"^[ \t]*(?:#+[ \t]*)?(?:\*\*)?{name}[ \t]*(?:\*\*)?(?:{end})(?:\*\*)?", re.MULTILINE)


_EXAMPLE = {
    "modern": _line_of(r"Example[ \t]*\d+", r"[.:)]|[ \t]*$"),
    "faithful": re.compile(r"Example\s?\d*\.?"),
}
_OUTPUT = {
    "modern": _line_of(r"Output[ \t]*\d*"),
    "faithful": re.compile(r"Output\s*\d*\s*:"),
}
_INPUT = {
    "modern": _line_of(r"Input[ \t]*\d*"),
    "faithful": re.compile(r"Input\s*\d*\s*:"),
}
_LABEL = {
    "modern": _line_of("Class label"),
    "faithful": re.compile(r"Class label:"),
}
_NAME = {
    "modern": re.compile(r"^(\w+(?: \w+){0,2}):(?=\s)", re.MULTILINE),
    "faithful": re.compile(r"(\w+):"),
}

Instance = tuple[str, str]


@dataclass(slots=True)
class Instances:
    """The instances of one task, and how many were dropped for which reason.

    `conflict`: the same input came with different outputs, so that none of them can be trusted.
    """

    kept: list[Instance] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    conflict: bool = False

    def drop(self, reason: str) -> None:
        """Count an instance that is dropped for `reason`."""
        self.dropped[reason] += 1


def read(text: str, mode: Mode, *, classification: bool, cut_off: bool) -> Instances:
    """The instances in a reply that can be used: split, the last one dropped if cut off, filtered.

    Args:
        classification: the reply was asked for label first, then an input for it.
    """
    found = Instances()
    instances = (_labelled if classification else _examples)(text.strip(), mode, found)
    if cut_off and instances:
        instances.pop()
        found.drop("cut_off")
    for instance in instances:
        if reason := _reason_invalid(instance):
            found.drop(reason)
        else:
            found.kept.append(instance)
    return _agreed(found)


def _labelled(text: str, mode: Mode, found: Instances) -> list[Instance]:
    """Output first: a line with the label, then the input, if there is one."""
    blocks = [block.strip().partition("\n") for block in _LABEL[mode].split(text)[1:]]
    return [(rest.strip(), label.strip()) for label, _, rest in blocks]


def _examples(text: str, mode: Mode, found: Instances) -> list[Instance]:
    """Input first: examples with an output each; or one output without any."""
    blocks = _EXAMPLE[mode].split(text)
    if len(blocks) == 1:
        blocks = blocks if _OUTPUT[mode].search(text) else []
    if mode == "faithful":
        return [_parted(block.strip(), mode) for block in blocks if block.strip()]
    instances = []
    for number, block in enumerate(blocks):
        if outputs := len(_OUTPUT[mode].findall(block)):
            instances.append(_parted(block.strip(), mode))
            found.dropped["beyond_output"] += outputs - 1
        elif number:  # before the first example a chat may say anything
            found.drop("no_output")
    return instances


def _parted(block: str, mode: Mode) -> Instance:
    """The input and the output of an example; what comes after another "Input:" or "Output:" is cut."""
    before, *after = _OUTPUT[mode].split(block)
    input_, output = (before, after[0]) if after else ("", block)
    output = _INPUT[mode].split(output)[0]
    first = _INPUT[mode].match(input_.strip())
    return input_.strip()[first.end() if first else 0 :].strip(), output.strip()


def _reason_invalid(instance: Instance) -> str | None:
    input_, output = instance
    if input_ == output:
        return "same_input_output"
    if not output:
        return "empty_output"
    return "ends_with_colon" if input_.endswith(":") or output.endswith(":") else None


def _agreed(found: Instances) -> Instances:
    """`found` without any if an input has several outputs; else each instance once, in order.

    Without an input there may be several outputs.
    """
    distinct = list(dict.fromkeys(found.kept))
    inputs = [input_ for input_, _ in distinct if input_]
    if len(inputs) > len(set(inputs)):
        found.dropped["conflicting_outputs"] += len(found.kept)
        found.kept, found.conflict = [], True
    else:
        found.dropped["duplicate"] += len(found.kept) - len(distinct)
        found.kept = distinct
    found.dropped = +found.dropped
    return found


def up_to_line(text: str, *marks: str) -> str:
    """`text` up to the first line that begins with one of `marks`, as if these had been stop sequences.

    A first line that only says the last of them, the task, again is no end.
    """
    text = re.sub(rf"\A\s*{re.escape(marks[-1])}.*\n?", "", text)
    end = re.search(
        rf"^[ \t]*(?:#+[ \t]*)?(?:\*\*)?(?:{'|'.join(map(re.escape, marks))})", text, re.MULTILINE
    )
    return text[: end.start()] if end else text


def without_field_name(input_: str, mode: Mode) -> str:
    """`input_` without the name before its colon, if it has just one; and without empty lines.

    In the mode ``faithful`` a name is any word before a colon, and what goes is all before the first colon:
    "Meet at 12:30" becomes "30". In the mode ``modern`` it is up to three words that begin a line, and
    goes only where the input begins with it.
    """
    names = set(_NAME[mode].findall(input_))
    if len(names) == 1 and (mode == "faithful" or input_.startswith(f"{names.pop()}:")):
        input_ = input_.split(":", 1)[1].strip()
    return input_.replace("\n\n", "\n")
