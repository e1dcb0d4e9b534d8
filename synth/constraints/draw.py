"""Draw: constraints by chance, and a prompt that asks for them. Makes what `verify` checks.

Types are drawn one after another, all alike, and one that clashes with those drawn before is passed over.
Numbers lie in ranges that can be met together, and no word is used twice, so that a reply to every drawn set
exists.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from synth.constraints import Constraint
from synth.constraints.catalogue import TYPES, read
from synth.constraints.conflicts import clash
from synth.constraints.language import LANGUAGES

# None holds a letter of RARE_LETTERS, so that a word which must be there allows few of those.
_WORDS = """
    balance bridge candle careful circle comfort corner distant early effort evening favour garden gather
    gentle habit harbour history imagine kitchen ladder letter market measure middle moment morning mountain
    narrow number ordinary patient pattern picture pocket promise reason river season second shelter signal
    simple station steady story summer table thread travel valley village weather window winter
"""
WORDS = tuple(_WORDS.split())
ENDINGS = (
    "That is all for now.",
    "The rest is up to you.",
    "I hope this is of use.",
    "Tell me how it went.",
)
SECTIONS = ("Section", "Part", "Chapter")
COMMON_LETTERS, RARE_LETTERS = "aeinorst", "jqxz"

Dice = random.Random
Draw = Callable[[Dice, list[str], str], dict[str, Any]]


def draw(prompt: str, count: int, dice: Dice) -> list[Constraint]:
    """At most `count` constraints on a reply to `prompt`; fewer if no further type goes with those drawn.

    Raises:
        UserError: one of them cannot be checked on this machine.
    """
    words = dice.sample(WORDS, len(WORDS))
    drawn: list[Constraint] = []
    for id_ in dice.sample(list(TYPES), len(TYPES)):
        if len(drawn) == count:
            break
        if not any(clash(id_, other.id) for other in drawn):
            drawn.append(read(id_, _PARAMETERS[id_](dice, words, prompt)))
    return drawn


def asked(prompt: str, constraints: Sequence[Constraint]) -> str:
    """`prompt` and what is demanded of the reply, a line each."""
    return "\n".join([prompt, "", *(constraint.words() for constraint in constraints)])


def relaxed(constraints: Sequence[Constraint]) -> Iterator[list[Constraint]]:
    """`constraints` without one of them, each in turn (Tulu 3, arXiv:2411.15124, relaxes one)."""
    for number in range(len(constraints)):
        yield [*constraints[:number], *constraints[number + 1 :]]


def _nothing(dice: Dice, words: list[str], prompt: str) -> dict[str, Any]:
    return {}


def _frequency(dice: Dice, words: list[str], prompt: str) -> dict[str, Any]:
    least = dice.random() < 0.5
    return {
        "keyword": words.pop(),
        "frequency": dice.randint(2, 3) if least else dice.randint(2, 5),
        "relation": "at least" if least else "less than",
    }


def _letters(dice: Dice, words: list[str], prompt: str) -> dict[str, Any]:
    least = dice.random() < 0.5
    return {
        "letter": dice.choice(COMMON_LETTERS if least else RARE_LETTERS),
        "let_frequency": dice.randint(5, 20) if least else dice.randint(2, 6),
        "let_relation": "at least" if least else "less than",
    }


def _counted(name: str, at_least: tuple[int, int], less_than: tuple[int, int], relation: str) -> Draw:
    """Draws a number called `name` from one range or the other, and the relation that it stands in."""

    def drawn(dice: Dice, words: list[str], prompt: str) -> dict[str, Any]:
        least = dice.random() < 0.5
        number = dice.randint(*(at_least if least else less_than))
        return {name: number, relation: "at least" if least else "less than"}

    return drawn


def _number(name: str, least: int, most: int) -> Draw:
    return lambda dice, words, prompt: {name: dice.randint(least, most)}


def _first_word(dice: Dice, words: list[str], prompt: str) -> dict[str, Any]:
    paragraphs = dice.randint(2, 5)
    nth = dice.randint(1, paragraphs)
    return {"num_paragraphs": paragraphs, "nth_paragraph": nth, "first_word": words.pop()}


_PARAMETERS: dict[str, Draw] = dict.fromkeys(TYPES, _nothing) | {
    "keywords:existence": lambda dice, words, prompt: {
        "keywords": [words.pop() for _ in range(dice.randint(1, 3))]
    },
    "keywords:frequency": _frequency,
    "keywords:forbidden_words": lambda dice, words, prompt: {
        "forbidden_words": [words.pop() for _ in range(dice.randint(1, 3))]
    },
    "keywords:letter_frequency": _letters,
    "language:response_language": lambda dice, words, prompt: {
        "language": dice.choice(sorted(LANGUAGES.keys() - {"en"}))
    },
    "length_constraints:number_sentences": _counted("num_sentences", (3, 8), (20, 30), "relation"),
    "length_constraints:number_words": _counted("num_words", (50, 200), (300, 500), "relation"),
    "length_constraints:number_paragraphs": _number("num_paragraphs", 2, 5),
    "length_constraints:nth_paragraph_first_word": _first_word,
    "detectable_content:number_placeholders": _number("num_placeholders", 1, 4),
    "detectable_content:postscript": lambda dice, words, prompt: {
        "postscript_marker": dice.choice(["P.S.", "P.P.S"])
    },
    "detectable_format:number_bullet_lists": _number("num_bullets", 2, 5),
    "detectable_format:number_highlighted_sections": _number("num_highlights", 1, 4),
    "detectable_format:multiple_sections": lambda dice, words, prompt: {
        "section_spliter": dice.choice(SECTIONS),
        "num_sections": dice.randint(2, 5),
    },
    "combination:repeat_prompt": lambda dice, words, prompt: {"prompt_to_repeat": prompt},
    "startend:end_checker": lambda dice, words, prompt: {"end_phrase": dice.choice(ENDINGS)},
    "change_case:capital_word_frequency": _counted("capital_frequency", (2, 5), (5, 15), "capital_relation"),
}
