"""ROUGE-L against the reference package, where the two should agree, and where they should not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from synth import rouge
from synth.rouge import Pool, f_measure, tokens

WORDS = ["the", "cat", "sat", "on", "a", "mat", "2", "Dogs", "Explain", "x1"]
REFERENCE = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
sentences = st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join)


def reference(one: str, other: str) -> float:
    score: float = REFERENCE.score(one, other)["rougeL"].fmeasure
    return score


@given(sentences, sentences)
def test_english_scores_as_the_reference_does_to_the_last_bit(one: str, other: str) -> None:
    assert f_measure(tokens(one), tokens(other)) == reference(one, other)


@given(sentences, sentences)
def test_a_score_is_symmetric_and_one_only_for_equal_words(one: str, other: str) -> None:
    score = f_measure(tokens(one), tokens(other))
    assert score == pytest.approx(f_measure(tokens(other), tokens(one)), abs=1e-15)
    assert 0 <= score <= 1
    assert (score == 1) == (tokens(one) == tokens(other) != ())


@pytest.mark.parametrize(
    ("one", "other", "score"),
    [
        ("a b c d e f g x y z", "a b c d e f g p q r", 0.7),
        ("a b c d", "a b c d e f", 0.8),
        ("a b c d e", "a x b c d", 0.8),
        ("a b", "b a", 0.5),
        ("", "", 0.0),
        ("a", "", 0.0),
        ("a", "b", 0.0),
    ],
)
def test_scores_that_can_be_worked_out_by_hand(one: str, other: str, score: float) -> None:
    assert f_measure(tokens(one), tokens(other)) == pytest.approx(score, abs=1e-12)
    assert f_measure(tokens(one), tokens(other)) == reference(one, other)


def test_exactly_seven_tenths_is_not_above_the_bound_of_self_instruct() -> None:
    assert f_measure(tokens("a b c d e f g x y z"), tokens("a b c d e f g p q r")) <= 0.7
    assert f_measure(tokens("a b c d e f g h y z"), tokens("a b c d e f g h q r")) > 0.7


@pytest.mark.parametrize(
    ("one", "other", "score"),
    [
        ("解释 光合 作用", "解释 光合 作用", 1.0),
        ("Erkläre die Straße", "erkläre die STRASSE", 1.0),
        ("Ангел летит домой", "ангел летит", 0.8),
        ("नमस्ते दुनिया", "नमस्ते दुनिया", 1.0),
    ],
)
def test_texts_in_other_scripts_have_words_too(one: str, other: str, score: float) -> None:
    assert f_measure(tokens(one), tokens(other)) == pytest.approx(score)


def test_punctuation_and_case_make_no_difference() -> None:
    assert tokens("Explain, please: the CAT's mat!") == ("explain", "please", "the", "cat", "s", "mat")


@settings(max_examples=60)
@given(st.lists(sentences, max_size=8), sentences)
def test_a_pool_finds_the_nearest_of_all_its_texts(kept: list[str], text: str) -> None:
    score, nearest = Pool(kept).nearest(text)
    scores = [f_measure(tokens(text), tokens(other)) for other in kept]
    assert score == max(scores, default=0.0)
    assert nearest == ("" if not score else kept[scores.index(score)])


def test_a_pool_grows() -> None:
    pool = Pool()
    assert pool.nearest("a b") == (0.0, "")
    pool.add("a b c")
    pool.add("a b")
    assert pool.nearest("a b") == (1.0, "a b")


def test_the_nearest_text_is_the_same_whatever_the_order_of_the_pool() -> None:
    """A text wholly inside another can have an F that is a rounding above its own bound."""
    inside = " ".join(f"w{number}" for number in range(14))
    around = " ".join(f"w{number}" for number in range(26))
    other = " ".join([*(f"w{number}" for number in range(7)), "x", "y", "z", "w8", "w9", "w10", "q"])
    highest = max(f_measure(tokens(inside), tokens(text)) for text in (around, other))
    assert Pool([around, other]).nearest(inside)[0] == highest
    assert Pool([other, around]).nearest(inside)[0] == highest


def test_a_bound_is_never_below_what_it_bounds() -> None:
    below = []
    for short in range(1, 61):
        for long in range(short, 61):
            words = tuple(map(str, range(long)))
            bound = 2 * short / (short + long) * rouge.SLACK
            if f_measure(words[:short], words) > bound:
                below.append((short, long))
    assert below == []


def test_two_chinese_sentences_that_differ_in_a_character_are_near() -> None:
    one, other = tokens("\u6211\u559c\u6b22\u8bfb\u4e66"), tokens("\u6211\u559c\u6b22\u770b\u4e66")
    assert f_measure(one, other) == pytest.approx(0.8)
