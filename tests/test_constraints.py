"""IFEval's constraints: each type's yes and no, strict and loose, conflicts, and the four metrics."""

import importlib.util
import json
import random
import time
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.constraints.accuracy import Accuracy, Followed, Share, accuracy, followed
from synth.constraints.catalogue import TYPES, read, read_all
from synth.constraints.conflicts import apart, clash, conflicts
from synth.constraints.draw import RARE_LETTERS, WORDS, asked, draw, relaxed
from synth.constraints.language import LANGUAGES, language
from synth.constraints.letter_case import CapitalWordFrequency
from synth.constraints.modes import follows, tells_apart, variants
from synth.errors import RowError, UserError

# Type, parameters, a reply that follows, one that does not. The names of the parameters are IFEval's.
Case = tuple[str, dict[str, Any], str, str]
CASES: list[Case] = [
    ("keywords:existence", {"keywords": ["tide", "moon"]}, "The Moon makes tides.", "The moon is far."),
    (
        "keywords:frequency",
        {"keyword": "tea", "frequency": 2, "relation": "at least"},
        "Tea? Teapot!",
        "One tea.",
    ),
    ("keywords:frequency", {"keyword": "tea", "frequency": 2, "relation": "less than"}, "Tea", "tea tea"),
    ("keywords:forbidden_words", {"forbidden_words": ["cat", "a.b"]}, "Concatenate axb.", "My CAT, again."),
    (
        "keywords:letter_frequency",
        {"letter": "Q", "let_frequency": 2, "let_relation": "at least"},
        "Qq",
        "Quay",
    ),
    (
        "keywords:letter_frequency",
        {"letter": "#", "let_frequency": 2, "let_relation": "less than"},
        "# One",
        "## Two",
    ),
    (
        "language:response_language",
        {"language": "de"},
        "Heute ist schönes Wetter, also gehen wir spazieren.",
        "The weather is fine today, so we go for a walk.",
    ),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 2, "relation": "less than"},
        "Dr. Who left.",
        "He left. She stayed.",
    ),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 2, "relation": "at least"},
        "He left! She stayed.",
        "He left",
    ),
    (
        "length_constraints:number_paragraphs",
        {"num_paragraphs": 2},
        "***\nOne.\n***\nTwo.",
        "One.\n***\n***\nTwo.",
    ),
    (
        "length_constraints:number_words",
        {"num_words": 3, "relation": "at least"},
        "one two three",
        "one, two.",
    ),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}, "one, two.", "it's two"),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Rain"},
        "Sun.\n\n“x”\n\n".replace("“x”\n\n", '"rain, they said."'),
        "Rain.\n\nSun.",
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[name] at [place]", "[na\nme] [b]"),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "Bye.\n\np. p. s. More.", "P.S. More"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye.\nP.S. More.", "Bye. PS more"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n  - b\n**c**", "* a\n* b\n- c"),
    ("detectable_format:constrained_response", {}, "Well: My answer is no.", "my answer is no"),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* and **b**", "*a* ** **"),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "Part (x)", "num_sections": 2},
        "Part (x) 1\na\nPart (x) 2\nb",
        "part (x) 1\nPart (x) 2",
    ),
    ("detectable_format:json_format", {}, '```json\n{"a": [1]}\n```', "{'a': 1}"),
    ("detectable_format:title", {}, "<<Rain>>\nIt rained.", "<< >> <Rain>"),
    ("combination:two_responses", {}, "One.\n******\nTwo.\n******", "Same.******Same."),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say hi."}, "say hi. Hi!", "Hi! Say hi."),
    ("startend:end_checker", {"end_phrase": "So it goes."}, 'Well. "so it goes."', "So it goes. Bye."),
    ("startend:quotation", {}, ' "Yes." ', '"'),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "at least"},
        "NASA and the EU-27",
        "NASA and Esa",
    ),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "less than"},
        "NASA.",
        "IT'S",
    ),
    ("change_case:english_capital", {}, "THE WEATHER IS FINE TODAY.", "THE WEATHER IS FINE today."),
    ("change_case:english_lowercase", {}, "the weather is fine today.", "heute ist das wetter schön."),
    ("punctuation:no_comma", {}, "None here; none.", "One, here."),
]


@pytest.mark.parametrize(
    ("id_", "parameters", "yes", "no"), CASES, ids=[f"{n}-{case[0]}" for n, case in enumerate(CASES)]
)
def test_each_type_tells_a_reply_that_follows_from_one_that_does_not(
    id_: str, parameters: Mapping[str, Any], yes: str, no: str
) -> None:
    constraint = read(id_, parameters)
    assert constraint.id == id_
    assert follows(constraint, yes)
    assert not follows(constraint, no)


def test_there_are_ifevals_25_types_and_each_is_tried_here() -> None:
    assert len(TYPES) == 25
    assert {case[0] for case in CASES} == set(TYPES)


@pytest.mark.parametrize("case", CASES, ids=[f"{n}-{case[0]}" for n, case in enumerate(CASES)])
@pytest.mark.parametrize("blank", ["", " \n\t"])
@pytest.mark.parametrize("mode", ["strict", "loose"])
def test_an_empty_response_fails_whatever_is_asked_for(case: Case, blank: str, mode: Any) -> None:
    assert not follows(read(case[0], case[1]), blank, mode)


# The loose mode: IFEval's eight variants, of which the strict mode is one


def test_ifevals_eight_variants_are_those_of_lines_and_asterisks() -> None:
    text = "Sure:\n**one**\n*two*\nAnything else?"
    assert variants(text) == (
        text,
        "**one**\n*two*\nAnything else?",
        "Sure:\n**one**\n*two*",
        "**one**\n*two*",
        "Sure:\none\ntwo\nAnything else?",
        "one\ntwo\nAnything else?",
        "Sure:\none\ntwo",
        "one\ntwo",
    )


@pytest.mark.parametrize(
    ("text", "which"),
    [
        ('Here you are:\n"Yes."', "without the first line"),
        ('"Yes."\nAnything else?', "without the last line"),
        ('Here you are:\n"Yes."\nAnything else?', "without both"),
        ('*"Yes."*', "without asterisks"),
        ('Here you are:\n**"Yes."**\nAnything else?', "without both and without asterisks"),
    ],
)
def test_loose_forgives_what_strict_does_not(text: str, which: str) -> None:
    quotation = read("startend:quotation", {})
    assert not follows(quotation, text, "strict")
    assert follows(quotation, text, "loose"), which


def test_loose_does_not_forgive_two_lines_at_one_end() -> None:
    assert not follows(read("startend:quotation", {}), 'Sure.\nHere you are:\n"Yes."', "loose")


def test_a_variant_that_is_blank_follows_nothing() -> None:
    assert not follows(read("punctuation:no_comma", {}), "One, two.\nThree, four.", "loose")


pieces = st.sampled_from(
    [
        *("*", "**", "***", "******", '"', "<<a>>", "[x]", "- ", "Section 1", "P.S.", ",", "."),
        *("tea", "MOON", "{", "}", "1"),
        *["\n", "\n\n", " ", "The weather is fine today", "My answer is yes.", "so it goes."],
    ]
)
replies = st.lists(pieces, max_size=12).map("".join) | st.text(max_size=40)


@given(replies)
@settings(max_examples=60, deadline=None)
def test_what_is_so_strictly_is_so_loosely(text: str) -> None:
    for id_, parameters, *_ in CASES:
        constraint = read(id_, parameters)
        assert follows(constraint, text, "strict") <= follows(constraint, text, "loose"), id_


@pytest.mark.parametrize("text", ["[" * 60_000, "<<" * 30_000, "\n" * 60_000, "*" * 60_000, "{[" * 30_000])
def test_no_text_makes_a_check_slow(text: str) -> None:
    began = time.process_time()
    for id_, parameters, *_ in CASES:
        follows(read(id_, parameters), text)
    assert time.process_time() - began < 2


# Reading a data file's rows


def test_parameters_that_are_null_count_as_left_out() -> None:
    given_ = {"num_highlights": 3, "relation": None, "keywords": None}
    assert read("detectable_format:number_highlighted_sections", given_).model_dump() == {"num_highlights": 3}


@pytest.mark.parametrize(
    ("id_", "parameters", "said"),
    [
        ("keywords:existance", {}, "Did you mean 'keywords:existence'?"),
        ("length_constraints:number_words", {"num_word": 3, "relation": "at least"}, "num_words: missing"),
        (
            "length_constraints:number_words",
            {"num_words": 3, "relation": "at most"},
            "'less than' or 'at least'",
        ),
        ("length_constraints:number_words", {"num_words": "many", "relation": "at least"}, "whole number"),
        ("language:response_language", {"language": "qq"}, "unknown language code 'qq'"),
        ("keywords:existence", {"keywords": []}, "at least 1 entry"),
        (
            "length_constraints:nth_paragraph_first_word",
            {"num_paragraphs": 2, "nth_paragraph": 3, "first_word": "a"},
            "there are only 2",
        ),
        ("punctuation:no_comma", {"letter": "x"}, "unknown key 'letter'"),
    ],
)
def test_wrong_parameters_are_named_and_never_guessed(
    id_: str, parameters: dict[str, Any], said: str
) -> None:
    with pytest.raises(RowError) as raised:
        read(id_, parameters)
    assert said in str(raised.value)


def test_constraints_without_as_many_parameters_are_refused() -> None:
    with pytest.raises(RowError, match="2 constraints, but parameters for 1"):
        read_all(["punctuation:no_comma", "startend:quotation"], [{}])


def test_without_the_language_library_the_user_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for id_, parameters in [
        ("language:response_language", {"language": "de"}),
        ("change_case:english_capital", {}),
        ("change_case:english_lowercase", {}),
    ]:
        with pytest.raises(UserError, match="pip install py3langid"):
            read(id_, parameters)
    assert read("punctuation:no_comma", {}).holds("It needs no library.")


def test_demands_are_worded_with_their_parameters() -> None:
    for id_, parameters, *_ in CASES:
        said = read(id_, parameters).words()
        values = [value for value in parameters.values() if isinstance(value, int) or value in ("tea", "de")]
        assert all(str(LANGUAGES.get(str(value), value)) in said for value in values), said


# Languages


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("en", "The weather is fine today, so we go to the park."),
        ("sw", "Hali ya hewa ni nzuri leo na tunaenda kwenye bustani."),
        ("hi", "आज मौसम अच्छा है और हम पार्क जा रहे हैं।"),
        ("mr", "आज हवामान छान आहे आणि आम्ही उद्यानात जात आहोत."),
        ("uk", "Сьогодні гарна погода, тому ми йдемо до парку."),
        ("bg", "Днес времето беше хубаво и отидохме в парка."),
        ("fa", "امروز هوا خوب است و ما به پارک می‌رویم."),
        ("ur", "آج موسم اچھا ہے اور ہم پارک جا رہے ہیں"),
        ("kn", "ಇಂದು ಹವಾಮಾನ ಚೆನ್ನಾಗಿದೆ ಮತ್ತು ನಾವು ಉದ್ಯಾನವನಕ್ಕೆ ಹೋಗುತ್ತಿದ್ದೇವೆ."),
    ],
)
def test_a_language_is_told_whatever_its_case(code: str, text: str) -> None:
    assert language(text) == language(text.upper()) == code


@pytest.mark.parametrize("text", ["1234", "?!", "★ 12 ★"])
def test_a_text_without_a_letter_is_in_no_language(text: str) -> None:
    assert language(text) is None
    assert not any(
        follows(read("language:response_language", {"language": code}), text) for code in LANGUAGES
    )


@pytest.mark.parametrize(("text", "count"), [("U.S.A. and COVID-19", 2), ("I am", 1), ("NASA's A/B", 2)])
def test_words_in_capitals_are_counted_as_the_original_counts_them(text: str, count: int) -> None:
    assert CapitalWordFrequency(capital_frequency=count, capital_relation="at least").holds(text)
    assert CapitalWordFrequency(capital_frequency=count + 1, capital_relation="less than").holds(text)


# Conflicts


def test_no_type_goes_with_itself_and_conflicts_have_no_direction() -> None:
    for one in TYPES:
        assert apart(one, one)
        for other in TYPES:
            assert apart(one, other) == apart(other, one)
            assert clash(one, other) == clash(other, one) >= apart(one, other)


def test_the_conflicts_are_those_of_the_published_table() -> None:
    alone = [one for one in TYPES if all(apart(one, other) for other in TYPES)]
    assert alone == ["detectable_format:constrained_response"]
    assert not apart("detectable_format:json_format", "keywords:existence")
    assert apart("detectable_format:json_format", "punctuation:no_comma")
    assert not apart("combination:two_responses", "language:response_language")
    assert apart("combination:repeat_prompt", "language:response_language")
    assert apart("startend:quotation", "detectable_format:title")
    assert not apart("keywords:existence", "keywords:forbidden_words")
    pairs = sum(apart(one, other) for one in TYPES for other in TYPES if one < other)
    assert pairs == 94


def test_conflicts_names_the_pairs_in_a_set() -> None:
    quiet, capital, small = (
        "punctuation:no_comma",
        "change_case:english_capital",
        "change_case:english_lowercase",
    )
    assert conflicts([quiet, capital]) == []
    assert conflicts([capital, quiet, small, quiet]) == [(capital, small), (quiet, quiet)]


# A pair of replies, one to the prompt and one to the prompt with a constraint relaxed


def test_a_relaxed_constraint_pair_needs_a_chosen_that_passes_and_a_rejected_that_fails() -> None:
    asked = read_all(["punctuation:no_comma", "startend:quotation"], [{}, {}])
    good, relaxed = '"Rain falls."', '"Rain, falls."'
    assert tells_apart(asked, good, relaxed)
    assert not tells_apart(asked, relaxed, good)
    assert not tells_apart(asked, good, '"Snow falls."'), "the relaxed reply follows all the same"
    assert not tells_apart(asked, "", relaxed), "neither follows"


# Drawing


def test_drawn_constraints_never_clash_and_read_back_from_what_a_row_would_hold() -> None:
    for seed in range(300):
        drawn = draw("Say something.", seed % 6 + 1, random.Random(seed))
        ids = [constraint.id for constraint in drawn]
        assert 1 <= len(ids) <= seed % 6 + 1
        assert conflicts(ids) == []
        assert not any(clash(one, other) for one in ids for other in ids if one != other)
        assert read_all(ids, [constraint.model_dump() for constraint in drawn]) == drawn


def test_the_same_dice_draw_the_same_constraints_and_others_draw_others() -> None:
    drawn = [draw("Hi.", 3, random.Random(seed)) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_every_type_is_drawn_sooner_or_later_and_first_about_equally_often() -> None:
    first = [draw("Hi.", 1, random.Random(f"dice {n}"))[0].id for n in range(1000)]
    counts = {id_: first.count(id_) for id_ in TYPES}
    assert sum((count - 40) ** 2 / 40 for count in counts.values()) < 51.2, "χ² with 24 degrees, p = 0.001"


def test_words_drawn_for_one_reply_are_all_different_and_hold_no_rare_letter() -> None:
    assert not any(letter in word for word in WORDS for letter in RARE_LETTERS)
    for seed in range(100):
        words = [
            word
            for constraint in draw("Hi.", 6, random.Random(seed))
            for name, value in constraint.model_dump().items()
            if name in ("keywords", "keyword", "forbidden_words", "first_word")
            for word in ([value] if isinstance(value, str) else value)
        ]
        assert len(words) == len(set(words))


def test_a_prompt_that_asks_for_constraints_begins_as_it_was_and_names_each() -> None:
    drawn = draw("Describe rain.", 4, random.Random(5))
    text = asked("Describe rain.", drawn)
    assert text.startswith("Describe rain.\n\n")
    assert all(constraint.words() in text for constraint in drawn)


def test_relaxing_leaves_out_each_constraint_in_turn() -> None:
    drawn = draw("Hi.", 3, random.Random(8))
    assert list(relaxed(drawn)) == [drawn[1:], [drawn[0], drawn[2]], drawn[:2]]


# The four metrics


def test_the_four_metrics_count_prompts_and_instructions_strictly_and_loosely() -> None:
    found = accuracy(
        [
            Followed(("a", "b"), (True, True), (True, True)),
            Followed(("a", "b"), (True, False), (True, True)),
            Followed(("b",), (False,), (False,)),
            Followed((), (), ()),
        ]
    )
    assert found == Accuracy(
        prompt=Share(3, 1, 2),
        instruction=Share(5, 3, 4),
        by_type={"a": Share(2, 2, 2), "b": Share(3, 1, 2)},
    )
    report = found.as_json()
    assert report["prompt"]["strict_accuracy"] == pytest.approx(1 / 3)
    assert report["instruction"]["loose_accuracy"] == pytest.approx(4 / 5)
    assert json.loads(json.dumps(report)) == report


def test_the_accuracy_of_nothing_is_no_number() -> None:
    assert accuracy([]).as_json()["prompt"] == {
        "count": 0,
        "strict": 0,
        "loose": 0,
        "strict_accuracy": None,
        "loose_accuracy": None,
    }


@given(st.lists(replies, max_size=4))
@settings(max_examples=20, deadline=None)
def test_strict_accuracy_is_never_above_loose(texts: list[str]) -> None:
    asked = read_all(["punctuation:no_comma", "startend:quotation", "detectable_format:title"], [{}, {}, {}])
    found = accuracy(followed(asked, text) for text in texts)
    for share in (found.prompt, found.instruction, *found.by_type.values()):
        assert share.strict <= share.loose <= share.count
    assert found.prompt.strict <= found.instruction.strict
