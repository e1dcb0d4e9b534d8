"""pipeline.yaml as objects. Every mistake in it is found here, with its place, before any call.

A pipeline names models and chains steps; a step reads the one before it, or those in its ``from``. What
no step reads goes into the dataset. The keys of a step, model, view or training are the fields of its class.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from synth import assets, prompts, registry, yamlfile
from synth.errors import Problem, UserError, unknown
from synth.mistakes import At, dotted, sentence
from synth.models.base import Budget, Provider, Usage
from synth.models.client import SAMPLING
from synth.models.embedded.weights import locate
from synth.models.ledger_file import Synchronous
from synth.registry import Group
from synth.step import Names, Step, marks
from synth.store.version import DatasetSpec
from synth.store.views import View
from synth.train.base import Training
from synth.train.held_out import read_pairs
from synth.yamlfile import YamlFile

KEYS = (
    *("name", "seed", "models", "steps", "dataset", "fail_on", "budget", "ledger"),
    *("train", "evaluate", "publish"),
)
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
LICENSE = r"^[a-z0-9][a-z0-9.-]*\z"

PAIRS = Names("seeds", read_pairs)

Part = TypeVar("Part", bound=BaseModel)


class Dataset(BaseModel):
    """The ``dataset:`` section. `views` are names, or a name with the view's own keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    views: list[str | dict[str, Any]] = Field(default=["sft", "preference"], min_length=1)
    test_fraction: float = Field(0.0, ge=0, lt=1, description="share of root prompts in the test split")
    license: Annotated[str, Field(pattern=LICENSE)] = "other"


class Evaluate(BaseModel):
    """The ``evaluate:`` section: pairs kept apart from all training, to measure every trained model on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pairs: str = "held_out_pairs"


class LedgerSettings(BaseModel):
    """The ``ledger:`` section. With `normal`, a power loss may take the newest records; a kill never does."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    synchronous: Synchronous = "full"


class Publish(BaseModel):
    """The ``publish:`` section."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    repo: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+\z")]
    private: bool = True


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The whole file, checked.

    Attributes:
        steps: in the order of the file; each reads the steps in its `from_`, which is always filled in.
        dataset: what the dataset is to look like.
        fail_on: the most rows that may fail in all; a float: the largest share of those that come to a step.
        providers: who answers, by the name of the model.
        notes: what a reader should know before the first call.
        assets: the files that it reads besides itself.
    """

    path: Path
    text: str
    name: str
    seed: int
    providers: Mapping[str, Provider]
    steps: tuple[Step, ...]
    dataset: DatasetSpec
    fail_on: float | int | None = None
    budget: Budget | None = None
    ledger: LedgerSettings = field(default_factory=LedgerSettings)
    train: tuple[Training, ...] = ()
    evaluate: Evaluate | None = None
    publish: Publish | None = None
    notes: tuple[str, ...] = ()
    assets: tuple[Path, ...] = ()

    @property
    def folder(self) -> Path:
        """Where relative names in the file start."""
        return self.path.parent

    def leaves(self) -> list[str]:
        """Ids of the steps that no step reads: their rows are the dataset."""
        read = {name for step in self.steps for name in step.from_}
        return [step.id for step in self.steps if step.id not in read]


def read(path: Path, *, allow_code: bool = False) -> Pipeline:
    """The pipeline in the file `path`.

    Args:
        allow_code: run Python modules inside the project folder that the file names by a dotted name.

    Raises:
        UserError: every mistake in the file, and in the files that it names.
    """
    file = yamlfile.read(path)
    reader = _Reader(file, project=Path.cwd() if allow_code else None)
    pipeline = reader.pipeline()
    if reader.problems:
        raise UserError(
            sorted(reader.problems, key=lambda problem: (problem.file != str(path), problem.line))
        )
    return pipeline


@dataclass
class _Reader:
    """Reads one file, and gathers its mistakes instead of stopping at the first."""

    file: YamlFile
    project: Path | None
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    assets: list[Path] = field(default_factory=list)

    def pipeline(self) -> Pipeline:
        top = self._mapping((), KEYS)
        name = self._name(top)
        models = {model: self._model(model) for model in self._mapping(("models",))}
        steps = self._chain(self._list("steps", registry.STEPS, Step))
        for number, step in steps.items():
            self._check_step(step, ("steps", number, *self._kind("steps", number)), models)
        train = self._list("train", registry.TRAININGS, Training) if "train" in top else {}
        self._check_trainings(train)
        return Pipeline(
            path=self.file.path,
            text=self.file.text,
            name=name,
            seed=self._seed(top),
            providers={model: provider for model, provider in models.items() if provider},
            steps=tuple(steps.values()),
            dataset=self._dataset(name, top, list(steps.values())),
            fail_on=self._fail_on(top),
            budget=self._budget(top, models),
            ledger=self._ledger(top),
            train=tuple(train.values()),
            evaluate=self._evaluate(top, list(train.values())),
            publish=self._build(Publish, top["publish"], ("publish",)) if "publish" in top else None,
            notes=tuple(
                dict.fromkeys([*self.notes, *(note for each in train.values() for note in each.warnings)])
            ),
            assets=tuple(dict.fromkeys(self.assets)),
        )

    def _say(self, message: str, at: At = (), *, on_value: bool = True) -> None:
        self.problems.append(self.file.problem(message, at, on_value=on_value))

    def _mapping(self, at: At, known: tuple[str, ...] = ()) -> dict[str, Any]:
        """The mapping at `at`; keys that are not `known` are mistakes."""
        value = self.file.values
        for key in at:
            value = value.get(key) if isinstance(value, dict) else None
        if not isinstance(value, dict):
            found = "nothing" if value is None else repr(value)
            message = f"{dotted(at) or 'the file'}: expected keys and values, found {found}"
            self._say(message, at, on_value=value is not None)
            return {}
        for key in value:
            if known and key not in known:
                self._say(unknown("key", str(key), known), (*at, key), on_value=False)
        return {str(key): entry for key, entry in value.items()}

    def _name(self, top: Mapping[str, Any]) -> str:
        name = top.get("name")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            found = "nothing" if name is None else repr(name)
            self._say(f"name: expected lower-case letters, digits, - and _, found {found}", ("name",))
            return "unnamed"
        return name

    def _seed(self, top: Mapping[str, Any]) -> int:
        seed = top.get("seed", 0)
        if not isinstance(seed, int) or isinstance(seed, bool):
            self._say(f"seed: expected a whole number, found {seed!r}", ("seed",))
            return 0
        return seed

    def _fail_on(self, top: Mapping[str, Any]) -> float | int | None:
        limit = top.get("fail_on")
        share = isinstance(limit, float) and 0 <= limit < 1
        count = isinstance(limit, int) and not isinstance(limit, bool) and limit >= 0
        if limit is None or share or count:
            return limit
        expected = "a share of at least 0 and less than 1, or a whole number of rows"
        self._say(f"fail_on: expected {expected}, found {limit!r}", ("fail_on",))
        return None

    def _ledger(self, top: Mapping[str, Any]) -> LedgerSettings:
        section = self._build(LedgerSettings, top["ledger"], ("ledger",)) if "ledger" in top else None
        return section or LedgerSettings()

    def _model(self, name: str) -> Provider | None:
        at: At = ("models", name)
        keys = self._mapping(at)
        kind = keys.pop("provider", None)
        if not isinstance(kind, str):
            self._say(f"{dotted(at)}.provider: expected a name, found {kind!r}", at)
            return None
        provider = self._component(Provider, kind, registry.PROVIDERS, keys, at)
        for key, problem in (provider.problems() if provider else {}).items():
            self._say(f"{dotted((*at, key))}: {problem}", (*at, key))
        return provider

    def _kind(self, section: str, number: int) -> At:
        entry = self.file.values[section][number]
        return tuple(entry) if isinstance(entry, dict) else ()

    def _list(self, section: str, group: Group, kind: type[Part]) -> dict[int, Part]:
        """The components of a section by their place, such as ``- respond: {model: writer}``."""
        entries = self.file.values.get(section) if isinstance(self.file.values, dict) else None
        if not isinstance(entries, list) or not entries:
            message = f"{section}: expected a list with at least one entry"
            self._say(message, (section,), on_value=entries is not None)
            return {}
        parts = [self._entry(section, number, entry, group, kind) for number, entry in enumerate(entries)]
        return {number: part for number, part in enumerate(parts) if part is not None}

    def _entry(self, section: str, number: int, entry: Any, group: Group, kind: type[Part]) -> Part | None:
        at: At = (section, number)
        entry = {entry: {}} if isinstance(entry, str) else entry
        if not isinstance(entry, dict) or len(entry) != 1:
            self._say(f"{dotted(at)}: expected one {group.word} with its keys, such as 'name: {{...}}'", at)
            return None
        [(name, keys)] = entry.items()
        if keys is not None and not isinstance(keys, dict):
            self._say(f"{dotted(at)}.{name}: expected keys and values, found {keys!r}", (*at, name))
            return None
        return self._component(kind, str(name), group, keys or {}, (*at, name))

    def _component(
        self,
        kind: type[Part],
        name: str,
        group: Group,
        keys: Mapping[str, Any],
        at: At,
    ) -> Part | None:
        """The `kind` called `name`, built from `keys`; both stand at `at`."""
        try:
            found = registry.find(kind, name, group, self.project)
        except UserError as error:
            self._say(str(error), at, on_value=False)
            return None
        return self._build(found, keys, at)

    def _build(self, kind: type[Part], keys: Any, at: At) -> Part | None:
        try:
            return kind.model_validate(keys)
        except ValidationError as error:
            for mistake in error.errors():
                where = (*at, *mistake["loc"])
                is_key = mistake["type"] == "extra_forbidden"
                message = sentence(mistake, kind)
                self._say(message if is_key else f"{dotted(where)}: {message}", where, on_value=not is_key)
            return None

    def _chain(self, steps: Mapping[int, Step]) -> dict[int, Step]:
        """The steps with their ids and what they read filled in."""
        chained: dict[int, Step] = {}
        for number, step in steps.items():
            at = ("steps", number)
            kind = type(step).__module__.rsplit(".", 1)[-1]
            name = step.id or kind
            known = [earlier.id for earlier in chained.values()]
            if name in known:
                self._say(f"{dotted(at)}: a step is called {name!r} already; give this one an id", at)
            if not NAME.fullmatch(name):
                self._say(
                    f"{dotted(at)}.id: expected lower-case letters, digits, - and _, found {name!r}", at
                )
            for read_step in step.from_:
                if read_step not in known:
                    self._say(f"{dotted(at)}.from: {unknown('step', read_step, known)}", at)
            self._check_steps_named(step, known, (*at, kind))
            chained[number] = step.model_copy(update={"id": name, "from_": self._reads(step, known, at)})
        return chained

    def _check_steps_named(self, step: Step, known: list[str], at: At) -> None:
        """Fields that name a step must name an earlier one."""
        for field_, named in step.named("steps"):
            if named not in known:
                self._say(f"{dotted((*at, field_))}: {unknown('step', named, known)}", (*at, field_))

    def _reads(self, step: Step, known: list[str], at: At) -> list[str]:
        if step.makes:
            if step.from_:
                self._say(f"{dotted(at)}.from: rows begin in this step; it reads none", at)
            return []
        if at == ("steps", 0):
            self._say(f"{dotted(at)}: no rows to read; the first step must be one in which rows begin", at)
        return step.from_ or known[-1:]

    def _check_step(self, step: Step, at: At, models: Mapping[str, Provider | None]) -> None:
        for name, info in type(step).model_fields.items():
            value = getattr(step, name)
            for mark in marks(info) if value is not None else ():
                for named in _each(value):
                    self._check_name(mark, named, (*at, name), models)
        self._check_capabilities(step, at, models)
        for folder in {self.file.path.parent / "prompts", Path.cwd() / "prompts"}:
            self.problems += prompts.problems(type(step).__module__.rsplit(".", 1)[-1], folder)
        try:
            for name, problem in step.problems(self.file.path.parent):
                self._say(f"{dotted((*at, name))}: {problem}", (*at, name))
        except UserError:
            pass  # a file that is not there: said already, by its name

    def _check_name(self, mark: Names, name: str, at: At, models: Mapping[str, Provider | None]) -> None:
        if mark.kind == "steps":
            return  # checked where the steps are chained
        if mark.kind == "models":
            if name not in models:
                self._say(f"{dotted(at)}: {unknown('model', name, models)}", at)
            return
        try:
            path = assets.find(mark.kind, name, self.file.path.parent)
            self.assets.append(path)
            if mark.read:
                mark.read(path)
        except UserError as error:
            inside = [problem for problem in error.problems if problem.file]
            self.problems += inside
            for problem in error.problems:
                if problem not in inside:
                    self._say(f"{dotted(at)}: {problem.message}", at)

    def _check_capabilities(self, step: Step, at: At, models: Mapping[str, Provider | None]) -> None:
        """What a provider cannot do is said now: refused if the file asks for it, else noted."""
        for name, wanted in step.wants().items():
            for model in _each(getattr(step, name) or ()):
                provider = models.get(model)
                for capability in sorted(wanted - provider.capabilities) if provider else ():
                    self._say(f"{dotted((*at, name))}: {model} gives no {capability}", (*at, name))
        for model in step.models_used():
            self._check_sampling(step, at, model, models.get(model))

    def _check_sampling(self, step: Step, at: At, model: str, provider: Provider | None) -> None:
        for name in SAMPLING if provider else ():
            if getattr(step, name, None) is None or name in provider.capabilities:  # type: ignore[union-attr]
                continue
            if name in step.model_fields_set:
                self._say(f"{dotted((*at, name))}: {model} takes no {name}; leave it out", (*at, name))
            else:
                self.notes.append(f"{step.id}: {model} takes no {name}; its own default holds")

    def _budget(self, top: Mapping[str, Any], models: Mapping[str, Provider | None]) -> Budget | None:
        """The budget of all models together. A limit in US dollars needs to know what a model costs."""
        whole = self._build(Budget, top["budget"], ("budget",)) if "budget" in top else None
        for name, provider in models.items():
            if provider is None or provider.cost_usd(Usage(1, 1)) is not None:
                continue
            for budget, at in (
                (whole, ("budget", "usd")),
                (provider.budget, ("models", name, "budget", "usd")),
            ):
                if budget and budget.usd is not None:
                    self._say(
                        f"{dotted(at)}: what models.{name} costs is not known. Say it: "
                        "price: {input: 0.5, output: 1.5}, in USD a million tokens",
                        at,
                    )
        return whole

    def _check_trainings(self, trainings: Mapping[int, Training]) -> None:
        known: list[str] = []
        for number, training in trainings.items():
            at: At = ("train", number, *self._kind("train", number))
            if training.from_ and training.from_ not in known:
                self._say(f"{dotted(at)}.from: {unknown('training', training.from_, known)}", (*at, "from"))
            if training.name in known:
                self._say(
                    f"{dotted(at)}: a training is called {training.name!r} already; give this one an id", at
                )
            known.append(training.name)
            self._check_base(training, at)

    def _check_base(self, training: Training, at: At) -> None:
        if not training.base and not training.from_:
            self._say(f"{dotted(at)}: missing base (a model) or from (an earlier training)", at)
        if not training.base:
            return
        try:
            if locate(training.base, self.file.path.parent).checkpoint is None:
                self._say(
                    f"{dotted(at)}.base: {training.base!r} has no checkpoint to train on", (*at, "base")
                )
        except UserError as error:
            self._say(f"{dotted(at)}.base: {error}", (*at, "base"))

    def _evaluate(self, top: Mapping[str, Any], train: list[Training]) -> Evaluate | None:
        if "evaluate" not in top:
            return None
        if not train:
            self._say("evaluate: there is nothing to measure without a train section", ("evaluate",))
        section = self._build(Evaluate, top["evaluate"] or {}, ("evaluate",))
        if section:
            self._check_name(PAIRS, section.pairs, ("evaluate", "pairs"), {})
        return section

    def _dataset(self, name: str, top: Mapping[str, Any], steps: list[Step]) -> DatasetSpec:
        section = top.get("dataset") or {}
        dataset = self._build(Dataset, section, ("dataset",)) or Dataset()
        views = dict(self._views(dataset))
        known = [step.id for step in steps]
        for view, built in views.items():
            for judge in _each(getattr(built, "judge", None) or ()):
                if judge not in known:
                    self._say(
                        f"dataset.views.{view}.judge: {unknown('step', judge, known)}", ("dataset", "views")
                    )
        return DatasetSpec(name, views, dataset.test_fraction, dataset.license)

    def _views(self, dataset: Dataset) -> Iterator[tuple[str, View]]:
        seen: set[str] = set()
        for number, entry in enumerate(dataset.views):
            at: At = ("dataset", "views", number)
            if isinstance(entry, dict) and len(entry) != 1:
                self._say(f"{dotted(at)}: expected one view with its keys", at)
                continue
            name, keys = (entry, {}) if isinstance(entry, str) else next(iter(entry.items()))
            view = self._component(View, str(name), registry.VIEWS, keys or {}, at)
            if str(name) in seen:
                self._say(f"{dotted(at)}: the view {name!r} is there already", at)
            seen.add(str(name))
            if view:
                yield str(name), view


def _each(value: str | Sequence[str]) -> Sequence[str]:
    """The names in a field that holds one or several."""
    return (value,) if isinstance(value, str) else value
