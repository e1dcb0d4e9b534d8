"""Sentences of a text, by a rule and without a model.

A sentence ends with a full stop, question or exclamation mark, and what closes quotes and brackets after
it, before white space or the end. A full stop does not end one after an initial, a title or the like; nor,
before a small letter, after "etc.", a month or the number of a list. A line break alone ends nothing, as in
nltk's punkt, so that a list without full stops is one sentence.
"""

import re

# The second part: full stops of Chinese and Japanese, which no space follows, and of Hindi.
_END = re.compile(
    r"[.?!]+[\"'\u201d\u2019)\]*_]*(?=\s|\Z)|[\u3002\uff01\uff1f\u0964\u0965]+[\u201d\u2019\u300d\u300f\uff09]*"
)
_BEFORE = r"(?:\A|[\s(\[\"'\u201c\u2018-])"
_GOES_ON = re.compile(
    rf"{_BEFORE}(?:[A-HJ-Z]|(?:[A-Z]\.)+[A-Z]|e\.g|i\.e|Mr|Mrs|Ms|Messrs|Dr|Prof|Gen|Col|Lt|Sgt|Capt|Rev|Hon|Ph\.D"
    r"|vs|No|Fig|cf|St|Mt)\Z"
)
_MAY_GO_ON = re.compile(
    rf"{_BEFORE}(?:etc|approx|Inc|Ltd|Co|Corp|Jr|Sr|a\.m|p\.m|dept|est|min|max|al"
    r"|[0-9]{1,3}|Jan|Feb|Mar|Apr|Aug|Sept|Oct|Nov|Dec)\Z"
)
_LONGEST_ABBREVIATION = 12


def sentences(text: str) -> list[str]:
    """The sentences of `text` in their order, none blank, without white space around them."""
    found, start = [], 0
    for end in _END.finditer(text):
        if not (end[0].startswith(".") and _goes_on(text, end)):
            found.append(text[start : end.end()].strip())
            start = end.end()
    return [sentence for sentence in [*found, text[start:].strip()] if sentence]


def _goes_on(text: str, stop: re.Match[str]) -> bool:
    """Whether the sentence goes on after the full stop `stop`."""
    before = text[max(0, stop.start() - _LONGEST_ABBREVIATION) : stop.start()]
    if _GOES_ON.search(before):
        return True
    following = text[stop.end() : stop.end() + _LONGEST_ABBREVIATION].lstrip()[:1]
    return following.islower() and bool(_MAY_GO_ON.search(before))
