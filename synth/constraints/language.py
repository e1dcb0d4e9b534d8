"""Language: the whole reply is in one language.

Differs: py3langid tells the languages apart, where IFEval uses langdetect, which has had no release since
2021 and draws its samples by chance; the same text is always the same language here. It chooses among the
languages that langdetect knows. A text without a letter is in no language, and fails; there it passes.
"""

import importlib
import importlib.util
from functools import cache
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator

from synth.constraints import Constraint
from synth.errors import UserError, unknown

# ISO 639-1 codes and what the languages are called.
LANGUAGES = {
    "af": "Afrikaans",
    "ar": "Arabic",
    "bg": "Bulgarian",
    "bn": "Bengali",
    "ca": "Catalan",
    "cs": "Czech",
    "cy": "Welsh",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "et": "Estonian",
    "fa": "Persian",
    "fi": "Finnish",
    "fr": "French",
    "gu": "Gujarati",
    "he": "Hebrew",
    "hi": "Hindi",
    "hr": "Croatian",
    "hu": "Hungarian",
    "id": "Indonesian",
    "it": "Italian",
    "ja": "Japanese",
    "kn": "Kannada",
    "ko": "Korean",
    "lt": "Lithuanian",
    "lv": "Latvian",
    "mk": "Macedonian",
    "ml": "Malayalam",
    "mr": "Marathi",
    "ne": "Nepali",
    "nl": "Dutch",
    "no": "Norwegian",
    "pa": "Punjabi",
    "pl": "Polish",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sk": "Slovak",
    "sl": "Slovenian",
    "so": "Somali",
    "sq": "Albanian",
    "sv": "Swedish",
    "sw": "Swahili",
    "ta": "Tamil",
    "te": "Telugu",
    "th": "Thai",
    "tl": "Tagalog",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "ur": "Urdu",
    "vi": "Vietnamese",
    "zh": "Chinese",
}


def _known(code: str) -> str:
    if code not in LANGUAGES:
        raise ValueError(unknown("language code", code, LANGUAGES))
    return code


class ResponseLanguage(Constraint):
    """All of it is in `language`.

    Raises:
        UserError: py3langid, which tells languages apart, is not installed; said before anything is checked.
    """

    id: ClassVar[str] = "language:response_language"
    language: Annotated[str, AfterValidator(_known)]

    def model_post_init(self, _: Any) -> None:
        """Nothing is made that could not be checked here."""
        require()

    def holds(self, text: str) -> bool:
        """Whether that is the language which the text is most likely in."""
        return language(text) == self.language

    def words(self) -> str:
        """The demand."""
        return f"Write everything in {LANGUAGES[self.language]} and nothing in any other language."


def require() -> None:
    """Make sure that `language` can be asked.

    Raises:
        UserError: py3langid is not installed.
    """
    if importlib.util.find_spec("py3langid") is None:
        raise UserError(
            "this constraint needs to tell languages apart: pip install py3langid, "
            "or drop the rows whose types speak of a language or of English"
        )


def language(text: str) -> str | None:
    """ISO 639-1 code of the language that `text` is most likely in; None if nothing in it tells."""
    code, score = _identifier().classify(text.lower())
    return str(code) if score > _NOTHING_TELLS and any(map(str.isalpha, text)) else None


# A text that has no feature of any language gets a score below this, and the first code of the list.
_NOTHING_TELLS = -1e38


@cache
def _identifier() -> Any:
    module = importlib.import_module("py3langid.langid")  # a second to load, so only when it is needed
    identifier = module.LanguageIdentifier.from_model_file(module.MODEL_FILE)
    identifier.set_languages(list(LANGUAGES))
    return identifier
