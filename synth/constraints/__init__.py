"""Constraints: demands on a reply that code can check, one file a family.

Zhou et al. 2023, "Instruction-Following Evaluation for Large Language Models" (IFEval, arXiv:2311.07911):
its 25 types, with the names and parameters of its data file, so that the file drives them as it stands.
What a type accepts follows the published checkers, whose scores are the ones that people compare; each file
says where it differs. Patterns take time in proportion to the text, since a model may write anything.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

Relation = Literal["less than", "at least"]


class Constraint(BaseModel, ABC):
    """One demand. Its fields are the parameters of the type `id`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: ClassVar[str]

    @abstractmethod
    def holds(self, text: str) -> bool:
        """Whether `text`, which is not blank, does what is demanded."""

    @abstractmethod
    def words(self) -> str:
        """The demand as a sentence to put to a model."""


def within(count: int, relation: Relation, limit: int) -> bool:
    """Whether `count` is less than, or at least, `limit`."""
    return count < limit if relation == "less than" else count >= limit


def times(count: int) -> str:
    """`count` as one says how often: "1 time", "3 times"."""
    return f"{count} time" if count == 1 else f"{count} times"
