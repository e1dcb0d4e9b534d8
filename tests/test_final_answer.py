r"""What counts as the final answer of a text, and when two answers are the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.final_answer import compared, final_answer, known_answer, letters, quantity, same_answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("She sold 48 + 24 = 72 clips.\n#### 72", "72"),
        ("He earns 7 * 1,500.\n#### 10,500", "10,500"),
        ("It costs.\n####  $1,080.50", "$1,080.50"),
        ("It costs.\n####-5", "-5"),
        ("So it is the third.\n#### C", "C"),
        (r"Hence \boxed{42}.", "42"),
        (r"Hence $\boxed{\frac{1}{2}}$.", "1/2"),
        (r"Hence \boxed{\text{Paris}} and no other.", "Paris"),
        (r"Hence \boxed{1{,}234}.", "1,234"),
        (r"First \boxed{1}, and then \boxed{2}.", "2"),
        ("It rained. So the answer is 18.", "18"),
        ("The answer is 3.14. I hope this helps!", "3.14"),
        ("The answer is $18", "$18"),
        ("the answer is $x = 5$.", "x = 5"),
        ("**The answer is: (B) Paris.**", "(B) Paris"),
        ("Therefore, the answer is **B**.", "B"),
        ("Answer: 12", "12"),
        ("**Final Answer:** twelve", "twelve"),
        ("The final answer to 3 + 4 is 7.", "7"),
        ("The correct option is (c), because whales breathe air.", "(c)"),
        ("The answer is:\n\n 18 apples.\nBye.", "18 apples"),
        ("The answer is St. Paul. It lies in Minnesota.", "St. Paul"),
        ("The answer is 5. Wait, that is wrong. The answer is 6.", "6"),
        ("I do not know what the answer is.", None),
        ("#### Step 2: add them up\nThat makes 4.", None),
        ("#### 1. First add\nThat makes 4.", None),
        ("That makes 4 in all.", None),
        ("#### 18\nI hope that my answer is helpful.", "18"),
        (r"An open \boxed{5", None),
        ("18", "18"),
        (" (B)\n", "(B)"),
        ("", None),
        ("\u7b54\u6848\u662f 18", None),
    ],
)
def test_the_final_answer_is_the_one_that_is_marked(text: str, answer: str | None) -> None:
    assert final_answer(text) == answer


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1,234.50", "1234.5"),
        ("10,500", "10500"),
        ("$18", "18"),
        ("$18", "18 dollars"),
        ("18 apples in total", "18"),
        ("50%", "50 percent"),
        ("1/2", "0.5"),
        ("\u22125", "-5"),
        ("2 million", "2,000,000"),
        ("x = 5", "5"),
        ("2 + 3 = 5", "5"),
        ("5 km", "5km"),
        ("(B) Paris", "B"),
        ("(B) Paris", "paris."),
        ("b) Paris", "(B) Paris"),
        ("option B", "B."),
        ("B. Paris", "(b)"),
        ("the Nile", "Nile"),
        ("'Yes'", "yes"),
        ("\uff11\uff18", "18"),
        ("b", "B"),
        ("b", "(B) Paris"),
        ("3 1/2", "3.5"),
        ("3 and 1/2 cups", "3.5"),
        (r"3\frac{1}{2}", "3.5"),
        (r"\frac12", "0.5"),
        ("-3 1/2", "-3.5"),
        ("3\u00bd", "3.5"),
        ("1\u202f800", "1800"),
        (r"\frac{x+1}{2}", "(x+1)/2"),
        ("x = 1,000", "1000"),
        ("x + 1", "x+1"),
    ],
)
def test_the_same_answer_may_be_written_in_several_ways(one: str, other: str) -> None:
    assert same_answer(one, other)
    assert same_answer(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("18", "19"),
        ("1,234", "1.234"),
        ("12,5", "125"),
        ("3x", "3"),
        ("2 pi", "2"),
        ("2 million", "2"),
        ("5 km", "5 m"),
        ("3 am", "3 pm"),
        ("x <= 5", "5"),
        ("1/0", "0"),
        ("(B) Paris", "(C) Paris"),
        ("(B) Paris", "(B) Rome"),
        ("A", "B"),
        ("C++", "C"),
        ("5 or 6", "5"),
        ("yes", "no"),
        ("1 2", "12"),
        ("3 1/2", "31/2"),
        (r"3\frac{1}{2}", "31/2"),
        ("3\u00bd", "31/2"),
        ("10\u00b2", "102"),
        (r"\frac{x+1}{2}", "x+1/2"),
        ("x = 5, y = 7", "7"),
        ("x = 5 or 7", "5"),
        ("x = 5 and y = 7", "7"),
        ("(B) or (C)", "B"),
        ("(B) and (C)", "(B) Paris"),
        ("B. or C", "B"),
    ],
)
def test_other_answers_are_not_the_same(one: str, other: str) -> None:
    assert not same_answer(one, other)
    assert not same_answer(other, one)


@pytest.mark.parametrize(
    ("answer", "known", "verdict"),
    [
        ("18.0", "18", True),
        ("19", "18", False),
        ("Rome", "Paris", False),
        ("(C) Paris", "(B) Rome", False),
        ("A", "B", False),
        ("(A)", "(B) Rome", False),
        ("5 km", "5 m", False),
        ("5 or 6", "5", None),
        ("5 = x", "5", None),
        ("x = 5, y = 7", "7", None),
        ("1 800", "1800", None),
        ("eighteen", "18", None),
        ("12", "twelve", None),
        ("2 * 9", "18", None),
        ("1e3", "1000", None),
        ("0.05", "5%", None),
        ("0.5", "5%", False),
        ("5", r"2\sqrt{3}", False),
        ("not Paris", "Paris", None),
        ("(B) or (C)", "B", None),
        ("(A) Rome", "(B) Rome", None),
        ("(B) Paris", "(B) Rome", None),
        ("Rome", "B", None),
        ("B", "Rome", None),
    ],
)
def test_where_code_cannot_tell_there_is_no_verdict(answer: str, known: str, verdict: bool | None) -> None:
    assert compared(answer, known) is verdict


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        (0, "0"),
        (2.5, "2.5"),
        (" Paris ", "Paris"),
        ("9*2=18.\n#### 18", "18"),
        (True, None),
        (None, None),
        (" ", None),
        (["4"], None),
    ],
)
def test_the_right_answer_of_a_file_is_a_number_a_text_or_the_end_of_one(
    value: object, answer: str | None
) -> None:
    assert known_answer(value) == answer


def test_all_letters_that_an_answer_marks_are_found() -> None:
    assert letters("(B) or (c)") == {"B", "C"}
    assert letters("B. or C") == {"B", "C"}
    assert letters("b") == {"B"}
    assert letters("f(x) and Rome") == set()


@given(st.integers(0, 99), st.integers(0, 99))
def test_two_numbers_side_by_side_are_never_one(one: int, other: int) -> None:
    assert not same_answer(f"{one} {other}", f"{one}{other}")
    assert compared(f"{one} {other}", f"{one}{other}") is None


@given(st.integers(-(10**15), 10**15))
def test_a_number_is_found_and_is_itself_with_commas_and_without(number: int) -> None:
    for form in (str(number), f"{number:,}", f"{number}.0"):
        for text in (f"So.\n#### {form}", rf"So \boxed{{{form}}}.", f"So the answer is {form}.", form):
            found = final_answer(text)
            assert found is not None
            assert same_answer(found, str(number))
            assert not same_answer(found, str(number + 1))


@given(st.text(max_size=200))
def test_any_text_can_be_looked_at(text: str) -> None:
    found = final_answer(text)
    assert found is None or found
    assert same_answer(text, text)


def test_long_texts_of_digits_and_of_marks_take_no_long_time() -> None:
    assert quantity("9" * 5_000) is None
    for part in ("the answer ", "\\boxed{", "*_ ", "#### 1,", "answer is ", "1,111"):
        assert final_answer(part * 4_000 + "!\n") != "18"
