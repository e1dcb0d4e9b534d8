"""Rows: names that say where a row came from, and a line of JSON that loses nothing."""

import json
from dataclasses import FrozenInstanceError
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.errors import UserError
from synth.rows import (
    Answer,
    Judgment,
    JudgmentKind,
    Message,
    Row,
    digest,
    from_json,
    made,
    sourced,
    to_json,
)

HELLO = (Message("user", "Hello"),)
texts = st.text(max_size=20)
some_texts = st.lists(texts, max_size=3).map(tuple)
indices = st.lists(st.integers(0, 9), max_size=3).map(tuple)
numbers = st.floats(allow_nan=False, allow_infinity=False)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
messages = st.builds(Message, st.sampled_from(["system", "user", "assistant"]), texts)
answers = st.builds(
    Answer,
    texts,
    texts,
    st.none() | st.integers(0, 9),
    st.none() | texts,
    st.none() | texts,
    texts,
    some_texts,
    texts,
)
judgments = st.builds(
    Judgment,
    texts,
    st.sampled_from(get_args(JudgmentKind)),
    indices,
    indices,
    st.none() | numbers,
    st.none() | texts,
    st.booleans(),
    st.none() | texts,
    some_texts,
    texts,
    indices,
    st.tuples(numbers, numbers),
    texts,
    st.integers(0, 99),
    texts,
)
whole_rows = st.builds(
    Row,
    id=texts,
    root=texts,
    prompt=st.lists(messages, max_size=3).map(tuple),
    occurrence=st.integers(0, 2**40),
    answers=st.lists(answers, max_size=3).map(tuple),
    judgments=st.lists(judgments, max_size=3).map(tuple),
    facts=st.dictionaries(texts, json_values, max_size=3),
    calls=some_texts,
)


@given(whole_rows)
def test_a_row_is_read_as_it_was_written(row: Row) -> None:
    line = to_json(row)
    assert b"\n" not in line
    assert from_json(line) == row
    assert to_json(from_json(line)) == line


def test_no_field_of_a_row_can_be_set() -> None:
    row = sourced(HELLO, 0)
    with pytest.raises(FrozenInstanceError):
        row.id = "other"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        row.prompt[0].content = "other"  # type: ignore[misc]


def test_an_id_is_24_hex_digits_the_same_on_every_machine() -> None:
    assert sourced(HELLO, 0).id == "3d137f1a68e1caf3db15800d"
    assert sourced(HELLO, 0).root == "9ced0a8f7b7b820e38195d15"
    assert made("step", (3, 1), HELLO, ()).id == "88b872a4423e3bc54754579e"
    assert sourced(HELLO, 0).child("step", 2).id == "f8b5f9f723816bd4e6e80890"


def test_a_source_row_is_named_by_its_content_and_occurrence() -> None:
    other_role = (Message("system", "Hello"),)
    two_turns = (Message("user", "Hel"), Message("user", "lo"))
    named = [
        sourced(HELLO, 0),
        sourced(HELLO, 1),
        sourced(HELLO, 0, {"category": "greeting"}),
        sourced(other_role, 0),
        sourced(two_turns, 0),
    ]
    assert len({row.id for row in named}) == len(named)
    assert sourced(HELLO, 0, {"a": 1, "b": 2}).id == sourced(HELLO, 0, {"b": 2, "a": 1}).id


def test_rows_of_one_prompt_share_their_root_however_they_came_to_be() -> None:
    first = sourced(HELLO, 0)
    others = [sourced(HELLO, 1), sourced(HELLO, 0, {"n": 1}), made("step", (0, 0), HELLO, ("call",))]
    assert {row.root for row in [first, *others]} == {first.root}
    child = first.child("step", 0, prompt=(Message("user", "Another prompt"),))
    assert child.root == first.root
    assert child.prompt[0].content == "Another prompt"
    assert child.id != first.id


def test_a_child_is_named_by_its_step_its_parent_and_its_place() -> None:
    one, other = sourced(HELLO, 0), sourced(HELLO, 1)
    born = [one.child("a", 0), one.child("a", 1), one.child("b", 0), other.child("a", 0)]
    assert len({row.id for row in born}) == 4
    assert one.child("a", 0) == one.child("a", 0)


def test_a_made_row_is_named_by_its_step_and_its_place_in_the_replies() -> None:
    born = [made("a", (1, 2), HELLO, ()), made("a", (12,), HELLO, ()), made("b", (1, 2), HELLO, ())]
    assert len({row.id for row in born}) == 3


def test_enriching_a_row_keeps_its_id_and_leaves_the_old_one_as_it_was() -> None:
    row = sourced(HELLO, 0)
    richer = (
        row.answered(Answer("Hi."))
        .answered(Answer("Hey."))
        .judged(Judgment("j", "pair", (0, 1), (0, 1), 0.7))
    )
    assert (richer.id, richer.root) == (row.id, row.root)
    assert [answer.text for answer in richer.answers] == ["Hi.", "Hey."]
    assert len(richer.judgments) == 1
    assert (row.answers, row.judgments) == ((), ())


@given(st.lists(json_values, max_size=4), st.lists(json_values, max_size=4))
def test_no_two_lists_of_parts_have_one_digest(one: list[Any], other: list[Any]) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (digest(*one) == digest(*other)) == same


def test_a_step_adds_to_what_it_noted_and_overwrites_no_column_of_the_source() -> None:
    row = sourced(HELLO, 0, {"theme": "greetings"}).noted("s", one=1).noted("s", other=2).noted("t", one=3)
    assert row.facts == {"theme": "greetings", "s": {"one": 1, "other": 2}, "t": {"one": 3}}
    with pytest.raises(UserError, match="a column 'theme'"):
        row.noted("theme", one=1)


def test_the_origin_of_a_revision_is_the_fresh_answer_that_it_began_as() -> None:
    row = sourced(HELLO, 0).answered(Answer("a"), Answer("b"), Answer("c", parent=1), Answer("d", parent=2))
    assert [row.origin(number) for number in range(4)] == [0, 1, 1, 1]
