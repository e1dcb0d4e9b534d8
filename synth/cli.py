"""The command line: one short function a verb.

Only typer is imported here; every verb imports what it needs, so that ``--help`` costs nothing. Exit codes:
0 done, 1 failed, or more rows did than `fail_on` allows, 2 a file or an option needs an edit, 3 the provider
refuses the run, 4 the budget is spent, 5 storage, 130 interrupted, 143 asked to end.
"""

import asyncio
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from synth.errors import Problem, SynthError, UserError
from synth.records.commands import ledger

if TYPE_CHECKING:
    from rich.console import Console

    from synth.pipeline import Pipeline
    from synth.signals import Stop

GRACE_S = 30.0

app = typer.Typer(
    name="synth",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Make training data with AI feedback, governed by principles, and train on it.",
)
model = typer.Typer(no_args_is_help=True, help="The models on this machine.")
app.add_typer(model, name="model")
audit = typer.Typer(no_args_is_help=True, help="Recorded judges against people. Makes no call.")
app.add_typer(audit, name="audit")
constitution = typer.Typer(no_args_is_help=True, help="Principles: what is odd, what changed, what it costs.")
app.add_typer(constitution, name="constitution")
app.add_typer(ledger, name="ledger")

PipelineFile = Annotated[str, typer.Argument(metavar="PIPELINE", help="a pipeline file, or the name of one")]
VersionName = Annotated[str, typer.Argument(metavar="VERSION", help="a version's folder, NAME/v3, or NAME")]
Limit = Annotated[int | None, typer.Option(min=1, help="begin at most so many rows in every source")]
ConstitutionFile = Annotated[str, typer.Argument(help="a constitution file, or the name of one")]
Grace = Annotated[float, typer.Option(min=0, help="seconds that calls in flight may take once it is to stop")]
AllowCode = Annotated[bool, typer.Option(help="run Python modules of yours that the pipeline names")]


def main() -> int:
    """Run the verb. Returns the exit code."""
    try:
        # Typer turns Ctrl-C into the code 130, and returns a code rather than raising `typer.Exit`.
        code: int = app(standalone_mode=False) or 0
    except SynthError as error:
        print(error if isinstance(error, UserError) else f"synth: {error}", file=sys.stderr)
        code = error.exit_code
    except Exception as error:
        # A mistake of the command line: by Typer's release, its class is click's or a private copy of that.
        if not hasattr(error, "format_message"):
            _say_how_to_go_on()
            raise
        print(f"synth: {error.format_message()}", file=sys.stderr)
        code = 2
    if code:
        _say_how_to_go_on()
    return code


def _say_how_to_go_on() -> None:
    if sys.argv[1:2] in (["run"], ["retry"]):
        _complain(_how_to_go_on())


def _how_to_go_on() -> str:
    return f"What was bought is kept. Go on with: {shlex.join(['python', '-m', 'synth', *sys.argv[1:]])}"


def _complain(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@app.command()
def run(
    pipeline: PipelineFile, limit: Limit = None, grace: Grace = GRACE_S, allow_code: AllowCode = False
) -> None:
    """Make the dataset, train on it, measure, publish: all that PIPELINE asks for. Resumes by itself."""
    from synth.signals import Stop

    stop = Stop(grace, _complain, _how_to_go_on())
    with stop.listening():
        _run(pipeline, limit, allow_code, stop)


def _run(pipeline: str, limit: int | None, allow_code: bool, stop: "Stop") -> None:
    from synth import screen
    from synth.run import Watch
    from synth.run import run as whole

    read = _read(pipeline, allow_code)
    watch, console = Watch(), _console()
    try:
        with screen.Progress(watch, read, limit, console).shown():
            finished = asyncio.run(whole(read, _project(), watch, limit, stop))
    except SynthError:
        if watch.version:  # what was made before the failure is there, and worth seeing
            screen.dataset(watch.version, watch, console)
        raise
    screen.report(finished, watch, read, console)


@app.command()
def retry(
    pipeline: PipelineFile, limit: Limit = None, grace: Grace = GRACE_S, allow_code: AllowCode = False
) -> None:
    """Ask again what failed for good on an earlier run, then run PIPELINE."""
    from synth.run import supersede
    from synth.signals import Stop

    stop = Stop(grace, _complain, _how_to_go_on())
    with stop.listening():
        failures = supersede(_read(pipeline, allow_code), _project(), limit)
        print(f"{asyncio.run(stop.obeyed(failures))} failures are asked again")
        _run(pipeline, limit, allow_code, stop)


@app.command()
def check(pipeline: PipelineFile, allow_code: AllowCode = False) -> None:
    """Find every mistake in PIPELINE and in the files that it names. Makes no call."""
    read = _read(pipeline, allow_code)
    print(f"{read.path}: {len(read.steps)} steps, {len(read.providers)} models: no mistake found")


@app.command()
def plan(pipeline: PipelineFile, limit: Limit = None, allow_code: AllowCode = False) -> None:
    """Say what a run would find in the ledger and what it would buy. Buys nothing."""
    from synth import screen
    from synth.models.spending import spent
    from synth.run import plan as follow

    read = _read(pipeline, allow_code)
    project, console = _project(), _console()
    screen.planned(read, asyncio.run(follow(read, project, limit)), limit, console)
    screen.budget(read, spent(project.spending, read.name), console)


@app.command("list")
def list_() -> None:
    """List steps, providers, views, trainings, files to edit, dataset versions and models."""
    from synth import listing

    listing.show(_project(), _console())


@app.command()
def show(version: VersionName) -> None:
    """Show a version: what is in it, what was dropped and why, how far its judges agree."""
    from synth import screen
    from synth.store.version import find

    screen.shown(find(version, _project().datasets), _console())


@app.command()
def explain(
    version: VersionName,
    row: Annotated[str, typer.Argument(metavar="ROW", help="a row's id, as in a view, or how it begins")],
) -> None:
    """Say how a row came about: its calls, with prompt, model, tokens, cost and time."""
    from synth import explain as explained
    from synth.store.version import find

    project = _project()
    found = find(version, project.datasets)
    name, parts = explained.explain(found, row, project.ledger)
    explained.shown(found, name, parts, _console())


@app.command()
def init(folder: Annotated[Path, typer.Argument(help="where; made if it is not there")] = Path()) -> None:
    """Start a project: a pipeline and the constitution it goes by, to edit. Overwrites nothing."""
    from synth import assets

    for kind, name in (("pipelines", "quickstart.yaml"), ("constitutions", "harmless.md")):
        source, target = assets.shipped(kind) / name, folder / kind / name  # type: ignore[arg-type]
        if target.exists():
            print(f"{target} is there already; left as it is")
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
        print(f"{target}")
    print(f"\nnext: cd {folder} && python -m synth run pipelines/quickstart.yaml")


@app.command()
def train(
    kind: Annotated[str, typer.Argument(help="sft, reward or dpo")],
    version: VersionName,
    base: Annotated[str, typer.Option(help="a fetched model, a checkpoint folder or a Hub repository")],
    setting: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="any key of KIND")
    ] = None,
) -> None:
    """Train a model on a version, through TRL."""
    from synth.models.embedded.weights import locate
    from synth.store.version import find
    from synth.train import run as training

    chosen = _training(kind, {"base": base, **_settings(setting or [])})
    checkpoint = locate(base).checkpoint
    if checkpoint is None:
        raise UserError(f"{base!r} has no checkpoint to train on")
    project = _project()
    found = find(version, project.datasets)
    trained = training.train(
        chosen, found.path, checkpoint, project.models(str(found.manifest["name"])), progress=_step
    )
    print(f"{trained.path}  ({'was there already' if trained.reused else 'new'})")


def _training(kind: str, keys: dict[str, Any]) -> Any:
    from pydantic import ValidationError

    from synth import registry
    from synth.mistakes import sentence
    from synth.train.base import Training

    found = registry.find(Training, kind, registry.TRAININGS)
    try:
        return found.model_validate(keys)
    except ValidationError as error:
        said = [f"{mistake['loc'][0]}: {sentence(mistake, found)}" for mistake in error.errors()]
        raise UserError([Problem(sentence) for sentence in said]) from error


def _settings(pairs: list[str]) -> dict[str, Any]:
    from ruamel.yaml import YAML

    wrong = [pair for pair in pairs if "=" not in pair]
    if wrong:
        raise UserError([Problem(f"--set {pair}: expected KEY=VALUE") for pair in wrong])
    yaml = YAML(typ="safe", pure=True)
    return {key: yaml.load(value) for key, _, value in (pair.partition("=") for pair in pairs)}


def _step(step: int, of: int, metrics: Any) -> None:
    loss = metrics.get("loss")
    print(f"step {step} of {of}" + (f"  loss {loss:.4f}" if loss is not None else ""), flush=True)


@app.command()
def publish(
    version: VersionName,
    to: Annotated[str, typer.Option(metavar="ORG/NAME", help="the dataset repository on the Hub")],
    public: Annotated[bool, typer.Option(help="let everybody read it")] = False,
    dry_run: Annotated[bool, typer.Option(help="list the files, send nothing")] = False,
) -> None:
    """Publish a version on the Hub: one commit, and a tag named after the version."""
    from synth.publish import hub
    from synth.store.version import find

    done = hub.publish(find(version, _project().datasets).path, to, private=not public, dry_run=dry_run)
    for file in done.files:
        print(f"  {file}")
    if dry_run:
        seen_by = "public" if public else "private"
        print(f"would publish {len(done.files)} files to {to} ({seen_by}); nothing sent")
    else:
        print(f"{done.url}  tag {done.tag}" + ("" if done.uploaded else "  (was there already)"))


@model.command()
def fetch(name: Annotated[str, typer.Argument(help="smollm2-135m, or a Hub repository ORG/NAME")]) -> None:
    """Download a model to this machine; the one command that does."""
    from synth.models.embedded import weights

    fetched = weights.fetch(name)
    for part in (fetched.gguf, fetched.checkpoint):
        if part:
            print(part)


@audit.command()
def llmbar(
    path: Annotated[
        Path, typer.Argument(help="a folder that holds SUBSET/evaluators/JUDGE/PROMPT/result.json")
    ],
) -> None:
    """Read the answers of LLMBar's recorded judges again: accuracy, and how often a place decides."""
    from synth.audit import llmbar, printed

    print(printed.llmbar(*llmbar.read(path)))


@audit.command()
def pandalm(
    path: Annotated[Path, typer.Argument(help="a folder that holds testset-v1.json, and judges beside it")],
) -> None:
    """How far PandaLM's people agree, and its recorded judges with them."""
    from synth.audit import pandalm, printed

    print(printed.pandalm(pandalm.read(path)))


@constitution.command("check")
def check_constitution(file: ConstitutionFile) -> None:
    """Find every mistake in FILE, and note what a person should look at again."""
    from synth.amend import shown
    from synth.amend.check import check as look

    path = _constitution(file)
    shown.checked(look(path), path, _console())


@constitution.command()
def diff(before: ConstitutionFile, after: ConstitutionFile) -> None:
    """Say which principles were added, removed and changed, and what share of draws that moves."""
    from synth.amend import shown
    from synth.amend.diff import diff as compare
    from synth.constitution import read

    shown.compared(compare(read(_constitution(before)), read(_constitution(after))), _console())


@constitution.command()
def cost(
    before: ConstitutionFile,
    after: ConstitutionFile,
    pipeline: Annotated[str, typer.Option(help="a pipeline file that goes by one of them, or its name")],
    limit: Limit = None,
    allow_code: AllowCode = False,
) -> None:
    """Say what a run would buy again with AFTER in the place of BEFORE. Makes no call."""
    from synth.amend import shown
    from synth.amend.cost import cost as follow
    from synth.constitution import read

    old, new = (_constitution(name) for name in (before, after))
    for path in (old, new):
        read(path)
    going = follow(old, new, _read(pipeline, allow_code), _project(), limit)
    shown.priced(asyncio.run(going), _console())


def _constitution(name: str) -> Path:
    from synth import assets

    return Path(name) if Path(name).is_file() else assets.find("constitutions", name, Path())


def _read(name: str, allow_code: bool) -> "Pipeline":
    from synth import assets, pipeline

    path = Path(name) if Path(name).is_file() else assets.find("pipelines", name, Path())
    return _ready(pipeline.read(path, allow_code=allow_code))


def _ready(read: "Pipeline") -> "Pipeline":
    """`read`, once its notes are said and it is known that its results can be written."""
    from synth.project import check_writable

    project = _project()
    for folder in (project.ledger.parent, project.datasets, *([project.models("")] if read.train else [])):
        check_writable(folder)
    for note in read.notes:
        print(f"note: {note}", file=sys.stderr)
    return read


def _project() -> Any:
    from synth.project import Project

    return Project(Path.cwd())


def _console() -> "Console":
    from synth.terminal import console

    return console()
