"""The novelty filter against the package that the originals use, decision by decision, second by second.

Sizes and bounds are fixed here, before anything runs. The texts are made up: words with frequencies like
those of a language, lengths like those of instructions, and among them near copies at every distance, pairs
whose score is 7/10 as a fraction (float64 puts some above it), and texts without a token.

Who is the referee: `rouge_score` itself scores a few candidates with the whole pool, and every candidate with
its nearest. It would take hours to score all with all, so that the decisions are compared with another way to
the same numbers: its tokenizer, rapidfuzz for every pair, and its formula.

Seconds are those of this process on a core, whatever else the machine does: all threads of it count, so that
nothing wins by using more cores than one.
"""

import random
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from itertools import accumulate, count, product
from pathlib import Path

import numpy as np
from line import Line, show
from numpy.typing import NDArray
from rapidfuzz import process
from rapidfuzz.distance import LCSseq
from rouge_score import rouge_scorer, tokenize

sys.path.insert(0, str(Path(__file__).parents[1]))

from synth.rouge import Pool, faithful_tokens

POOL, CANDIDATES, NEAR, ODD = 20_000, 4_000, 1_500, 17
LIMIT = 0.7
TIMED = 3  # candidates that rouge_score scores with the whole pool
LEAST_TIMES = 1_000
ADMITTED, OFFERED, NEAR_OFFERED = 50_000, 65_000, 0.2
MOST_S = 60.0

WORDS = 20_000
SYLLABLES = ["".join(pair) for pair in product("bdfgklmnprstvz", "aeiou")]
ZIPF = list(accumulate(1 / (rank + 2.7) for rank in range(WORDS)))
OPENINGS = [
    "write a short",
    "explain how to",
    "name three",
    "what is the",
    "given the following",
    "suggest a way to",
    "describe the",
    "rewrite this sentence so that it",
    "compare",
    "why does",
    "tell me about",
]
SCORER = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)


@cache
def word(rank: int) -> str:
    """The word of that rank: the commoner, the shorter."""
    syllable = SYLLABLES[rank % len(SYLLABLES)]
    return word(rank // len(SYLLABLES) - 1) + syllable if rank >= len(SYLLABLES) else syllable


def fresh(dice: random.Random) -> str:
    """An instruction of 4 to 60 words, about 16 as in the paper."""
    length = min(max(round(dice.lognormvariate(2.55, 0.5)), 4), 60)
    words = [word(rank) for rank in dice.choices(range(WORDS), cum_weights=ZIPF, k=length)]
    opening = dice.choice(OPENINGS).split() if dice.random() < 0.6 else []
    return spelled([*opening, *words])


def near(text: str, dice: random.Random) -> str:
    """`text` with some of its words replaced, left out, doubled or moved."""
    share = dice.uniform(0, 0.5)
    words = text.rstrip(".").split()
    for place in range(len(words)):
        if dice.random() < share:
            other = word(dice.randrange(WORDS))
            words[place] = dice.choice([other, "", f"{words[place]} {words[place]}", dice.choice(words)])
    return spelled(words)


def spelled(words: list[str]) -> str:
    """`words` as a sentence."""
    text = " ".join(filter(None, words))
    return f"{text[:1].upper()}{text[1:]}."


def edges() -> list[tuple[str, str]]:
    """A pair for each way, up to 59 words, in which F is 7/10 as a fraction."""
    pairs = []
    for one, other in product(range(1, 60), repeat=2):
        shared, rest = divmod(7 * (one + other), 20)
        if not rest and shared <= min(one, other):
            name = f"e{one}x{other}"
            same = [f"{name}s{nth}" for nth in range(shared)]
            own = [
                [f"{name}{side}{nth}" for nth in range(shared, length)]
                for side, length in zip("pc", (one, other), strict=True)
            ]
            pairs.append((spelled([*same, *own[0]]), spelled([*same, *own[1]])))
    return pairs


def texts(dice: random.Random) -> tuple[list[str], list[str]]:
    """The pool, and the candidates."""
    pairs = edges()
    pool = (
        [one for one, _ in pairs]
        + [fresh(dice) for _ in range(POOL - len(pairs) - ODD)]
        + ["\u4f60\u597d?!"] * ODD
    )
    candidates = [other for _, other in pairs] + [near(dice.choice(pool), dice) for _ in range(NEAR)]
    candidates += ["", "...", "\u4f60\u597d", "caf\u00e9 caf\u00e9"] * ODD
    candidates += [fresh(dice) for _ in range(CANDIDATES - len(candidates))]
    dice.shuffle(pool)
    dice.shuffle(candidates)
    return pool, candidates


def by_every_pair(pool: list[str], candidates: list[str]) -> Iterator[NDArray[np.float64]]:
    """F of each candidate with every text of the pool, by rapidfuzz."""
    numbers: defaultdict[str, int] = defaultdict(count().__next__)

    def sequences(some: list[str]) -> list[str]:
        return ["".join(chr(numbers[token]) for token in tokenize.tokenize(text, None)) for text in some]

    known, asked = sequences(pool), sequences(candidates)
    lengths = np.array([len(sequence) for sequence in known])
    for sequence in asked:
        [shared] = process.cdist([sequence], known, scorer=LCSseq.similarity, dtype=np.int32)
        scores, some = np.zeros(len(known)), np.flatnonzero(shared)
        precision, recall = shared[some] / lengths[some], shared[some] / max(len(sequence), 1)
        scores[some] = 2 * precision * recall / (precision + recall)
        yield scores


def f_of(one: str, other: str) -> float:
    """What `rouge_score` says of a pair."""
    score: float = SCORER.score(one, other)["rougeL"].fmeasure
    return score


def as_self_instruct(candidate: str, pool: list[str]) -> list[float]:
    """As its `bootstrap_instructions.py` scores a candidate: text with text."""
    return [f_of(candidate, text) for text in pool]


def as_alpaca(candidate: str, tokens: list[list[str]]) -> list[float]:
    """As its `generate_instruction.py` scores a candidate: with tokens that were made before."""
    asked = tokenize.tokenize(candidate, None)
    return [rouge_scorer._score_lcs(asked, known).fmeasure for known in tokens]


def lines() -> Iterator[Line]:
    """Every promise about the novelty filter, measured."""
    pool, candidates = texts(random.Random(3))
    known = Pool(pool, faithful_tokens)
    began = time.process_time()
    new = [known.is_new(candidate, LIMIT) for candidate in candidates]
    ours_s = (time.process_time() - began) / len(candidates)
    # Of middle length, which is less than the mean: their time grows with it, and ours is the mean of all.
    middle = sorted(candidates, key=len)[(CANDIDATES - TIMED) // 2 :][:TIMED]
    yield from speed(pool, middle, known, ours_s)
    yield from decisions(pool, candidates, known, new)
    yield admission()


def speed(pool: list[str], candidates: list[str], known: Pool, ours_s: float) -> Iterator[Line]:
    """How many times as long the originals' ways take, and whether they say the same."""
    tokens = [tokenize.tokenize(text, None) for text in pool]
    began = time.process_time()
    theirs = [as_self_instruct(candidate, pool) for candidate in candidates]
    between = time.process_time()
    cached = [as_alpaca(candidate, tokens) for candidate in candidates]
    taken_s = {"Self-Instruct": between - began, "Alpaca": time.process_time() - between}
    other = sum(known.scores(text) != scores for text, scores in zip(candidates, theirs, strict=True))
    other += theirs != cached
    yield Line(f"novelty: {TIMED} x {POOL:,} scores, unlike rouge_score's", str(other), "0", not other)
    for who, seconds in taken_s.items():
        each_s = seconds / len(candidates)
        times = each_s / ours_s
        yield Line(
            f"novelty: as fast as rouge_score in {who} ({TIMED} timed)",
            f"{times:,.0f} x ({each_s * 1e3:.0f} / {ours_s * 1e3:.3f} ms)",
            f">= {LEAST_TIMES:,} x",
            times >= LEAST_TIMES,
        )


def decisions(pool: list[str], candidates: list[str], known: Pool, new: list[bool]) -> Iterator[Line]:
    """Whether each candidate is decided, and its nearest found, as by scoring every pair."""
    wrong = unlike = astray = 0
    for candidate, is_new, scores in zip(candidates, new, by_every_pair(pool, candidates), strict=True):
        nearest = int(scores.argmax())
        wrong += is_new == bool((scores > LIMIT).any())
        unlike += f_of(candidate, pool[nearest]) != scores[nearest]
        astray += known.nearest(candidate) != (scores[nearest], pool[nearest] if scores[nearest] else "")
    exact = [(known.is_new(other, LIMIT), f_of(one, other) <= LIMIT) for one, other in edges()]
    odd = sum(ours != theirs for ours, theirs in exact)
    found = f"{wrong} of {len(new):,} ({new.count(False):,} not new)"
    yield Line(f"novelty: decided unlike by every pair of {len(pool):,}", found, "0", not wrong)
    yield Line("novelty: nearest text unlike by every pair", str(astray), "0", not astray)
    yield Line("novelty: F with the nearest unlike rouge_score's", str(unlike), "0", not unlike)
    kept = sum(ours for ours, _ in exact)
    yield Line(
        "novelty: F of 7/10, decided unlike rouge_score", f"{odd} of {len(exact)} ({kept} kept)", "0", not odd
    )


def admission() -> Line:
    """A pool that grows from nothing, each text admitted if it is new."""
    dice = random.Random(5)
    offered: list[str] = []
    for _ in range(OFFERED):
        offered.append(
            near(dice.choice(offered), dice) if dice.random() < NEAR_OFFERED and offered else fresh(dice)
        )
    pool = Pool()
    seen = 0
    began = time.process_time()
    for text in offered:
        seen += 1
        if pool.is_new(text, LIMIT):
            pool.add(text)
        if len(pool) == ADMITTED:
            break
    seconds = time.process_time() - began
    return Line(
        f"novelty: {len(pool):,} admitted from scratch, on one core",
        f"{seconds:.1f} s, {seen:,} looked at",
        f"<= {MOST_S:.0f} s, {ADMITTED:,}",
        seconds <= MOST_S and len(pool) == ADMITTED,
    )


if __name__ == "__main__":
    raise SystemExit(not show(lines()))
