"""Imports climb a staircase and never turn round; and what is cheap stays cheap."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "synth"
STAIRS = """
    errors rows crash disk leftovers open_files
    stream assets prompts columns yamlfile rouge transcript sentences spool journal project verbs terminal
    signals
    constitution constitution_json instructions final_answer seeds scores labels best_of_n
    instances questions consensus jsonlines judge_examples critique_examples
    models
    records
    providers step growth pairs lineup verdict said mistakes structured constraints
    sources methods filters
    registry store
    audit report publish train trainings
    pipeline
    chain engines listing
    run
    estimate tables explain
    screen
    amend
    cli
    __main__
"""
STAIR = {name: number for number, line in enumerate(STAIRS.split("\n")) for name in line.split()}
HEAVY = ("torch", "datasets", "transformers", "pandas", "pyarrow", "openai", "anthropic", "ruamel.yaml")


def files() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if "_shipped" not in path.parts]


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def stair_of(module: str) -> str:
    """The folder or file of the package that `module` belongs to; "" for the package itself."""
    return [*module.split("."), ""][1]


@cache
def modules() -> frozenset[str]:
    return frozenset(module_of(path) for path in files())


@cache
def imports(path: Path) -> tuple[tuple[int, str], ...]:
    """Every module of ours that `path` imports anywhere, also in a function, with the line."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return tuple((line, name) for node in ast.walk(tree) for line, name in _named(node) if name in modules())


def _named(node: ast.AST) -> Iterator[tuple[int, str]]:
    if isinstance(node, ast.Import):
        yield from ((node.lineno, alias.name) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        inner = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from ((node.lineno, name if name in modules() else node.module or "") for name in inner)


def test_every_file_has_its_place_on_the_staircase() -> None:
    homeless = {stair_of(module) for module in modules()} - set(STAIR) - {""}
    assert not homeless, f"put {homeless} on a stair"


def test_imports_never_come_from_above() -> None:
    wrong = [
        f"{path.relative_to(PACKAGE.parent)}:{line} imports {name}"
        for path in files()
        for line, name in imports(path)
        if stair_of(name) and STAIR[stair_of(name)] > STAIR.get(stair_of(module_of(path)), -1)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_import_goes_in_a_circle() -> None:
    graph = {module_of(path): {name for _, name in imports(path)} - {module_of(path)} for path in files()}
    while leaves := {module for module, needs in graph.items() if not needs}:
        graph = {module: needs - leaves for module, needs in graph.items() if module not in leaves}
    assert not graph, f"in a circle, or above one: {sorted(graph)}"


def test_every_import_is_absolute() -> None:
    for path in files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not isinstance(node, ast.ImportFrom) or node.level == 0, f"{path}:{node.lineno}"


# A method is one file and one prompt folder


def methods() -> list[Path]:
    return [path for path in sorted((PACKAGE / "methods").glob("*.py")) if path.stem != "__init__"]


def prompt_names(path: Path) -> set[str]:
    """The beginnings of the prompt files that `path` names, as far as they are written out."""
    texts = {
        node.value
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return {text for text in texts if re.fullmatch(r"[a-z_]+/\S*", text)}


def test_every_prompt_folder_belongs_to_a_method() -> None:
    folders = {path.name for path in (PACKAGE / "prompts").iterdir() if path.is_dir()} - {"__pycache__"}
    assert folders <= {path.stem for path in methods()}


@pytest.mark.parametrize("path", methods(), ids=lambda path: path.stem)
def test_a_method_takes_its_words_from_its_own_folder_or_has_none(path: Path) -> None:
    folder = PACKAGE / "prompts" / path.stem
    written = {f"{path.stem}/{file.name}" for file in folder.glob("*.md")}
    named = prompt_names(path)
    assert all(name.startswith(f"{path.stem}/") for name in named), named
    for name in written:
        assert any(name.startswith(begin.removesuffix(".md")) for begin in named), f"{name} is never used"
    if not written:
        assert 'Message("user"' not in path.read_text(encoding="utf-8"), "words in code: make a prompt folder"


# What costs nothing


def loaded_by(code: str, folder: Path) -> set[str]:
    """The modules that are loaded once `code` has run in a new process."""
    script = f"import sys\n{code}\nsys.stderr.write('\\n'.join(['', *sys.modules]))"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=60)
    return set(done.stderr.splitlines())


def test_importing_synth_loads_nothing_heavy() -> None:
    assert not loaded_by("import synth", PACKAGE.parent) & set(HEAVY)


@pytest.mark.skipif(not (PACKAGE / "cli.py").exists(), reason="there is no command line yet")
def test_asking_for_help_loads_nothing_heavy() -> None:
    code = "sys.argv = ['synth', '--help']\nfrom synth.cli import main\nassert main() == 0"
    assert not loaded_by(code, PACKAGE.parent) & set(HEAVY)


def test_a_run_loads_neither_torch_nor_datasets() -> None:
    loaded = loaded_by("import synth.run, synth.pipeline", PACKAGE.parent)
    assert not loaded & {"torch", "datasets", "transformers"}
