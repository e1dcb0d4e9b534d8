"""What the instructions of a version are like: the statistics table of the Self-Instruct paper, and more.

Wang et al. 2022, "Self-Instruct" (arXiv:2212.10560), section 3: how many instructions, classifications,
instances and instances without an input there are, and their mean words; root verbs and their direct objects;
how near each instruction is to a seed task. Yield over time is not in the paper; it shows whether a model
runs out of novelty.

An instruction is the first turn of a row's user, and counts once however many instances it has. Words are
what white space parts. What the rows of a version know nothing of is left out, and so are seed tasks that
were read in, since the table is about what a model made; they are counted.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from synth import verbs
from synth.rows import Row
from synth.store.counters import Frequent, Histogram, Mean, Timeline

VERBS, NOUNS = 20, 4
LOOKED_AT = 10_000  # instructions whose verbs are found; a tagger takes half a millisecond for each
PARTS = ("instruction", "input", "output")


@dataclass(slots=True)
class Grown:
    """What one growing step came to: how near the seed tasks, and how much of which requests."""

    nearest_seed: Histogram = field(default_factory=Histogram)
    requests: Timeline = field(default_factory=Timeline)

    def as_json(self, note: str) -> dict[str, Any]:
        """The numbers; `note` is what the step says of its end, "" if it made all that it was asked for."""
        tenths = self.requests.tenths()
        return {
            "nearest_seed": self.nearest_seed.bins,
            "requests": self.requests.requests,
            "admitted": sum(admitted for _, admitted in tenths),
            "admitted_per_request": [
                admitted / requests if requests else None for requests, admitted in tenths
            ],
            "ended": note,
        }


@dataclass(slots=True)
class VerbNouns:
    """Root verbs and their direct objects."""

    instructions: int = 0
    with_both: int = 0
    verbs: Frequent[str] = field(default_factory=Frequent)
    pairs: Frequent[tuple[str, str]] = field(default_factory=Frequent)

    def add(self, instruction: str) -> None:
        """Count the verb and the noun of `instruction`, if it has both and is one of the first so many.

        Rows come in the order of their ids, which is that of digests, so the first are drawn by lot.
        """
        if self.instructions == LOOKED_AT:
            return
        self.instructions += 1
        verb, noun = verbs.verb_noun(instruction)
        if verb is not None and noun is not None:
            self.with_both += 1
            self.verbs.add(verb)
            self.pairs.add((verb, noun))

    def as_json(self) -> dict[str, Any]:
        """The commonest verbs, each with its commonest nouns, and the share of instructions with these."""
        nouns: dict[str, Counter[str]] = {verb: Counter() for verb, _ in self.verbs.top(VERBS)}
        for (verb, noun), count in self.pairs.counts.items():
            if verb in nouns:
                nouns[verb][noun] = count
        top = {verb: sorted(found.items(), key=_commonest)[:NOUNS] for verb, found in nouns.items()}
        covered = sum(count for found in top.values() for _, count in found)
        return {
            "looked_at": self.instructions,
            "with_both": self.with_both,
            "covered": covered / self.instructions if self.instructions else None,
            "counts_too_low_by_at_most": max(self.verbs.lost, self.pairs.lost),
            "top": [
                {"verb": verb, "count": count, "nouns": dict(top[verb])}
                for verb, count in self.verbs.top(VERBS)
            ],
        }


def _commonest(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


@dataclass(slots=True)
class Instructions:
    """Counts over all instructions and instances."""

    seed_tasks: int = 0
    words: Mean = field(default_factory=Mean)
    classified: Counter[bool] = field(default_factory=Counter)
    input_words: Mean = field(default_factory=Mean)
    output_words: Mean = field(default_factory=Mean)
    grown: dict[str, Grown] = field(default_factory=dict)
    verb_nouns: VerbNouns | None = field(default_factory=lambda: VerbNouns() if verbs.tagger() else None)

    def add(self, row: Row, *, is_first: bool) -> None:
        """Count `row` as an instance, and, if it is the first one of its instruction, as an instruction."""
        known = [facts for facts in row.facts.values() if isinstance(facts, Mapping)]
        if any(facts.get("is_seed") for facts in known):
            self.seed_tasks += 1
            return
        whole = [facts for facts in known if all(isinstance(facts.get(name), str) for name in PARTS)]
        if whole:
            self._instance(whole[-1])
        if is_first:
            self._instruction(whole[-1]["instruction"] if whole else _asked(row), row, known)

    def _instance(self, parts: Mapping[str, str]) -> None:
        self.output_words.add(len(parts["output"].split()))
        if parts["input"].strip():
            self.input_words.add(len(parts["input"].split()))

    def _instruction(self, text: str, row: Row, known: list[Mapping[str, Any]]) -> None:
        self.words.add(len(text.split()))
        said = [facts["is_classification"] for facts in known if "is_classification" in facts]
        if said:
            self.classified[bool(said[-1])] += 1
        for step, request, similarity in _growth(row):
            grown = self.grown.setdefault(step, Grown())
            grown.nearest_seed.add(similarity)
            grown.requests.add(request)
        if self.verb_nouns is not None:
            self.verb_nouns.add(text)

    def as_json(self, notes: Mapping[str, str]) -> dict[str, Any]:
        """The table. `notes`: what each step had to say about its result."""
        known: dict[str, Any] = {"count": self.words.count, "mean_words": self.words.value}
        if self.seed_tasks:
            known["seed_tasks"] = self.seed_tasks
        if self.classified:
            known |= {"classification": self.classified[True], "other": self.classified[False]}
        if self.output_words.count:
            known["instances"] = {
                "count": self.output_words.count,
                "empty_input": self.output_words.count - self.input_words.count,
                "mean_words_input": self.input_words.value,
                "mean_words_output": self.output_words.value,
            }
        known["verb_nouns"] = None if self.verb_nouns is None else self.verb_nouns.as_json()
        grown = sorted(self.grown.items())
        known["grown"] = {step: each.as_json(notes.get(step, "")) for step, each in grown}
        return known


def _asked(row: Row) -> str:
    """The first turn of the user."""
    return next((message.content for message in row.prompt if message.role == "user"), "")


def _growth(row: Row) -> Iterator[tuple[str, int, float]]:
    """The step that grew the instruction of `row`, in which request, and how near it is to a seed task."""
    for step, facts in row.facts.items():
        if isinstance(facts, Mapping) and isinstance(facts.get("request"), int) and "nearest_seed" in facts:
            yield step, facts["request"], float(facts["nearest_seed"])
