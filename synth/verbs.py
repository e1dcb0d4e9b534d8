"""Verbs: what an instruction asks for in two words, its root verb and that verb's direct object.

Wang et al. 2022, "Self-Instruct" (arXiv:2212.10560), section 3.2, shows how diverse instructions are by
their commonest root verbs and the commonest direct objects of these. There a neural parser (Berkeley's, in
spaCy) makes a tree of the first sentence; its root counts if it is a verb, and so does that verb's direct
object if it is a noun.

Differs: such a parser fetches its model at run time, so a tagger whose English model lies in its package is
used instead: HanTa (Wartena 2019), trained on the British National Corpus. It names the part of speech and
the base form of each word of the first sentence; verb and object are then found by rule among the tags. A
heuristic: where the tree is deep, the verb found may not be its root. It reads English alone, and is an
extra, ``synth-feedback[verbs]``.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

MODEL = "morphmodel_en.pgz"
WORDS = 16  # of the first sentence that are looked at
BASES = 4096  # base forms that are remembered

_NUMBER = "10"
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]*\s|\n")
_WORD = re.compile(r"['\u2019]s\b|[^\W_]+(?:-[^\W_]+)*|[^\w\s]")

# The tags of the British National Corpus (C5). VV* are full verbs; VM, VB, VD and VH are auxiliaries.
_ROOTS = ("VVB", "VVI", "VVD", "VVZ")
_NOUNS = ("NN0", "NN1", "NN2")
# What may stand between a verb and the noun that is its object.
_BETWEEN = ("AT0", "DT0", "DPS", "CRD", "ORD", "AV0", "AVP", "PNP", "VVN", "VVG", "POS", "PUQ", "XX0")
_ADJECTIVES = ("AJ0", "AJC", "AJS")
# What follows a verb at the head of a sentence, and hardly ever a noun.
_AFTER_IMPERATIVE = ("AT0", "DT0", "DPS", "CRD", "PNP")


class VerbNoun(NamedTuple):
    """A root verb and its direct object, both as base forms; None for what was not found."""

    verb: str | None
    noun: str | None


@cache
def tagger() -> Any | None:
    """The tagger, loaded once; None if the extra is not installed."""
    try:
        from HanTa.HanoverTagger import HanoverTagger
    except ImportError:
        return None
    return HanoverTagger(MODEL)


def verb_noun(instruction: str) -> VerbNoun:
    """The root verb of the first sentence of `instruction` and its direct object. Needs the tagger."""
    known = tagger()
    assert known is not None, "verbs can be had if `tagger` can"
    words = _WORD.findall(_SENTENCE_END.split(instruction.strip(), maxsplit=1)[0])[:WORDS]
    # One number is as good as another, and the tagger looks at each word anew that it has not seen.
    words = [_NUMBER if word.isdecimal() else word for word in words]
    if not words:
        return VerbNoun(None, None)
    tags = known.tag_sent(words, taglevel=0)
    verb, noun = parts(tags)
    return VerbNoun(
        None if verb is None else _base(words[verb], tags[verb] if tags[verb] in _ROOTS else "VVB"),
        None if noun is None else _base(words[noun], tags[noun]),
    )


@lru_cache(BASES)
def _base(word: str, tag: str) -> str:
    known = tagger()
    assert known is not None
    base, _ = known.analyze(word, pos=tag, taglevel=1)
    return str(base).lower()


def parts(tags: Sequence[str]) -> tuple[int | None, int | None]:
    """Where the root verb and the head of its direct object stand in a sentence with these tags."""
    verb = next((place for place in range(_main_clause(tags), len(tags)) if _is_root(tags, place)), None)
    return verb, None if verb is None else _head(tags, verb + 1)


def _is_imperative(tags: Sequence[str]) -> bool:
    """Whether the first word, tagged as a noun or not at all, is rather a verb: "Coin two metaphors"."""
    return tags[0] in (*_NOUNS, "NP0", "UNC") and len(tags) > 1 and tags[1] in _AFTER_IMPERATIVE


def _main_clause(tags: Sequence[str]) -> int:
    """Where the main clause begins: behind the comma if a subordinate one comes first ("If it rains, …")."""
    commas = [place for place, tag in enumerate(tags) if tag == "PUN"]
    return commas[0] + 1 if tags[0] in ("CJS", "VVN", "VVG") and commas else 0


def _is_root(tags: Sequence[str], place: int) -> bool:
    """A full verb that is no infinitive after "to"; or a word at the head that must be one."""
    if place == 0 and _is_imperative(tags):
        return True
    return tags[place] in _ROOTS and (place == 0 or tags[place - 1] != "TO0")


def _head(tags: Sequence[str], start: int) -> int | None:
    """The last noun of the first noun phrase from `start` on, if nothing but such a phrase stands there."""
    places = _phrase(tags, start)
    first = next((place for place in places if tags[place] in _NOUNS or tags[place] == "NP0"), None)
    if first is None:
        return None
    last = first
    while last + 1 < len(tags) and _goes_on(tags, last + 1):
        last += 1
    return last if tags[last] in _NOUNS else None


def _phrase(tags: Sequence[str], start: int) -> Iterator[int]:
    """The places from `start` on that can belong to a noun phrase."""
    for place in range(start, len(tags)):
        tag = tags[place]
        joins = tag in ("CJC", "PUN") and tags[place - 1] in _ADJECTIVES
        if not (tag in _BETWEEN or tag in _ADJECTIVES or tag in _NOUNS or tag == "NP0" or joins):
            return
        yield place


def _goes_on(tags: Sequence[str], place: int) -> bool:
    """Whether a noun goes on at `place`: "bedtime story", "evening stretching session", "pupil's answer"."""
    if tags[place] in (*_NOUNS, "NP0", "POS"):
        return True
    return tags[place] == "VVG" and place + 1 < len(tags) and tags[place + 1] in _NOUNS
