"""Prompt files: one folder a method, one Markdown file a message, Jinja for the blanks.

A prompt is form; what it is filled with is content, and stays text: values are never read as templates,
and ``fence`` sets untrusted text between marks made from its own hash, which it cannot contain.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jinja2
import jinja2.meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from synth.errors import Problem, UserError, unknown

FOLDER = Path(__file__).parent


def fence(text: str) -> str:
    """`text` between marks that it cannot forge: they hold a hash of the text itself."""
    mark = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return f"[begin {mark}]\n{text}\n[end {mark}]"


_jinja = ImmutableSandboxedEnvironment(
    undefined=jinja2.StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True
)
_jinja.filters["fence"] = fence


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt file. `text` is the template without its front matter."""

    path: Path
    text: str

    def fill(self, **blanks: object) -> str:
        """The prompt with its blanks filled in, each exactly once.

        Raises:
            UserError: a blank was given no value, or the template is malformed.
        """
        try:
            return _template(self.text).render(blanks).strip()
        except jinja2.UndefinedError as error:
            raise UserError(Problem(f"{error}. Known blanks: {', '.join(blanks)}", str(self.path))) from error
        except jinja2.TemplateSyntaxError as error:
            raise UserError(Problem(str(error), str(self.path), error.lineno or 0)) from error


def problems(name: str, folder: Path) -> list[Problem]:
    """What is wrong with a user's own prompts for the method `name`, in ``folder/name``.

    They must be templates, and have no blanks but those of the prompt that they stand in for.
    """
    found = []
    for ours in sorted((FOLDER / name).glob("*.md")):
        path = folder / name / ours.name
        if path.is_file():
            found += _problems(path, _blanks(load(f"{name}/{ours.name}").text))
    return found


def _problems(path: Path, known: set[str]) -> list[Problem]:
    try:
        strange = _blanks(load(path.name, (path.parent,)).text) - known
    except jinja2.TemplateSyntaxError as error:
        return [Problem(f"not a template: {error}", str(path), error.lineno or 0)]
    return [Problem(unknown("blank", name, known), str(path)) for name in sorted(strange)]


def _blanks(template: str) -> set[str]:
    return jinja2.meta.find_undeclared_variables(_jinja.parse(template))


@cache
def _template(text: str) -> jinja2.Template:
    return _jinja.from_string(text)


@cache
def load(name: str, folders: tuple[Path, ...] = (FOLDER,)) -> Prompt:
    """The prompt ``name`` (such as ``critique_revise/critique.md``) in the first folder that has it.

    Raises:
        UserError: none of them has it.
    """
    for folder in folders:
        path = folder / name
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            return Prompt(path, re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL))
    raise UserError(f"no prompt file {name!r} in {', '.join(map(str, folders))}")
