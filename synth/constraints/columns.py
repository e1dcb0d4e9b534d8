"""Where a row says what its answers are checked for, and whether it says so rightly."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from synth.columns import at
from synth.constraints import Constraint
from synth.constraints.catalogue import TYPES, read_all
from synth.errors import RowError
from synth.final_answer import known_answer

_IDS = TypeAdapter(list[str])
_PARAMETERS = TypeAdapter(list[dict[str, Any]])


@dataclass(frozen=True, slots=True)
class Unfit:
    """Why a row cannot be checked: a reason of one or two words in snake_case, and the whole of it."""

    reason: str
    message: str


class Columns(BaseModel):
    """Keys of a step that checks: what is checked, and the facts of a row that say against what."""

    what: Literal["constraints", "maths", "answer"] = Field(
        "constraints",
        description="constraints: IFEval's; answer: the final answer that an answer marks is the known one; "
        "maths: the same, and of an answer that marks none the last number counts",
    )
    ids: str = Field("instruction_id_list", description="fact with the constraints' types; a.b is b in a")
    parameters: str = Field("kwargs", description="fact with the parameters of each constraint")
    gold: str = Field(
        "answer", description="fact with the known answer, alone or at the end of its reasoning"
    )

    def constraints(self, facts: Mapping[str, Any]) -> list[Constraint] | Unfit:
        """The constraints that `facts` name.

        Raises:
            UserError: one of them cannot be checked on this machine.
        """
        given = at(facts, self.ids), at(facts, self.parameters)
        try:
            ids, parameters = _IDS.validate_python(given[0]), _PARAMETERS.validate_python(given[1])
        except ValidationError:
            return Unfit(
                "no_constraint",
                f"expected a list of constraint types in {self.ids!r} and of their parameters in "
                f"{self.parameters!r}, found {given[0]!r:.200} and {given[1]!r:.200}",
            )
        if not ids:
            return Unfit("no_constraint", f"the list in {self.ids!r} is empty")
        try:
            return read_all(ids, parameters)
        except RowError as error:
            unknown = any(id_ not in TYPES for id_ in ids)
            return Unfit("unknown_constraint" if unknown else "bad_parameters", str(error))

    def known_answer(self, facts: Mapping[str, Any]) -> str | Unfit:
        """The known answer that `facts` hold: what it marks as its final answer, or all of it."""
        given = at(facts, self.gold)
        return known_answer(given) or Unfit(
            "no_known_answer", f"expected an answer in {self.gold!r}, found {given!r:.200}"
        )
