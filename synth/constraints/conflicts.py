"""Which constraints may not be put on one reply, so that a generator asks for nothing impossible.

`apart` is IFEval's own table, ``INSTRUCTION_CONFLICTS`` of its code: symmetric, and no type goes with
itself. Its data file does not always keep to it. `clash` adds pairs that the table allows and that leave
little or nothing to satisfy: a fixed word inside a reply whose case or script is fixed otherwise, two
things that both stand first or last, a prompt to repeat that may hold a comma.
"""

from collections.abc import Iterable
from itertools import combinations

# A type that goes with few others, and those.
_GOES_ONLY_WITH = {
    "detectable_format:constrained_response": frozenset[str](),
    "detectable_format:json_format": frozenset({"keywords:existence", "keywords:forbidden_words"}),
    "combination:two_responses": frozenset(
        {
            "keywords:existence",
            "keywords:forbidden_words",
            "language:response_language",
            "detectable_format:title",
            "punctuation:no_comma",
        }
    ),
    "combination:repeat_prompt": frozenset(
        {"keywords:existence", "detectable_format:title", "punctuation:no_comma"}
    ),
}

# A type, and others that it does not go with.
_NOT_WITH = {
    "language:response_language": {
        "keywords:existence",
        "keywords:frequency",
        "keywords:forbidden_words",
        "detectable_format:multiple_sections",
        "startend:end_checker",
        "change_case:english_capital",
        "change_case:english_lowercase",
    },
    "length_constraints:number_paragraphs": {
        "length_constraints:nth_paragraph_first_word",
        "length_constraints:number_sentences",
    },
    "detectable_format:multiple_sections": {"detectable_format:number_highlighted_sections"},
    "change_case:capital_word_frequency": {"change_case:english_capital", "change_case:english_lowercase"},
    "change_case:english_capital": {"change_case:english_lowercase"},
    "startend:quotation": {"detectable_format:title"},
}

# Ours.
_CLASH = {
    "language:response_language": {
        "keywords:letter_frequency",
        "length_constraints:nth_paragraph_first_word",
        "length_constraints:number_sentences",
        "detectable_content:postscript",
        "change_case:capital_word_frequency",
    },
    "detectable_format:multiple_sections": {
        "change_case:english_capital",
        "change_case:english_lowercase",
        "length_constraints:nth_paragraph_first_word",
    },
    "startend:end_checker": {"detectable_content:postscript", "combination:two_responses"},
    "startend:quotation": {"length_constraints:nth_paragraph_first_word"},
    "combination:repeat_prompt": {"punctuation:no_comma"},
    "length_constraints:nth_paragraph_first_word": {"detectable_format:title"},
}


def apart(one: str, other: str) -> bool:
    """Whether IFEval's table keeps two types from being combined."""
    return one == other or any(
        b not in _GOES_ONLY_WITH.get(a, {b}) or b in _NOT_WITH.get(a, ())
        for a, b in ((one, other), (other, one))
    )


def clash(one: str, other: str) -> bool:
    """Whether a generator should keep two types from being combined: by the table, or by our own pairs."""
    return apart(one, other) or other in _CLASH.get(one, ()) or one in _CLASH.get(other, ())


def conflicts(ids: Iterable[str]) -> list[tuple[str, str]]:
    """The pairs among `ids` that IFEval's table keeps apart, in the order in which they stand."""
    return [(one, other) for one, other in combinations(ids, 2) if apart(one, other)]
