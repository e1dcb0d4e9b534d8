"""ROUGE-L against the reference package, where the two should agree, and where they should not."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score import rouge_scorer, tokenizers

from synth import rouge
from synth.rouge import f_measure, faithful_tokens, tokens

WORDS = ["the", "cat", "sat", "on", "a", "mat", "2", "Dogs", "Explain", "x1"]
REFERENCE = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
sentences = st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join)
# Characters whose lower case is ASCII, or more than one character, and what else could part two tokenizers.
texts = st.text(st.one_of(st.sampled_from("aB1 _-\n\u212a\u0130\u017f\u00df\u0661\u4e2d"), st.characters()))


def reference(one: str, other: str) -> float:
    score: float = REFERENCE.score(one, other)["rougeL"].fmeasure
    return score


def exact_cases(longest: int) -> list[tuple[int, int, int]]:
    """(shared, one length, the other) for every F that is 7/10 as a fraction."""
    lengths = product(range(1, longest + 1), repeat=2)
    shared = ((7 * (one + other) // 20, one, other) for one, other in lengths if 7 * (one + other) % 20 == 0)
    return [case for case in shared if case[0] <= min(case[1:])]


@given(sentences, sentences)
def test_english_scores_as_the_reference_does_to_the_last_bit(one: str, other: str) -> None:
    assert f_measure(tokens(one), tokens(other)) == reference(one, other)


@given(texts)
def test_faithful_tokens_are_those_of_the_reference(text: str) -> None:
    assert list(faithful_tokens(text)) == tokenizers.DefaultTokenizer(use_stemmer=False).tokenize(text)


@given(texts, texts)
def test_a_faithful_score_is_that_of_the_reference_to_the_last_bit(one: str, other: str) -> None:
    score = f_measure(faithful_tokens(one), faithful_tokens(other))
    assert score == reference(one, other) == reference(other, one)


@given(sentences, sentences)
def test_a_score_is_symmetric_and_one_only_for_equal_words(one: str, other: str) -> None:
    score = f_measure(tokens(one), tokens(other))
    assert score == f_measure(tokens(other), tokens(one))
    assert 0 <= score <= 1
    assert (score == 1) == (tokens(one) == tokens(other) != ())


@pytest.mark.parametrize(
    ("one", "other", "score"),
    [
        ("a b c d e f g x y z", "a b c d e f g p q r", 0.7),
        ("a b c d e f g h y z", "a b c d e f g h q r", 0.8),
        ("a b c d", "a b c d e f", 0.8),
        ("a b c d e", "a x b c d", 0.8),
        ("a b", "b a", 0.5),
        ("a a a b", "a a c", 4 / 7),
        ("", "", 0.0),
        ("a", "", 0.0),
        ("a", "b", 0.0),
    ],
)
def test_scores_that_can_be_worked_out_by_hand(one: str, other: str, score: float) -> None:
    assert f_measure(tokens(one), tokens(other)) == pytest.approx(score, abs=1e-12)
    assert f_measure(tokens(one), tokens(other)) == reference(one, other)


def test_of_the_83_exact_seven_tenths_up_to_59_words_48_come_out_above_it_as_in_the_reference() -> None:
    cases = exact_cases(59)
    above = [case for case in cases if rouge._f(*case) > 0.7]
    assert (len(cases), len(above)) == (83, 48)
    assert (7, 8, 12) in above
    assert (7, 10, 10) in cases
    assert (7, 10, 10) not in above


def test_many_scores_at_once_have_the_bits_of_one_at_a_time() -> None:
    others = np.arange(1, 60)
    for one, shared in product(range(1, 60), repeat=2):
        fits = others[others >= shared]
        many = rouge._f_each(np.full(len(fits), shared), one, fits.astype(np.intc))
        assert many.tolist() == [rouge._f(shared, one, other) for other in fits.tolist()]


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.data())
def test_float64_keeps_the_order_of_two_scores(one: int, other: int, data: st.DataObject) -> None:
    """What makes a bound on the common words a bound on the score, however it is rounded."""
    shared = data.draw(st.integers(1, min(one, other)))
    assert rouge._f(shared - 1, one, other) < rouge._f(shared, one, other)
    assert rouge._f(shared, one, other) <= rouge._f(shared, one, shared)
    assert (rouge._f(shared, one, other) == rouge._f(shared, one, shared)) == (other == shared)


@pytest.mark.parametrize("limit", [0.0, 0.3, 0.5, 0.7, 0.95, 1.0])
def test_the_fewest_shared_words_are_those_of_the_best_case(limit: float) -> None:
    for length in range(60):
        lengths = product(range(1, length + 1), range(1, 130))
        above = (
            shared for shared, other in lengths if shared <= other and rouge._f(shared, length, other) > limit
        )
        assert rouge._fewest(length, limit) == min(above, default=length + 1)


# Words of any script


@pytest.mark.parametrize(
    ("one", "other", "score"),
    [
        ("解释 光合 作用", "解释 光合 作用", 1.0),
        ("Erkläre die Straße", "erkläre die STRASSE", 1.0),
        ("Ангел летит домой", "ангел летит", 0.8),
        ("नमस्ते दुनिया", "नमस्ते दुनिया", 1.0),
        ("किताब पढ़ो", "कताब पढ़ो", 0.5),
    ],
)
def test_texts_in_other_scripts_have_words_too(one: str, other: str, score: float) -> None:
    assert f_measure(tokens(one), tokens(other)) == pytest.approx(score)


def test_two_equal_chinese_texts_are_the_same_text_but_not_to_the_reference() -> None:
    text = "\u6211\u559c\u6b22\u8bfb\u4e66"
    assert f_measure(tokens(text), tokens(text)) == 1.0
    assert f_measure(faithful_tokens(text), faithful_tokens(text)) == reference(text, text) == 0.0


def test_an_accent_splits_a_word_in_the_reference_alone() -> None:
    assert f_measure(tokens("Caf\u00e9"), tokens("Cafe\u0301")) == 1.0
    assert (
        f_measure(faithful_tokens("Caf\u00e9"), faithful_tokens("Cafe"))
        == reference("Caf\u00e9", "Cafe")
        == 0.0
    )


def test_punctuation_and_case_make_no_difference() -> None:
    assert tokens("Explain, please: the CAT's mat_2!") == ("explain", "please", "the", "cat", "s", "mat", "2")
    assert tokens("\u00bfQu\u00e9?\u30fb\u3002\u5c71_\u5ddd \uff21\uff22") == (
        "qu\u00e9",
        "\u5c71",
        "\u5ddd",
        "ab",
    )


def test_two_chinese_sentences_that_differ_in_a_character_are_near() -> None:
    one, other = tokens("\u6211\u559c\u6b22\u8bfb\u4e66"), tokens("\u6211\u559c\u6b22\u770b\u4e66")
    assert f_measure(one, other) == pytest.approx(0.8)
