"""ROUGE-L: how much two texts share, in order; and a pool that says what is new among many.

Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries": the F-measure of the longest common
subsequence of tokens, as the package `rouge_score` computes it, to the last bit. Differs in two ways. The
default tokenizer takes words of any script, where the package keeps only a-z and 0-9 and so scores two
equal Chinese texts 0; `faithful_tokens` is the package's. And a pool finds what is near by counting, where
self-instruct scores a candidate with every text there is.

The counting rests on two facts. A common subsequence is no longer than the number of tokens that two texts
have in common, each as often as both have it. And float64 keeps the order of two F-measures of texts of the
same lengths, so that F of that number is a bound which no rounding breaks.
"""

import re
import sys
import unicodedata
from array import array
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import process
from rapidfuzz.distance import LCSseq

Tokenizer = Callable[[str], Sequence[str]]
_Occurrence = str | tuple[str, int]
_Sequence = str | Sequence[int]
_Numbers = NDArray[np.integer[Any]]

_WORD = re.compile(r"[a-z0-9]+")
# Chinese and Japanese have no spaces, so a character is a word.
_NO_SPACES = ((0x3040, 0x30FF), (0x3400, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))
# A token's number is kept as a character as long as there are characters.
_CHARACTERS = sys.maxunicode + 1
_UNKNOWN = 0
# How many of the tokens that a near text must share are looked for. One would do; with three, next to no
# other text is scored, for hardly more counting.
_SURE = 3


class _Spelling(dict[int, str]):
    """What becomes of a character: letters, digits and the marks on them stay, the rest is a space."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        if unicodedata.category(char)[0] not in "LMN":
            char = " "
        elif any(first <= code <= last for first, last in _NO_SPACES):
            char = f" {char} "
        self[code] = char
        return char


_spelling = _Spelling()


def tokens(text: str) -> tuple[str, ...]:
    """The words of `text`, case-folded; two ways of encoding the same letters are the same word."""
    folded = text.casefold()
    if folded.isascii():
        return tuple(_WORD.findall(folded))
    return tuple(unicodedata.normalize("NFKC", folded).translate(_spelling).split())


def faithful_tokens(text: str) -> tuple[str, ...]:
    """The tokens of `rouge_score` without its stemmer: runs of a-z and 0-9 in lower case."""
    return tuple(_WORD.findall(text.lower()))


def f_measure(one: Sequence[str], other: Sequence[str]) -> float:
    """ROUGE-L F of two token lists, in [0, 1]."""
    return _f(LCSseq.similarity(one, other), len(one), len(other))


def _f(shared: int, one: int, other: int) -> float:
    """2pr / (p + r) in float64, in the order of operations of the reference, which is the same both ways."""
    if not shared:
        return 0.0
    precision, recall = shared / other, shared / one
    return 2 * precision * recall / (precision + recall)


def _f_each(shared: _Numbers, one: int, others: _Numbers) -> NDArray[np.float64]:
    """`_f` of one text with many that share something with it: the same operations, so the same bits."""
    precision, recall = shared / others, shared / one
    return 2 * precision * recall / (precision + recall)


def _fewest(length: int, limit: float) -> int:
    """How many tokens a text of `length` shares, at least, with any text whose F with it is above `limit`.

    It is the fewest if the other text has no token besides. `length` + 1 if there is no such text.
    """
    return bisect_right(range(1, length + 1), limit, key=lambda shared: _f(shared, length, shared)) + 1


class Pool:
    """Texts, against which a new one's novelty is measured. All that it says is exact.

    Adding a text costs the same however many there are; memory grows with the words alone.
    """

    def __init__(self, texts: Iterable[str] = (), tokenize: Tokenizer = tokens) -> None:
        self._tokenize = tokenize
        self._texts: list[str] = []
        self._sequences: list[_Sequence] = []
        self._lengths = array("i")
        self._numbers: defaultdict[str, int] = defaultdict(count(_UNKNOWN + 1).__next__)
        # In which texts a word is a first time, a second time and so on, in order of admission.
        self._holders: defaultdict[_Occurrence, array[int]] = defaultdict(_nowhere)
        for text in texts:
            self.add(text)

    def __len__(self) -> int:
        return len(self._texts)

    @property
    def texts(self) -> Sequence[str]:
        """All texts, in order of admission."""
        return self._texts

    def add(self, text: str) -> None:
        """Take `text` into the pool."""
        words, place = self._tokenize(text), len(self._texts)
        for occurrence in _occurrences(words):
            self._holders[occurrence].append(place)
        self._sequences.append(self._sequence([self._numbers[word] for word in words]))
        self._lengths.append(len(words))
        self._texts.append(text)

    def is_new(self, text: str, limit: float) -> bool:
        """Whether no text of the pool has an F with `text` above `limit`, which is in [0, 1]."""
        assert 0 <= limit <= 1, f"a limit of {limit}"
        words = self._tokenize(text)
        places, bounds = self._bounds(words, _fewest(len(words), limit))
        above = places[bounds > limit].tolist()
        if not above:
            return True
        sequence = self._known(words)
        return all(self._score(sequence, place) <= limit for place in above)

    def nearest(self, text: str) -> tuple[float, str]:
        """The highest F of `text` with a text of the pool, and the first such text; (0.0, "") if it is 0."""
        words = self._tokenize(text)
        places, bounds = self._bounds(words, fewest=1)
        if not len(places):
            return 0.0, ""
        sequence = self._known(words)
        # The likeliest is scored first, since few of the others can then still be as near.
        best = self._score(sequence, int(places[bounds.argmax()]))
        places, bounds = places[bounds >= best], bounds[bounds >= best]
        nearest = len(self)
        for nth in np.argsort(-bounds, kind="stable").tolist():
            if bounds[nth] < best:
                break
            place = int(places[nth])
            score = self._score(sequence, place)
            if score > best or (score == best and place < nearest):
                best, nearest = score, place
        return best, self._texts[nearest]

    def scores(self, text: str) -> list[float]:
        """F of `text` with every text, in order of admission."""
        words = self._tokenize(text)
        sequences = [self._known(words)], self._sequences
        [shared] = process.cdist(*sequences, scorer=LCSseq.similarity, dtype=np.int32)
        scores, some = np.zeros(len(self)), np.flatnonzero(shared)
        scores[some] = _f_each(shared[some], len(words), np.frombuffer(self._lengths, np.intc)[some])
        found: list[float] = scores.tolist()
        return found

    def _bounds(self, words: Sequence[str], fewest: int) -> tuple[_Numbers, NDArray[np.float64]]:
        """Where there are texts that may share `fewest` of `words`, and what F with each is at most.

        The words that most texts have are nearly all of the work and tell the least, so they are not looked
        up: as many are left out as leave `_SURE` of the fewest, and count as shared with every text.
        """
        holders = sorted((self._holders.get(key, ()) for key in _occurrences(words)), key=len)
        left_out = max(fewest - _SURE, 0)
        looked_up = [np.frombuffer(held, np.intc) for held in holders[: len(holders) - left_out] if held]
        if not looked_up:
            return np.empty(0, np.intp), np.empty(0)
        counts = np.bincount(np.concatenate(looked_up))
        places = np.flatnonzero(counts >= fewest - left_out)
        lengths = np.frombuffer(self._lengths, np.intc)[places]
        shared = np.minimum(counts[places] + left_out, np.minimum(lengths, len(words)))
        return places, _f_each(shared, len(words), lengths)

    def _score(self, sequence: _Sequence, place: int) -> float:
        shared = LCSseq.similarity(sequence, self._sequences[place])
        return _f(shared, len(sequence), self._lengths[place])

    def _known(self, words: Sequence[str]) -> _Sequence:
        return self._sequence([self._numbers.get(word, _UNKNOWN) for word in words])

    def _sequence(self, numbers: list[int]) -> _Sequence:
        """Words by their numbers, as characters while those suffice: least room, and quickest to compare."""
        enough = len(self._numbers) < _CHARACTERS
        return "".join(map(chr, numbers)) if enough else array("I", numbers)


def _nowhere() -> "array[int]":
    return array("i")


def _occurrences(words: Sequence[str]) -> Iterable[_Occurrence]:
    """Each word with how often it was there before: two texts share as many of these as they share words."""
    if len(set(words)) == len(words):
        return words
    before: Counter[str] = Counter()
    occurrences: list[_Occurrence] = []
    for word in words:
        occurrences.append((word, before[word]) if word in before else word)
        before[word] += 1
    return occurrences
