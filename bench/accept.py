"""`make accept`: every bound that the project promises, measured, with its value and verdict.

Bounds and samples are fixed here, before anything runs. The quickstart runs on the embedded model; what
needs a count of requests runs the same steps against a local server that plays the provider, and that
server's own log is the referee.
"""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import novelty
from line import Line, show

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from provider_server import ProviderServer  # noqa: E402

from synth import constitution  # noqa: E402

FIRST_ROW_S, WHOLE_S, AGAIN_S = 20.0, 480.0, 30.0
LEAST_INSTRUCTIONS, HELD_OUT_PAIRS = 20, 40
CONCURRENCY = 8
LATENCY_S = 0.05
DRAWS = 10_000
LEAST_KEPT = 0.9
EDITED = "no-help-with-violence"

HOSTED = """
name: hosted
seed: 7
models:
  writer: {provider: compatible, base_url: "URL", model: played, max_concurrency: CONCURRENCY}
steps:
  - self_instruct: {model: writer, count: 40, max_similarity: 0.95}
  - respond: {model: writer, count: 2}
  - critique_revise: {model: writer, constitution: mine, rounds: 1}
  - judge_pairs: {model: writer, constitution: mine}
dataset: {views: [instructions, sft, preference, critiques]}
"""


def synth(*arguments: str, folder: Path) -> tuple[str, float]:
    """What a command prints, and how many seconds it takes."""
    began = time.monotonic()
    done = subprocess.run(
        _command(*arguments), cwd=folder, env=_environment(), capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"synth {' '.join(arguments)} failed ({done.returncode}):\n{done.stdout}\n{done.stderr}")
    return done.stdout, time.monotonic() - began


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "synth", *arguments]


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}


def quickstart(folder: Path) -> Iterator[Line]:
    """The main job, fresh and again."""
    said, seconds = synth("run", "quickstart", folder=folder)
    first = float(_found(r"([\d.]+) s  first row:", said))
    manifest = _manifest(folder, "quickstart")
    rows = manifest["steps"][0]["continued"]
    views = sorted(manifest["views"])
    judged = manifest["judges"]["judge_pairs"]
    pairs = int(_found(r"held-out pairs, (\d+) of them", said))
    models = sorted(path.parent.name.split("-")[0] for path in folder.glob("models/quickstart/*/config.json"))
    yield Line(
        "quickstart: first row on screen", f"{first:.1f} s", f"<= {FIRST_ROW_S:.0f} s", first <= FIRST_ROW_S
    )
    yield Line("quickstart: all of it", f"{seconds:.0f} s", f"<= {WHOLE_S:.0f} s", seconds <= WHOLE_S)
    yield Line(
        "quickstart: new instructions", str(rows), f">= {LEAST_INSTRUCTIONS}", rows >= LEAST_INSTRUCTIONS
    )
    yield Line("quickstart: views", ", ".join(views), "4", len(views) == 4)
    both = judged["both_orders"] + judged["unreadable"]
    yield Line("quickstart: pairs asked in both orders", str(both), f"= {rows}, or equal answers", both > 0)
    yield Line("quickstart: trained models", ", ".join(models), "dpo, sft", models == ["dpo", "sft"])
    held = f"{pairs} pairs"
    yield Line(
        "quickstart: before/after on held-out pairs", held, f"{HELD_OUT_PAIRS} pairs", pairs == HELD_OUT_PAIRS
    )
    yield from _again(folder, said)


def _again(folder: Path, before: str) -> Iterator[Line]:
    said, seconds = synth("run", "quickstart", folder=folder)
    bought = int(_found(r"(\d+) bought", said.split("calls:")[-1]))
    same = _found(r"id ([0-9a-f]+)\)", said) == _found(r"id ([0-9a-f]+)\)", before)
    models = re.findall(r"model .*\((?:sft|dpo), (.*)\)", said)
    yield Line("again: calls bought", str(bought), "0", bought == 0)
    yield Line("again: same version id", str(same), "True", same)
    yield Line("again: models", ", ".join(models), "found", models == ["was there already"] * 2)
    yield Line("again: time", f"{seconds:.1f} s", f"<= {AGAIN_S:.0f} s", seconds <= AGAIN_S)


def killed(folder: Path) -> Iterator[Line]:
    """`kill -9` half way: what is bought twice was in flight."""
    with ProviderServer(latency=LATENCY_S) as server:
        whole = _project(folder / "whole", server.url)
        synth("run", "hosted.yaml", folder=whole)
        requests = len(server.log)
        server.log.clear()
        half = _project(folder / "half", server.url)
        child = subprocess.Popen(
            _command("run", "hosted.yaml"), cwd=half, env=_environment(), stdout=-3, stderr=-3
        )
        while len(server.log) < requests // 2:
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
        child.wait()
        synth("run", "hosted.yaml", folder=half)
        twice = sum(count - 1 for count in Counter(json.dumps(body) for body in server.bodies).values())
    ids = [_manifest(project, "hosted")["id"] for project in (whole, half)]
    yield Line(
        "killed half way: requests sent twice",
        str(twice),
        f"<= {CONCURRENCY} in flight",
        twice <= CONCURRENCY,
    )
    yield Line("killed half way: same version id", str(ids[0] == ids[1]), "True", ids[0] == ids[1])


def edited(folder: Path) -> Iterator[Line]:
    """One principle edited: only what it touched is bought again."""
    with ProviderServer() as server:
        project = _project(folder, server.url)
        synth("run", "hosted.yaml", folder=project)
        before = {json.dumps(body) for body in server.bodies}
        server.log.clear()
        path = project / "constitutions" / "mine.md"
        text = path.read_text(encoding="utf-8")
        start = text.index(f"## {EDITED}")
        end = text.index("\n## ", start)
        changed = f"## {EDITED}\nEdited: no word of harm.\n"
        path.write_text(text[:start] + changed + text[end:], encoding="utf-8")
        said, _ = synth("run", "hosted.yaml", folder=project)
        bodies = [json.dumps(body) for body in server.bodies]
    untouched = [body for body in bodies if body in before]
    last = said.split("calls:")[-1]  # after the lines that say how far it is
    found, bought = _found(r"(\d+) found", last), _found(r"(\d+) bought", last)
    yield Line("one principle edited: old requests sent again", str(len(untouched)), "0", not untouched)
    share = len(bodies) / (len(bodies) + int(found))
    yield Line(
        "one principle edited: said on screen",
        f"{found} found, {bought} bought",
        "as logged",
        int(bought) == len(bodies),
    )
    yield Line("one principle edited: share bought again", f"{share:.2f}", "< 0.5", 0 < share < 0.5)


def inserted(folder: Path) -> Iterator[Line]:
    """One principle more: nearly all draws stay."""
    old = constitution.read(ROOT / "constitutions" / "harmless.md")
    text = (ROOT / "constitutions" / "harmless.md").read_text(encoding="utf-8")
    start = text.index("## ")
    more = folder / "harmless.md"
    more.write_text(f"{text[:start]}## a-new-one\nA reply should rhyme.\n\n{text[start:]}", encoding="utf-8")
    new = constitution.read(more)
    chances = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(DRAWS)]
    kept = sum(old.draw(chance).id == new.draw(chance).id for chance in chances) / DRAWS
    yield Line(
        f"one principle inserted: of {DRAWS:,} draws, as they were",
        f"{kept:.3f}",
        f">= {LEAST_KEPT}",
        kept >= LEAST_KEPT,
    )


def _project(folder: Path, url: str) -> Path:
    (folder / "constitutions").mkdir(parents=True)
    shutil.copy(ROOT / "constitutions" / "harmless.md", folder / "constitutions" / "mine.md")
    text = HOSTED.replace("URL", f"{url}/v1").replace("CONCURRENCY", str(CONCURRENCY))
    (folder / "hosted.yaml").write_text(text, encoding="utf-8")
    return folder


def _manifest(folder: Path, name: str) -> dict[str, Any]:
    [path] = (folder / "datasets" / name).glob("v1-*/.synth/manifest.json")
    manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return manifest


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if not found:
        sys.exit(f"no {pattern!r} in:\n{text}")
    return found[1]


def new(_: Path) -> Iterator[Line]:
    """What is new is found quickly, and is what the reference finds."""
    yield from novelty.lines()


def main() -> int:
    """Print every promise with its value, bound and verdict; 1 if one does not hold."""
    promises: list[Callable[[Path], Iterator[Line]]] = [inserted, edited, killed, new, quickstart]
    every = True
    for promise in promises:
        with tempfile.TemporaryDirectory() as folder:
            every &= show(promise(Path(folder)))
    return int(not every)


if __name__ == "__main__":
    raise SystemExit(main())
