"""The store: a version is named by what it holds, is there whole or not at all, and loads as it lies."""

import os
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from synth import leftovers
from synth.errors import StorageError, UserError
from synth.journal import Journal
from synth.rows import Answer, Judgment, Message, Row, sourced
from synth.spool import Spool
from synth.store import version
from synth.store.version import DatasetSpec, Version
from synth.store.views import LeftOut, View
from synth.store.views.critiques import Critiques
from synth.store.views.instructions import Instructions
from synth.store.views.preference import Preference
from synth.store.views.sft import Sft

VIEWS: dict[str, View] = {
    "instructions": Instructions(),
    "sft": Sft(),
    "preference": Preference(),
    "critiques": Critiques(),
}
Commit = Callable[..., Version]


def row(number: int, *, judged: float | None = 0.8, text: str = "An answer") -> Row:
    prompt = (Message("user", f"Question {number}? Ünï — 中文"),)
    answers = (
        Answer(f"{text} to {number}.", "respond", calls=(f"a{number}",)),
        Answer(f"Another answer to {number}, by far the longer.", "respond", calls=(f"b{number}",)),
        Answer(
            f"A revision of {number}.",
            "revise",
            parent=1,
            principle="be-kind",
            critique="Unkind.",
            calls=("c",),
        ),
    )
    made = sourced(prompt, 0).answered(*answers)
    if judged is None:
        return made
    return made.judged(
        Judgment("judge", "pair", (0, 1), (0, 1), judged, calls=(f"j{number}",)),
        Judgment("judge", "pair", (0, 1), (1, 0), judged, calls=(f"k{number}",)),
    )


@pytest.fixture
def commit(tmp_path: Path) -> Commit:
    """Commit rows as a version of the dataset ``d``."""

    def commit_(rows: Sequence[Row], into: Path = tmp_path, **plan: Any) -> Version:
        spool, journal = Spool(into / "scratch" / "rows.sqlite"), Journal(into / "scratch" / "fates.sqlite")
        journal.open("length", made=False)
        journal.filtered("length", "some-row", "too_short", "its text")
        for one in rows:
            spool.add(one)
        origin = {"synth": "0", "made_from": {}, "steps": [], "calls": []}
        try:
            planned = DatasetSpec(**{"name": "d", "views": VIEWS, "test_fraction": 0.3, **plan})
            return version.commit(spool, planned, journal, origin, "name: d\n```\n", into / "datasets")
        finally:
            spool.close()
            journal.close()

    return commit_


ROWS = [row(number) for number in range(10)]


def front_matter(made: Version) -> Any:
    """What the card of `made` says to machines."""
    text = (made.path / "README.md").read_text(encoding="utf-8")
    return YAML(typ="safe", pure=True).load(text.split("---\n")[1])


# Identity


def test_the_order_of_rows_changes_no_version(commit: Commit, tmp_path: Path) -> None:
    shuffled = random.Random(1).sample(ROWS, len(ROWS))
    assert commit(ROWS).id == commit(shuffled, into=tmp_path / "other").id


def test_the_same_content_is_found_again(commit: Commit, tmp_path: Path) -> None:
    first, again = commit(ROWS), commit(ROWS)
    assert (first.is_new, again.is_new) == (True, False)
    assert first.path == again.path
    assert again.manifest["id"] == first.id
    assert [path.name for path in (tmp_path / "datasets" / "d").iterdir()] == [first.name]


def test_versions_are_numbered_and_know_the_one_before(commit: Commit, tmp_path: Path) -> None:
    one, two, three = (commit(ROWS[:count]) for count in (8, 9, 10))
    assert [made.name.split("-")[0] for made in (one, two, three)] == ["v1", "v2", "v3"]
    assert three.manifest["parent"] == two.name
    assert one.manifest["parent"] is None
    assert commit(ROWS[:9]).name == two.name
    datasets = tmp_path / "datasets"
    assert [made.name for made in version.versions(datasets / "d")] == [one.name, two.name, three.name]
    assert version.find("d", datasets).name == three.name
    assert version.find("d/v2", datasets).name == two.name
    assert version.find(str(one.path), datasets).name == one.name
    assert version.find(f"d/{one.id[:8]}", datasets).name == one.name
    with pytest.raises(UserError, match="unknown dataset version 'd/v9'"):
        version.find("d/v9", datasets)


def test_a_version_is_found_by_its_whole_number(commit: Commit, tmp_path: Path) -> None:
    for count in range(1, 11):
        commit(ROWS[:count])
    assert version.find("d/v1", tmp_path / "datasets").name.startswith("v1-")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"license": "mit"}, id="licence"),
        pytest.param({"test_fraction": 0.5}, id="split"),
        pytest.param({"views": {"sft": Sft()}}, id="views"),
        pytest.param({"views": VIEWS | {"sft": Sft(answers="all")}}, id="view's keys"),
    ],
)
def test_what_the_dataset_is_made_of_changes_the_version(commit: Commit, change: dict[str, Any]) -> None:
    assert commit(ROWS).id != commit(ROWS, **change).id


def test_calls_and_steps_of_others_and_names_change_no_version(commit: Commit, tmp_path: Path) -> None:
    renamed = commit(ROWS, into=tmp_path / "other", name="another-name")
    assert renamed.id == commit(ROWS).id
    unlike = [one.answered() for one in ROWS]
    object.__setattr__(unlike[0], "calls", ("another call",))
    assert commit(unlike, into=tmp_path / "third").id == renamed.id


def test_the_order_of_views_changes_no_version(commit: Commit, tmp_path: Path) -> None:
    backwards = dict(reversed(VIEWS.items()))
    assert commit(ROWS).id == commit(ROWS, into=tmp_path / "other", views=backwards).id


# Whole or absent


def test_a_version_that_cannot_be_finished_is_not_there(
    commit: Commit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for where in ("_sync", "_write_dropped"):
        with monkeypatch.context() as patched:
            patched.setattr(version, where, full)
            with pytest.raises(StorageError, match="the disk is full"):
                commit(ROWS)
        assert list((tmp_path / "datasets" / "d").iterdir()) == []
    assert commit(ROWS).is_new


def test_what_a_killed_run_left_behind_is_no_version_and_the_next_one_throws_it_away(
    commit: Commit, tmp_path: Path
) -> None:
    folder = tmp_path / "datasets" / "d"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    mine = leftovers.making(folder, "mine")
    host = mine.name.split("-")[1]
    left, theirs, elsewhere = (
        folder / name
        for name in (
            f".making-{host}-{gone.pid}-version",
            f".making-{host}-{os.getppid()}-version",
            f".making-00000000-{gone.pid}-version",
        )
    )
    for each in (left, theirs, elsewhere):
        (each / "data").mkdir(parents=True)
    assert version.versions(folder) == []
    made = commit(ROWS)
    assert made.name.startswith("v1-")
    assert set(folder.iterdir()) == {made.path, mine, theirs, elsewhere}


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="whoever runs this may write everywhere")
def test_a_folder_that_cannot_be_written_is_told(commit: Commit, tmp_path: Path) -> None:
    (tmp_path / "datasets").mkdir(mode=0o500)
    with pytest.raises(StorageError, match="cannot write the version"):
        commit(ROWS)


def test_a_file_where_the_folder_should_be_is_told(commit: Commit, tmp_path: Path) -> None:
    (tmp_path / "datasets").write_text("in the way")
    with pytest.raises(StorageError, match="cannot write the version"):
        commit(ROWS)


# What lies in the folder


def test_nothing_lies_in_the_folder_but_the_card_the_data_and_ours(commit: Commit) -> None:
    made = commit(ROWS)
    files = {str(path.relative_to(made.path)) for path in made.path.rglob("*") if path.is_file()}
    data = {f"data/{view}/{split}-00000-of-00001.parquet" for view in VIEWS for split in ("train", "test")}
    names = ("manifest.json", "statistics.json", "lineage.parquet", "dropped.parquet", "pipeline.yaml")
    ours = {f".synth/{name}" for name in names}
    assert files == {"README.md"} | data | ours
    assert set(made.manifest["files"]) == files - {".synth/manifest.json"}


def test_the_card_names_every_view_and_its_files(commit: Commit) -> None:
    made = commit(ROWS, license="cc-by-4.0")
    front = front_matter(made)
    assert front["license"] == "cc-by-4.0"
    configs = {config["config_name"]: config["data_files"] for config in front["configs"]}
    assert set(configs) == set(VIEWS)
    for view, files in configs.items():
        assert {file["split"] for file in files} == {"train", "test"}
        for file in files:
            assert list(made.path.glob(file["path"])), f"{view}: {file['path']}"


def test_every_view_that_the_card_names_loads_as_the_folder_lies(commit: Commit, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    made = commit([row(number, judged=None) for number in range(6)])
    for config in front_matter(made)["configs"]:
        view = config["config_name"]
        loaded = datasets.load_dataset(str(made.path), view, cache_dir=str(tmp_path / "cache"))
        assert {split: loaded[split].num_rows for split in loaded} == made.manifest["views"][view]["rows"]
        for split in loaded:
            assert loaded[split].to_list() == list(made.rows(view, split))
            assert loaded[split].column_names == VIEWS[view].columns.names


def test_a_view_without_rows_is_empty_and_says_why(commit: Commit) -> None:
    made = commit([row(number, judged=None) for number in range(6)])
    assert list(made.rows("preference")) == list(made.rows("preference", "test")) == []
    assert made.manifest["views"]["preference"]["left_out"] == {"not_judged": 6}
    assert made.manifest["views"]["sft"]["rows"] == {"train": 4, "test": 2}


def test_a_version_is_read_as_it_was_committed(commit: Commit) -> None:
    made = commit(ROWS)
    assert version.read(made.path).manifest == made.manifest
    with pytest.raises(UserError, match="is not a dataset version"):
        version.read(made.path.parent)


def test_more_rows_than_a_batch_are_all_there(
    commit: Commit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = commit(ROWS)
    monkeypatch.setattr(version, "BATCH", 3)
    batched = commit(ROWS, into=tmp_path / "other")
    assert batched.id == whole.id
    for split in ("train", "test"):
        assert list(batched.rows("sft", split)) == list(whole.rows("sft", split))


# Views


def shown(view: View, one: Row) -> list[dict[str, Any] | LeftOut]:
    return list(view.show(one))


def pair(straight: float | None, swapped: float | None = None, *, both: bool = True) -> Row:
    judgments = [
        Judgment("judge", "pair", (0, 1), (0, 1), straight, None if straight is not None else "no_verdict")
    ]
    if both:
        judgments.append(
            Judgment("judge", "pair", (0, 1), (1, 0), swapped, None if swapped is not None else "no_verdict")
        )
    return row(1, judged=None).judged(*judgments)


def mirrored(one: Row) -> Row:
    """The same row with its first two answers exchanged, and what was said of them."""
    first, second, *rest = one.answers
    judgments = [
        Judgment(
            said.step,
            said.kind,
            (0, 1),
            said.order[::-1],
            None if said.value is None else 1 - said.value,
            said.unreadable,
        )
        for said in one.judgments
    ]
    bare = sourced(one.prompt, one.occurrence)
    return bare.answered(second, first, *rest).judged(*judgments)


exact = st.integers(0, 64).map(lambda number: number / 64)  # so that 1 - p is exact


@given(exact, exact)
def test_exchanging_two_answers_exchanges_nothing_but_their_places(straight: float, swapped: float) -> None:
    [one], [other] = (
        shown(Preference(), pair(straight, swapped)),
        shown(Preference(), mirrored(pair(straight, swapped))),
    )
    if isinstance(one, LeftOut):
        assert other == one
    else:
        assert not isinstance(other, LeftOut)
        assert one == other


@given(exact, exact)
def test_a_label_is_the_mean_of_both_orders_and_never_an_even_one(straight: float, swapped: float) -> None:
    [line] = shown(Preference(rule="mean"), pair(straight, swapped))
    mean = (straight + swapped) / 2
    if mean == 0.5:
        assert line == LeftOut("tie" if straight == 0.5 else "orders_disagree")
    else:
        assert isinstance(line, dict)
        assert line["p_chosen"] == max(mean, 1 - mean) > 0.5
        better = row(1).answers[0 if mean > 0.5 else 1].text
        assert line["chosen"] == [{"role": "assistant", "content": better}]


@given(exact, exact)
def test_a_pair_whose_orders_name_different_answers_is_no_label_unless_soft_ones_are_wanted(
    straight: float, swapped: float
) -> None:
    [line] = shown(Preference(), pair(straight, swapped))
    if straight == swapped == 0.5:
        assert line == LeftOut("tie")
    elif min(straight, swapped) > 0.5 or max(straight, swapped) < 0.5:
        assert isinstance(line, dict)
        assert line["agreed"] is True
    else:
        assert line == LeftOut("orders_disagree")


@pytest.mark.parametrize(
    ("text", "finish", "reason"),
    [
        ("", "stop", "empty_answer"),
        ("half", "length", "cut_off"),
        ("half", "content_filter", "content_filter"),
    ],
)
def test_an_answer_that_nobody_can_learn_from_is_neither_chosen_nor_rejected(
    text: str, finish: str, reason: str
) -> None:
    asked = pair(0.9, 0.9)
    unfit = replace(asked, answers=(replace(asked.answers[0], text=text, finish=finish), *asked.answers[1:]))
    assert shown(Preference(), unfit) == [LeftOut(reason)]
    scored = [Judgment("l", "likelihood", (n,), (n,), score) for n, score in enumerate((-1.0, -2.0, -3.0))]
    [line] = shown(Preference(), replace(unfit, judgments=tuple(scored)))
    assert isinstance(line, dict)
    assert line["chosen"][0]["content"] == asked.answers[1].text


def test_one_unreadable_order_is_no_label() -> None:
    assert shown(Preference(), pair(0.9, None)) == [LeftOut("no_verdict")]
    assert shown(Preference(), pair(None, 0.9)) == [LeftOut("no_verdict")]
    assert shown(Preference(), pair(None, None)) == [LeftOut("no_verdict")]


def test_one_order_that_was_asked_alone_is_a_label_without_agreement() -> None:
    [line] = shown(Preference(), pair(0.9, both=False))
    assert isinstance(line, dict)
    assert (line["p_chosen"], line["orders"], line["agreed"]) == (0.9, 1, None)


def test_a_margin_makes_close_calls_ties() -> None:
    assert shown(Preference(least_margin=0.1), pair(0.55, 0.6)) == [LeftOut("tie")]
    assert isinstance(shown(Preference(least_margin=0.1), pair(0.9, 0.6))[0], dict)


def test_answers_scored_alone_are_compared_best_against_worst() -> None:
    scores = (-2.0, -1.0, -3.5)
    scored = [Judgment("l", "likelihood", (n,), (n,), score) for n, score in enumerate(scores)]
    [line] = shown(Preference(), row(1, judged=None).judged(*scored))
    assert isinstance(line, dict)
    assert line["chosen"][0]["content"] == row(1).answers[1].text
    assert line["rejected"][0]["content"] == row(1).answers[2].text
    assert (line["p_chosen"], line["score_gap"], line["orders"], line["agreed"]) == (None, 2.5, None, None)
    assert shown(Preference(), row(1, judged=None).judged(*scored[:1])) == [
        LeftOut("fewer_than_two_fit_answers")
    ]


def test_what_no_one_can_learn_from_is_left_out_of_sft() -> None:
    one = sourced((Message("user", "Hi"),), 0)
    assert shown(Sft(), one) == [LeftOut("no_answer")]
    cut = one.answered(Answer("", "s"), Answer("Once upon a", "s", finish="length"), Answer("Hi.", "s"))
    lines = shown(Sft(), cut)
    assert lines[:2] == [LeftOut("empty_answer"), LeftOut("cut_off")]
    assert isinstance(lines[2], dict)


@pytest.mark.parametrize(
    ("answers", "texts"),
    [("auto", [2]), ("revisions", [2]), ("last", [2]), ("all", [0, 1, 2])],
)
def test_sft_shows_the_answers_that_were_asked_for(answers: Any, texts: list[int]) -> None:
    lines = [line for line in shown(Sft(answers=answers), row(1)) if isinstance(line, dict)]
    assert [line["completion"][0]["content"] for line in lines] == [row(1).answers[n].text for n in texts]
