"""Told: what is known of a judge in a sentence or two, for the card and for the terminal."""

from collections.abc import Mapping
from typing import Any


def told(judge: Mapping[str, Any]) -> str:
    """What `judge`, the numbers of `Evidence` for one step, comes to.

    A manifest that was written before a number was counted lacks it; nothing is said of that then.
    """
    say = {"pair": _pair, "rank": _rank, "likelihood": _likelihood, "score": _score, "check": _check}
    return say[judge["kind"]](judge)


def _pair(judge: Mapping[str, Any]) -> str:
    if judge.get("given") and judge["given"] == judge["judgments"]:
        return f"{judge['given']} comparisons were given with the data; no model was asked."
    said = (
        f"asked in both orders about {judge['both_orders']} pairs, it named the same answer in "
        f"{judge['agreed']}, the same position in {judge['same_position']} (the first in {judge['first']}) "
        f"and was exactly even in {judge['ties']}; {judge['unreadable']} of {judge['judgments']} verdicts "
        f"could not be read{_why(judge)}, {judge['not_asked']} were not asked for, since the answers were "
        f"equal; {judge['censored']} probabilities are bounds."
    )
    return said + _swayed(judge)


def _swayed(judge: Mapping[str, Any]) -> str:
    """What may have swayed a judge of pairs besides the position."""
    said = ""
    if judge.get("unlike_lengths"):
        said += (
            f" Of {judge['unlike_lengths']} labels about answers of unlike length the longer one won "
            f"{judge['longer']}."
        )
    if judge.get("one_own"):
        said += f" Of {judge['one_own']} labels about one answer of its own that one won {judge['own']}."
    return said


def _rank(judge: Mapping[str, Any]) -> str:
    said = (
        f"gave {judge['judgments'] - judge['unreadable']} rankings; {judge['unreadable']} more could not be "
        f"read{_why(judge)}, {judge['not_asked']} were not asked for, since the answers were equal."
    )
    if judge.get("ranked_again"):
        said += (
            f" Of {judge['ranked_again']} pairs of answers that it ranked several times it always said "
            f"the same of {judge['ranked_alike']}."
        )
    return said


def _score(judge: Mapping[str, Any]) -> str:
    bounds = f" {judge['censored']} scores are bounds." if judge["censored"] else ""
    return (
        f"gave {judge['judgments'] - judge['unreadable']} scores; {judge['unreadable']} more judgements came "
        f"to none{_why(judge)}.{bounds}{_skipped(judge)} It compares no pair in two orders, so agreement "
        "under swapping does not apply."
    )


def _likelihood(judge: Mapping[str, Any]) -> str:
    return (
        f"scored {judge['judgments'] - judge['unreadable']} answers alone by their likelihood."
        f"{_skipped(judge)} No order is shown to it, so agreement under swapping does not apply."
    )


def _check(judge: Mapping[str, Any]) -> str:
    asked = judge["judgments"] - judge.get("given", 0)
    passed, failed = judge.get("passed"), judge.get("failed")
    by = f"{asked} of them with a model's help" if asked else "by code or by what is known, without a call"
    decided = "" if passed is None else f": {passed} passed, {failed} failed"
    not_made = f"{judge['unreadable']} could not be made{_why(judge)}"
    return f"made {judge['judgments']} checks, {by}{decided}; {not_made}."


def _skipped(judge: Mapping[str, Any]) -> str:
    return (
        f" {judge['not_asked']} answers were not judged, since they were empty." if judge["not_asked"] else ""
    )


def _why(judge: Mapping[str, Any]) -> str:
    """The reasons in brackets."""
    reasons = ", ".join(f"{reason} {count}" for reason, count in judge.get("reasons", {}).items())
    return f" ({reasons})" if reasons else ""
