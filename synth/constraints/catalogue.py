"""All constraints by the id of their type, and how one is read from a data file."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from synth.constraints import (
    Constraint,
    combination,
    content,
    ends,
    keywords,
    language,
    layout,
    length,
    letter_case,
    punctuation,
)
from synth.errors import RowError, unknown
from synth.mistakes import sentence

TYPES: Mapping[str, type[Constraint]] = {
    kind.id: kind
    for kind in (
        keywords.Existence,
        keywords.Frequency,
        keywords.ForbiddenWords,
        keywords.LetterFrequency,
        language.ResponseLanguage,
        length.NumberSentences,
        length.NumberParagraphs,
        length.NumberWords,
        length.NthParagraphFirstWord,
        content.NumberPlaceholders,
        content.Postscript,
        layout.NumberBulletLists,
        layout.ConstrainedResponse,
        layout.NumberHighlightedSections,
        layout.MultipleSections,
        layout.JsonFormat,
        layout.Title,
        combination.TwoResponses,
        combination.RepeatPrompt,
        ends.EndChecker,
        ends.Quotation,
        letter_case.CapitalWordFrequency,
        letter_case.EnglishCapital,
        letter_case.EnglishLowercase,
        punctuation.NoComma,
    )
}


def read(id_: str, parameters: Mapping[str, Any]) -> Constraint:
    """The constraint of type `id_` with `parameters`; those that are null count as left out.

    Raises:
        RowError: no such type, or parameters that do not fit it; every mistake is named.
        UserError: the constraint cannot be checked on this machine.
    """
    kind = TYPES.get(id_)
    if kind is None:
        raise RowError(unknown("constraint", id_, TYPES))
    try:
        return kind.model_validate({key: value for key, value in parameters.items() if value is not None})
    except ValidationError as error:
        mistakes = [
            f"{'.'.join(map(str, mistake['loc'])) or 'parameters'}: {sentence(mistake, kind)}"
            for mistake in error.errors()
        ]
        raise RowError(f"{id_}: {'; '.join(mistakes)}") from error


def read_all(ids: Sequence[str], parameters: Sequence[Mapping[str, Any]]) -> list[Constraint]:
    """The constraints of types `ids`, each with its `parameters`, as a row of IFEval's file holds them.

    Raises:
        RowError, UserError: as `read`; or the two are not of one length.
    """
    if len(ids) != len(parameters):
        raise RowError(f"{len(ids)} constraints, but parameters for {len(parameters)}")
    return [read(id_, given) for id_, given in zip(ids, parameters, strict=True)]
