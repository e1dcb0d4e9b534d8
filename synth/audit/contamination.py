"""Whether what is trained on holds what is measured on: held-out prompts among the training prompts.

Counted by the rule of the filter `decontaminate`, which is Tulu 3's (Lambert et al. 2024, arXiv:2411.15124,
section 3.2): a prompt holds a held-out one if it matches more than half of its words, in runs of 8. Only
counted here: it is that filter that drops.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from synth.filters.curate import prompts_in
from synth.filters.decontaminate import HeldOut
from synth.rows import Message, digest
from synth.store.version import Version


@dataclass(frozen=True, slots=True)
class Contamination:
    """`found` of `prompts` different training prompts hold most of one of `held_out` prompts."""

    found: int
    prompts: int
    held_out: int


def contamination(version: Version, views: Iterable[str], held_out: Path) -> Contamination:
    """How many prompts in the train splits of `views` hold a prompt of the file `held_out`.

    Raises:
        UserError: a line of that file has no prompt.
    """
    texts = prompts_in(held_out)
    known, seen, found = HeldOut(texts), set[str](), 0
    for view in dict.fromkeys(views):
        for row in version.rows(view):
            if not isinstance(row.get("prompt"), list):
                continue  # a view of one's own may have other columns
            prompt = [Message(turn["role"], turn["content"]) for turn in row["prompt"]]
            name = digest([[message.role, message.content] for message in prompt])
            if name not in seen:
                seen.add(name)
                found += known.is_held_by(prompt)
    return Contamination(found, len(seen), len(texts))
