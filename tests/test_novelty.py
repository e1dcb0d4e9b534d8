"""A pool of texts: whatever it leaves out of the work, its answers are those of scoring every pair."""

import random
from collections.abc import Callable, Sequence
from itertools import accumulate

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from synth import rouge
from synth.rouge import Pool, f_measure, faithful_tokens, tokens

REFERENCE = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
# A few words, so that texts share many, and often one more than once.
sentences = st.lists(
    st.sampled_from(["the", "cat", "a", "Mat", "2", "x", "y", "z", "\u00e9t\u00e9"]), max_size=14
)
sentence = sentences.map(" ".join)
limits = st.one_of(st.sampled_from([0.0, 0.5, 0.7, 0.8, 1.0]), st.floats(0, 1))


def by_every_pair(pool: list[str], text: str) -> list[float]:
    return [f_measure(tokens(text), tokens(other)) for other in pool]


def by_the_reference(pool: list[str], text: str) -> list[float]:
    return [REFERENCE.score(text, other)["rougeL"].fmeasure for other in pool]


def numbered(begin: int, end: int) -> str:
    return " ".join(f"w{number}" for number in range(begin, end))


# The same as scoring every pair


@settings(max_examples=50)
@given(st.lists(sentence, max_size=8), sentence, limits)
@example(["a b c d e f g p q r"], "a b c d e f g x y z", 0.7)
@example([numbered(0, 12)], f"{numbered(0, 7)} x", 0.7)
@example(["", "the the the"], "", 0.0)
def test_a_text_is_new_if_no_pair_scores_above_the_limit(kept: list[str], text: str, limit: float) -> None:
    assert Pool(kept).is_new(text, limit) == all(score <= limit for score in by_every_pair(kept, text))


@settings(max_examples=50)
@given(st.lists(sentence, min_size=1, max_size=8), sentence)
def test_a_limit_that_is_a_score_to_the_last_bit_is_not_exceeded_by_it(kept: list[str], text: str) -> None:
    scores = by_every_pair(kept, text)
    for limit in scores:
        assert Pool(kept).is_new(text, limit) == (limit == max(scores))


@settings(max_examples=50)
@given(st.lists(sentence, max_size=8), sentence, limits)
def test_a_faithful_pool_decides_and_scores_as_the_reference(
    kept: list[str], text: str, limit: float
) -> None:
    pool, scores = Pool(kept, faithful_tokens), by_the_reference(kept, text)
    assert pool.scores(text) == scores
    assert pool.nearest(text)[0] == max(scores, default=0.0)
    assert pool.is_new(text, limit) == all(score <= limit for score in scores)


@settings(max_examples=50)
@given(st.lists(sentence, max_size=8), sentence)
def test_a_pool_finds_the_first_of_the_nearest_and_every_score(kept: list[str], text: str) -> None:
    pool, scores = Pool(kept), by_every_pair(kept, text)
    assert pool.scores(text) == scores
    best = max(scores, default=0.0)
    assert pool.nearest(text) == (best, kept[scores.index(best)] if best else "")


def test_long_texts_with_common_and_repeated_words_are_decided_as_by_every_pair() -> None:
    dice = random.Random(3)
    words = [f"w{int(dice.paretovariate(0.6))}" for _ in range(4000)]
    pool = Pool()
    decided = []
    for _ in range(150):
        base = list(dice.choice(pool.texts).split()) if len(pool) and dice.random() < 0.5 else []
        text = " ".join(
            word if dice.random() < 0.8 else dice.choice(words) for word in base or dice.choices(words, k=30)
        )
        decided.append(pool.is_new(text, 0.7))
        assert decided[-1] == all(score <= 0.7 for score in by_every_pair(list(pool.texts), text))
        if decided[-1]:
            pool.add(text)
    assert 50 < sum(decided) < 140


# Where rounding decides


@pytest.mark.parametrize("tokenize", [tokens, faithful_tokens])
def test_seven_of_ten_is_kept_and_seven_of_8_and_12_is_not_for_its_float(
    tokenize: Callable[[str], tuple[str, ...]],
) -> None:
    assert Pool([numbered(0, 10)], tokenize).is_new(f"{numbered(0, 7)} x y z", 0.7)
    assert not Pool([numbered(0, 12)], tokenize).is_new(f"{numbered(0, 7)} x", 0.7)
    assert not Pool([f"{numbered(0, 7)} x"], tokenize).is_new(numbered(0, 12), 0.7)
    assert not Pool([numbered(0, 10)], tokenize).is_new(f"{numbered(0, 8)} x y", 0.7)


def test_a_duplicate_within_the_same_batch_is_not_new() -> None:
    pool = Pool()
    assert pool.is_new("Name three rivers of Asia", 0.7)
    pool.add("Name three rivers of Asia")
    assert not pool.is_new("name three rivers, of Asia!", 0.7)
    assert pool.texts == ["Name three rivers of Asia"]


# Edges


def test_an_empty_pool_knows_nothing() -> None:
    pool = Pool()
    assert pool.is_new("a b", 0.0)
    assert pool.nearest("a b") == (0.0, "")
    assert pool.scores("a b") == []
    assert len(pool) == 0


def test_at_a_limit_of_0_one_word_in_common_is_too_much_and_at_1_nothing_is() -> None:
    pool = Pool(["a b c"])
    assert not pool.is_new("x c y", 0.0)
    assert pool.is_new("x y", 0.0)
    assert pool.is_new("a b c", 1.0)


def test_a_limit_outside_of_its_range_is_our_mistake() -> None:
    for limit in (-0.1, 1.1, float("nan")):
        with pytest.raises(AssertionError):
            Pool().is_new("a", limit)


def test_texts_without_a_token_are_like_nothing_not_even_each_other() -> None:
    pool = Pool(["\u4f60\u597d", ""], faithful_tokens)
    assert pool.is_new("\u4f60\u597d", 0.0)
    assert pool.scores("\u4f60\u597d") == [0.0, 0.0]
    assert not Pool(["\u4f60\u597d"]).is_new("\u4f60\u597d", 0.7)


def test_a_word_counts_as_often_as_both_texts_have_it() -> None:
    pool = Pool(["no no no no", "no yes"])
    assert pool.scores("no no") == [pytest.approx(2 / 3), 0.5]
    assert pool.is_new("no no", 2 / 3)
    assert not pool.is_new("no no", 0.66)


def test_words_that_no_text_has_are_not_taken_for_one_another() -> None:
    pool = Pool(["a b"])
    assert pool.scores("x y") == [0.0]
    assert pool.scores("x a y b") == [pytest.approx(2 / 3)]


def test_the_first_of_equally_near_texts_is_the_nearest() -> None:
    pool = Pool(["a b x", "a b y", "a b x"])
    assert pool.nearest("a b") == (0.8, "a b x")
    assert pool.nearest("a b z")[1] == "a b x"


def test_more_different_words_than_there_are_characters_change_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = [numbered(start, start + 9) for start in range(0, 40, 4)]
    usual = Pool(texts)
    monkeypatch.setattr(rouge, "_CHARACTERS", 20)
    small = Pool(texts)
    assert {type(sequence) for sequence in small._sequences} != {str}
    for text in [*texts, numbered(5, 25)]:
        assert small.scores(text) == usual.scores(text) == by_every_pair(texts, text)
        assert small.nearest(text) == usual.nearest(text)
        assert small.is_new(text, 0.5) == usual.is_new(text, 0.5)


def test_numbers_of_words_that_are_no_characters_of_their_own_are_told_apart() -> None:
    """From 55,296 on they are halves of characters, above 65,535 they take four bytes."""
    pool = Pool([numbered(start, start + 10) for start in range(0, 70_000, 10)])
    for start in (55_290, 57_340, 65_530, 69_990):
        score, nearest = pool.nearest(numbered(start, start + 9))
        assert (score, nearest) == (f_measure("123456789", "1234567890"), numbered(start, start + 10))
        assert not pool.is_new(numbered(start, start + 9), 0.9)


def test_of_a_pool_of_unlike_texts_almost_none_is_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(5)
    words = [f"w{rank}" for rank in range(9000)]
    zipf = list(accumulate(1 / (rank + 3) for rank in range(9000)))
    unlike = [" ".join(dice.choices(words, cum_weights=zipf, k=16)) for _ in range(1000)]
    pool = Pool(unlike[100:])
    scored: list[int] = []
    score = pool._score

    def counted(sequence: str | Sequence[int], place: int) -> float:
        scored.append(place)
        return score(sequence, place)

    monkeypatch.setattr(pool, "_score", counted)
    assert all(pool.is_new(text, 0.7) for text in unlike[:100])
    assert len(scored) < 100
