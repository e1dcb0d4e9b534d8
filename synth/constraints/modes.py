"""Strict and loose: whether a reply follows a constraint as it stands, or in one of eight variants.

IFEval (arXiv:2311.07911), section 2.3: the variants forgive what models add around a reply, Markdown
emphasis, an opening line and a closing line. A reply that is blank follows nothing, and nor does a blank
variant.
"""

from collections.abc import Iterable
from typing import Literal

from synth.constraints import Constraint

Mode = Literal["strict", "loose"]


def follows(constraint: Constraint, text: str, mode: Mode = "strict") -> bool:
    """Whether `text` follows `constraint`. What is so strictly is so loosely."""
    tried = variants(text) if mode == "loose" else (text,)
    return any(variant.strip() and constraint.holds(variant) for variant in tried)


def tells_apart(constraints: Iterable[Constraint], chosen: str, rejected: str, mode: Mode = "strict") -> bool:
    """Whether `chosen` follows all of `constraints` and `rejected` does not: only then are they a pair.

    Tulu 3 (arXiv:2411.15124), section 4.2, answers a prompt with one constraint relaxed, and takes that
    as the rejected answer to the prompt itself, whether or not it happens to follow the constraint after all.
    """
    every = list(constraints)
    return all(follows(one, chosen, mode) for one in every) and not all(
        follows(one, rejected, mode) for one in every
    )


def variants(text: str) -> tuple[str, ...]:
    """The eight: {as is, asterisks removed} x {all lines, without the first, the last, both}."""
    lines = text.split("\n")
    cut = (text, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1])))
    return (*cut, *(part.replace("*", "") for part in cut))
