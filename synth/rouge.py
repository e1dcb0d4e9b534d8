"""ROUGE-L: how much two texts share, in order; and a pool that finds the nearest of many.

Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries": the F-measure of the longest common
subsequence of tokens. Differs from the reference package `rouge_score`, as self-instruct uses it, in the
tokenizer alone: tokens are Unicode words, where the reference keeps only a-z and 0-9 and so scores two
equal Chinese texts 0.
"""

import re
from collections.abc import Iterable

from rapidfuzz.distance import LCSseq

# A run of Latin letters or digits is a word; Chinese and Japanese have no spaces, so a character is one.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")
# The F-measure of one text wholly inside another can come out a rounding above its own bound.
SLACK = 1 + 1e-12


def tokens(text: str) -> tuple[str, ...]:
    """The words of `text`, case-folded."""
    return tuple(_WORD.findall(text.casefold()))


def f_measure(one: tuple[str, ...], other: tuple[str, ...]) -> float:
    """ROUGE-L F of two token lists, in [0, 1]: 2pr / (p + r) in float64, as the reference computes it."""
    shared = LCSseq.similarity(one, other)
    if not shared:
        return 0.0
    precision, recall = shared / len(other), shared / len(one)
    return 2 * precision * recall / (precision + recall)


class Pool:
    """Texts, against which a new one's novelty is measured."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._texts: list[str] = []
        self._tokens: list[tuple[str, ...]] = []
        for text in texts:
            self.add(text)

    def add(self, text: str) -> None:
        """Take `text` into the pool."""
        self._texts.append(text)
        self._tokens.append(tokens(text))

    def nearest(self, text: str) -> tuple[float, str]:
        """The highest ROUGE-L F of `text` with a text of the pool, and that text; (0.0, "") if none."""
        words = tokens(text)
        best, nearest = 0.0, ""
        for other, kept in zip(self._tokens, self._texts, strict=True):
            # A pair's F is at most that of the shorter text being wholly inside the longer one.
            bound = 2 * min(len(words), len(other)) / max(len(words) + len(other), 1)
            if bound * SLACK > best and (score := f_measure(words, other)) > best:
                best, nearest = score, kept
        return best, nearest
