"""Rate: every answer gets points from 1 to 5 in four aspects, beside the others and with reasons.

Cui et al. 2023, "UltraFeedback" (arXiv:2310.01377), section 2 and appendix, and its released code: one call
an aspect (instruction following, truthfulness, honesty, helpfulness), all answers of a prompt in it, in an
order drawn for that call; a rating and a rationale an answer, and for truthfulness and helpfulness the types
of hallucination or of informativeness; honesty may be not applicable; what is known to be right or wrong is
shown for truthfulness. Then, as a call of its own an answer, a critique and an overall score from 1 to 10,
with the system message that the answer was written under as a note to the prompt.

Differs: JSON instead of lines to be taken apart, so that an overall 1 is never a 10 (there it was in 2,628
answers); two asks a call instead of eleven; equal texts are shown once and rated alike; what is known is
shown for helpfulness too, as the authors' templates have it and their script has not; and where an aspect
does not apply there is no value, which no mean can take for a number.
"""

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final, Literal

from pydantic import Field

from synth.errors import Filtered
from synth.lineup import MOST, Lineup, lineups, same_texts
from synth.rows import Judgment, Message, Row
from synth.step import Bench, Each, ModelName
from synth.structured import closed, tell_json

Aspect = Literal["instruction_following", "truthfulness", "honesty", "helpfulness"]

ASPECTS: Final[tuple[Aspect, ...]] = ("instruction_following", "truthfulness", "honesty", "helpfulness")
# What an answer can be wrong or good in, for the aspects in which the authors' judge names it.
TYPES: Final[Mapping[str, list[str]]] = {
    "truthfulness": ["against_the_world", "against_the_instruction", "against_itself"],
    "helpfulness": ["clear_and_relevant", "useful_and_complete", "brief_without_repetition"],
}
SCALE: Final = (1.0, 5.0)
OVERALL: Final = (1.0, 10.0)
NOT_APPLICABLE: Final = "not applicable"
CRITIQUE: Final = closed(critique={"type": "string"}, overall_score={"enum": list(range(1, 11))})


class Rate(Each):
    """Rate all answers of a row, aspect by aspect.

    Needs: a row with an answer. Gives: the same row with a raw judgement an answer and aspect, in points from
    1 to 5; with `critique` another an answer as a whole, from 1 to 10; and as facts the order shown and the
    types named. Costs: `samples` calls an aspect; with `critique` 1 more an answer; another for each whose
    reply cannot be read.
    """

    model: ModelName
    aspects: list[Aspect] = Field(list(ASPECTS), min_length=1)
    critique: bool = Field(False, description="also ask for a critique and an overall score of each answer")
    knowledge: list[str] = Field(
        default_factory=list,
        description="columns of the source that say what is right or wrong, such as correct_answers; "
        "shown where truthfulness or helpfulness is rated",
    )
    samples: int = Field(
        1, ge=1, description="how often each aspect is asked, each time in another order while there is one"
    )
    temperature: float = Field(0.0, ge=0)
    top_p: float | None = Field(
        None, gt=0, le=1, description="the source has 0.6, which changes nothing at temperature 0"
    )
    max_tokens: int = Field(1024, ge=1)

    async def each(self, row: Row, bench: Bench) -> AsyncGenerator[Row]:
        """Yield `row` with its ratings."""
        groups = same_texts(row)
        if not groups:
            raise Filtered("no_answer")
        if len(groups) > MOST:
            raise Filtered("too_many_answers")
        rated = await bench.ask_all(
            [
                self._rated(row, line, aspect, sample, bench)
                for aspect in dict.fromkeys(self.aspects)
                for sample, line in enumerate(lineups(row, bench.chance(f"{row.id}:{aspect}"), self.samples))
            ]
        )
        row = row.noted(bench.step, asked=[note for _, note in rated])
        row = row.judged(*(judgment for judgments, _ in rated for judgment in judgments))
        whole = range(len(row.answers)) if self.critique else ()
        yield row.judged(*await bench.ask_all([self._criticised(row, number, bench) for number in whole]))

    async def _rated(
        self, row: Row, line: Lineup, aspect: Aspect, sample: int, bench: Bench
    ) -> tuple[list[Judgment], dict[str, Any]]:
        """The ratings of all answers in one aspect; and the order shown, with the types named."""
        known = self._known(row) if aspect in TYPES else ""
        told = await tell_json(
            bench.model(self.model),
            [
                Message(
                    "user",
                    bench.prompt(f"rate/{aspect}.md").fill(
                        conversation=row.prompt, answers=line, known=known
                    ),
                )
            ],
            ratings(line.letters, aspect),
            sample=sample,
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=self.max_tokens,
        )
        said: Mapping[int, Any] = {} if told.error else line.by_answer(told.value)
        about = {"calls": told.calls, "aspect": aspect, "sample": sample}
        judgments = [self._judgment(bench, number, said.get(number), **about) for number in line.candidates]
        types = {str(number): _named(each["types"]) for number, each in said.items() if "types" in each}
        return judgments, {"aspect": aspect, "sample": sample, "order": line.order, "types": types}

    def _judgment(self, bench: Bench, number: int, said: Mapping[str, Any] | None, **about: Any) -> Judgment:
        """The raw judgement of one answer in one aspect; `said` is None if nothing could be read."""
        reason = "no_rating" if not said else "not_applicable" if said["rating"] == NOT_APPLICABLE else None
        return Judgment(
            bench.step,
            "score",
            (number,),
            (number,),
            float(said["rating"]) if said and not reason else None,
            unreadable=reason,
            bounds=SCALE,
            said=said["rationale"] if said else "",
            model=self.model,
            **about,
        )

    async def _criticised(self, row: Row, number: int, bench: Bench) -> Judgment:
        """A critique of one answer by itself, and its overall score."""
        answer = row.answers[number]
        systems = row.facts.get(answer.step, {}).get("systems", {})
        blanks = {"conversation": row.prompt, "answer": answer.text, "note": systems.get(answer.model, "")}
        told = await tell_json(
            bench.model(self.model),
            [Message("user", bench.prompt("rate/critique.md").fill(**blanks))],
            CRITIQUE,
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=self.max_tokens,
        )
        return Judgment(
            bench.step,
            "score",
            (number,),
            (number,),
            None if told.error else float(told.value["overall_score"]),
            unreadable="no_score" if told.error else None,
            calls=told.calls,
            bounds=OVERALL,
            said="" if told.error else told.value["critique"],
            model=self.model,
        )

    def _known(self, row: Row) -> str:
        """What the row's source knows to be right or wrong, a line a column."""
        found = {name: row.facts[name] for name in self.knowledge if row.facts.get(name)}
        return "\n".join(f"{name.replace('_', ' ')}: {_text(value)}" for name, value in found.items())

    def calls(self, rows: float) -> float:
        """`samples` an aspect; 4 answers a row are assumed for the critiques."""
        return rows * (len(set(self.aspects)) * self.samples + 4 * self.critique)


def ratings(letters: str, aspect: Aspect) -> Mapping[str, Any]:
    """JSON Schema of what is said of each letter in `aspect`."""
    allowed = [*range(1, 6), *([NOT_APPLICABLE] if aspect == "honesty" else [])]
    fields: dict[str, Any] = {"rating": {"enum": allowed}, "rationale": {"type": "string"}}
    if aspect in TYPES:
        # Not a list of names, which a small model never ends.
        fields["types"] = closed(**{name: {"type": "boolean"} for name in TYPES[aspect]})
    return closed(**dict.fromkeys(letters, closed(**fields)))


def _named(types: Mapping[str, bool]) -> list[str]:
    return [name for name, found in types.items() if found]


def _text(value: Any) -> str:
    return "; ".join(map(str, value)) if isinstance(value, list) else str(value)
