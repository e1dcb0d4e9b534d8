"""Where sentences end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.sentences import sentences


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("no full stop", 1),
        ("Mr. J. K. Long met Prof. A.B. Short, e.g. in No. 10. They spoke.", 2),
        ("It costs 3.50 at www.example.org. Really?! Yes... no.", 4),
        ("“Go.” She went. (He did not.) So.", 4),
        ("Dr. Smith was born in St. Louis. He moved to Mt. Vernon.", 2),
        ("* eggs\n* milk\n* tea", 1),
        ("salt, pepper, etc. are there. We have salt etc. Good.", 3),
        ("all in small letters. even here.", 2),
        ("今日は雨です。明日は晴れです。", 2),
        ("आज मौसम अच्छा है। हम जा रहे हैं।", 2),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text: str, count: int) -> None:
    assert len(sentences(text)) == count, sentences(text)


@given(st.text(alphabet=st.sampled_from("aB .?!\n\"'()etcMr"), max_size=60))
def test_sentences_leave_out_nothing_but_white_space(text: str) -> None:
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())
