"""Training and held-out evidence, on a tiny random model that is made here. Children are real."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from synth.errors import SynthError, UserError
from synth.train import held_out, run
from synth.train.base import Training
from synth.train.card import card
from synth.train.intervals import bootstrap_mean, wilson
from synth.trainings.dpo import DPO
from synth.trainings.reward import Reward
from synth.trainings.sft import SFT

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
QUESTIONS = [f"what is the colour of thing {number} ?" for number in range(12)]
GOOD, BAD = "the answer is a clear and kind blue", "go away red red red red"

# Learns in seconds: every weight, a high rate, no warm-up.
FAST: dict[str, Any] = {
    "steps": 8,
    "batch_size": 4,
    "accumulate": 1,
    "max_length": 64,
    "warmup": 0,
    "lora": False,
}


def said(role: str, text: str) -> list[dict[str, str]]:
    return [{"role": role, "content": text}]


def rows_of(view: str) -> list[dict[str, Any]]:
    """Learnable rows. `margin` is there to be ignored: TRL would subtract it in the reward loss."""
    asked = [(str(number), said("user", text)) for number, text in enumerate(QUESTIONS)]
    if view == "sft":
        return [{"id": id, "prompt": prompt, "completion": said("assistant", GOOD)} for id, prompt in asked]
    pair = {
        "chosen": said("assistant", GOOD),
        "rejected": said("assistant", BAD),
        "p_chosen": 0.9,
        "margin": 50.0,
    }
    return [{"id": id, "prompt": prompt, **pair} for id, prompt in asked]


def make_version(folder: Path, views: Mapping[str, list[dict[str, Any]]], id: str = "ab" * 32) -> Path:
    """A dataset version with these views."""
    version = folder / f"v3-{id[:12]}"
    for view, rows in views.items():
        (version / "data" / view).mkdir(parents=True)
        table = pa.Table.from_pylist(rows or rows_of(view)).slice(0, len(rows))
        pq.write_table(table, version / "data" / view / "train-00000-of-00001.parquet")
    (version / ".synth").mkdir(parents=True)
    manifest = {"id": id, "version": version.name, "name": "tiny"}
    (version / ".synth" / "manifest.json").write_text(json.dumps(manifest))
    return version


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    views = {view: rows_of(view) for view in ("sft", "preference")}
    return make_version(tmp_path_factory.mktemp("datasets"), views)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of 0.1 M weights, made in another process so that this one stays free of torch."""
    folder = tmp_path_factory.mktemp("models") / "base"
    texts = [*QUESTIONS, GOOD, BAD]
    subprocess.run([sys.executable, "-c", _MAKE_BASE, folder, json.dumps([CHATML, texts])], check=True)
    return folder


_MAKE_BASE = """
import json, sys, torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
template, texts = json.loads(sys.argv[2])
special = ["<|im_end|>", "<|im_start|>", "<unk>"]
raw = Tokenizer(models.BPE(unk_token="<unk>"))
raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
alphabet = pre_tokenizers.ByteLevel.alphabet()
trainer = trainers.BpeTrainer(special_tokens=special, vocab_size=400, initial_alphabet=alphabet)
raw.train_from_iterator(texts, trainer)
tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|im_end|>")
tokenizer.chat_template = template
torch.manual_seed(0)
config = LlamaConfig(vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256, tie_word_embeddings=True,
    eos_token_id=0, pad_token_id=0, bos_token_id=None)
LlamaForCausalLM(config).save_pretrained(sys.argv[1])
tokenizer.save_pretrained(sys.argv[1])
"""


@pytest.fixture
def no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    def listen(*_: object) -> None:
        raise AssertionError("a child process was started")

    monkeypatch.setattr(run, "listen", listen)
    monkeypatch.setattr(held_out, "listen", listen)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    lines = [
        {"id": f"p{number}", "prompt": text, "chosen": GOOD, "rejected": BAD, "kind": "rude"}
        for number, text in enumerate(QUESTIONS)
    ]
    file = tmp_path / "pairs.jsonl"
    file.write_bytes(b"\n".join(map(orjson.dumps, lines)))
    return file


# What a user writes


def test_an_unknown_key_is_an_error() -> None:
    with pytest.raises(ValidationError, match="learning_speed"):
        SFT.model_validate({"learning_speed": 1})


def test_a_training_starts_from_a_base_or_from_an_earlier_one() -> None:
    assert DPO.model_validate({"from": "sft"}).from_ == "sft"
    with pytest.raises(ValidationError, match="not both"):
        DPO.model_validate({"from": "sft", "base": "x"})


def test_dpo_without_a_supervised_training_before_it_is_warned_about() -> None:
    assert DPO.model_validate({"base": "x"}).warnings
    assert not DPO.model_validate({"from": "sft"}).warnings


@pytest.mark.parametrize(
    ("kind", "lora", "full"), [(SFT, 2e-4, 2e-5), (DPO, 5e-6, 5e-7), (Reward, 1e-4, 1e-5)]
)
def test_the_learning_rate_follows_lora_unless_it_is_given(
    kind: type[Training], lora: float, full: float
) -> None:
    assert kind.model_validate({}).rate == lora
    assert kind.model_validate({"lora": False}).rate == full
    assert kind.model_validate({"learning_rate": 0.5}).rate == 0.5


# The key


def test_the_key_holds_version_base_and_settings_and_no_names() -> None:
    key = run.key(SFT(), "v", "b")
    assert key == run.key(SFT(id="mine", base="elsewhere"), "v", "b")
    others = [
        run.key(SFT(), "w", "b"),
        run.key(SFT(), "v", "c"),
        run.key(SFT(seed=1), "v", "b"),
        run.key(DPO(), "v", "b"),
    ]
    assert len({key, *others}) == 5


# Mistakes in the data


def test_a_missing_view_is_one_clear_error(tmp_path: Path, no_child: None) -> None:
    version = make_version(tmp_path, {"sft": rows_of("sft")})
    with pytest.raises(UserError, match=r"dpo learns from the preference view.*views: sft"):
        run.train(DPO(), version, tmp_path, tmp_path, base_digest="b")


def test_an_empty_split_is_one_clear_error(tmp_path: Path, no_child: None) -> None:
    version = make_version(tmp_path, {"sft": []})
    with pytest.raises(UserError, match=r"sft: the train split of the sft view of .* is empty"):
        run.train(SFT(), version, tmp_path, tmp_path, base_digest="b")
    for file in (version / "data" / "sft").glob("*"):
        file.unlink()  # as a version has it: a split without rows has no file
    with pytest.raises(UserError, match=r"sft: the train split of the sft view of .* is empty"):
        run.train(SFT(), version, tmp_path, tmp_path, base_digest="b")


def test_a_folder_that_is_no_version_is_one_clear_error(tmp_path: Path, no_child: None) -> None:
    with pytest.raises(UserError, match="no dataset version"):
        run.train(SFT(), tmp_path, tmp_path, tmp_path, base_digest="b")


# The card


def test_the_card_says_how_many_rows_were_cut() -> None:
    about = {
        "key": "k",
        "kind": "sft",
        "base": {"name": "org/base", "digest": "d"},
        "dataset": {"name": "tiny", "version": "v3-1", "id": "i"},
        "settings": {"seed": 0},
    }
    metrics = {"rows": 10, "trained": 9, "truncated": 3, "first": {"loss": 2.0}, "last": {"loss": 1.0}}
    text = card(about, metrics)
    assert "3 of 10 rows were longer than `max_length`; 1 rows were left out" in text
    assert "base_model: org/base" in text
    assert "| loss | 2 | 1 |" in text


# Intervals


@pytest.mark.parametrize(
    ("wins", "of", "low", "high"),
    # The roots of (share - p)**2 = z**2 * p * (1 - p) / n, found by bisection with 40 digits.
    [
        (39, 40, 0.87118631, 0.99557317),
        (0, 10, 0.0, 0.27753280),
        (5, 10, 0.23659309, 0.76340691),
        (10, 10, 0.72246720, 1.0),
    ],
)
def test_wilson_intervals_are_the_known_ones(wins: int, of: int, low: float, high: float) -> None:
    interval = wilson(wins, of)
    assert interval.value == wins / of
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-8)


def test_a_bootstrap_interval_is_the_same_for_the_same_seed_and_near_the_normal_one() -> None:
    values = [((7 * number) % 40) / 40 for number in range(40)]
    interval = bootstrap_mean(values, seed=3)
    assert interval == bootstrap_mean(values, seed=3)
    assert interval.value == pytest.approx(0.4875)
    # The mean of 40 values with a standard deviation of 0.2886 has a standard error of 0.0456.
    assert interval.low == pytest.approx(0.4875 - 1.96 * 0.0456, abs=0.006)
    assert interval.high == pytest.approx(0.4875 + 1.96 * 0.0456, abs=0.006)


def test_the_change_between_models_is_paired() -> None:
    before = [held_out.Score(str(number), "", float(number), 0.0) for number in range(20)]
    after = [held_out.Score(str(number), "", number + 1.0, 0.0) for number in range(20)]
    change = held_out.change(before, after)
    assert (change.value, change.low, change.high) == (1.0, 1.0, 1.0)


def test_every_line_that_is_no_pair_is_named(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text('{"id": "a"}\n{"id": "b", "prompt": "p", "chosen": "c", "rejected": ""}\nnonsense\n')
    with pytest.raises(UserError) as caught:
        held_out.read_pairs(file)
    assert [problem.line for problem in caught.value.problems] == [1, 2, 3]


def test_the_project_ships_pairs_that_can_be_read() -> None:
    assert len(held_out.read_pairs(Path(__file__).parents[1] / "seeds" / "held_out_pairs.jsonl")) == 40


def test_importing_the_package_costs_no_torch() -> None:
    modules = "synth.train.run, synth.train.held_out, synth.trainings.dpo"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# Real trainings


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trained")


@pytest.fixture(scope="module")
def sft(version: Path, base: Path, out: Path) -> run.Trained:
    training = SFT(**FAST, learning_rate=3e-3)
    steps: list[int] = []
    made = run.train(training, version, base, out, progress=lambda step, of, metrics: steps.append(step))
    assert steps == list(range(1, 9))
    return made


@pytest.fixture(scope="module")
def dpo(version: Path, sft: run.Trained, out: Path) -> run.Trained:
    training = DPO(**FAST | {"lora": True, "lora_rank": 4, "max_length": 30}, learning_rate=1e-2)
    return run.train(training, version, sft.path, out)


@pytest.fixture(scope="module")
def reward(version: Path, base: Path, out: Path) -> run.Trained:
    training = Reward(**FAST | {"lora": True, "lora_rank": 4}, learning_rate=1e-2)
    return run.train(training, version, base, out)


@pytest.mark.slow
def test_the_loss_falls_and_the_folder_is_whole(sft: run.Trained) -> None:
    assert sft.metrics["last"]["loss"] < 0.8 * sft.metrics["first"]["loss"]
    assert sft.metrics["truncated"] == 0
    names = {file.name for file in sft.path.iterdir()}
    assert {"README.md", "metrics.json", "training.json", "config.json", "model.safetensors"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl"))]
    assert not list(sft.path.parent.glob(".*"))


@pytest.mark.slow
def test_the_loss_is_that_of_the_completion_and_of_no_word_of_the_prompt(
    sft: run.Trained, tmp_path: Path
) -> None:
    rows = rows_of("sft")[:4]
    for number, row in enumerate(rows):
        row["completion"] = said("assistant", " ".join([GOOD, BAD][: 1 + number % 2]))
    version = make_version(tmp_path, {"sft": rows})
    made = run.train(SFT(**FAST | {"steps": 1}), version, sft.path, tmp_path / "out", base_digest="b")
    code = (
        "import json, sys, torch; from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        "path, rows = sys.argv[1], json.loads(sys.argv[2]); tokenizer = AutoTokenizer.from_pretrained(path)\n"
        "model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)\n"
        "def ids(chat, more): return tokenizer(tokenizer.apply_chat_template(chat, tokenize=False,\n"
        "    add_generation_prompt=more), add_special_tokens=False)['input_ids']\n"
        "sums, counts = [0.0, 0.0], [0, 0]\n"
        "for row in rows:\n"
        "    whole, asked = ids(row['prompt'] + row['completion'], False), len(ids(row['prompt'], True))\n"
        "    for masked, before in ((0, asked), (1, 1)):\n"
        "        labels = torch.tensor([[-100] * before + whole[before:]])\n"
        "        loss = float(model(torch.tensor([whole]), labels=labels).loss)\n"
        "        sums[masked] += loss * (len(whole) - before); counts[masked] += len(whole) - before\n"
        "print(json.dumps([total / count for total, count in zip(sums, counts)]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, sft.path, json.dumps(rows)], capture_output=True, check=True
    )
    of_completions, of_all = json.loads(done.stdout)
    assert made.metrics["first"]["loss"] == pytest.approx(of_completions, abs=1e-3)
    assert abs(of_all - of_completions) > 0.1


@pytest.mark.slow
def test_a_second_call_starts_no_process(sft: run.Trained, version: Path, base: Path, no_child: None) -> None:
    again = run.train(SFT(**FAST, learning_rate=3e-3), version, base, sft.path.parent)
    assert (again.reused, again.path, again.metrics) == (True, sft.path, sft.metrics)
    with pytest.raises(AssertionError, match="was started"):
        run.train(SFT(**FAST, learning_rate=3e-3, seed=1), version, base, sft.path.parent)


@pytest.mark.slow
def test_dpo_starts_at_its_reference_and_its_margin_rises(dpo: run.Trained) -> None:
    first, last = dpo.metrics["first"], dpo.metrics["last"]
    assert first["loss"] == pytest.approx(0.6931, abs=1e-3)
    assert first["rewards/margins"] == pytest.approx(0, abs=1e-3)
    assert last["rewards/margins"] > 0.1


@pytest.mark.slow
def test_rows_that_are_cut_are_counted(dpo: run.Trained) -> None:
    assert dpo.metrics["truncated_share"] == 1.0
    assert "12 of 12 rows were longer than `max_length`" in (dpo.path / "README.md").read_text()


@pytest.mark.slow
def test_a_reward_model_learns_and_its_data_s_margin_is_no_part_of_the_loss(reward: run.Trained) -> None:
    # With the column's 50 subtracted the first loss would be about 50.
    assert reward.metrics["first"]["loss"] < 5
    assert reward.metrics["last"]["accuracy"] == 1.0


@pytest.mark.slow
def test_no_row_that_fits_is_the_data_s_mistake(version: Path, base: Path, tmp_path: Path) -> None:
    training = Reward(**FAST | {"max_length": 4})
    with pytest.raises(
        UserError, match=r"reward\.max_length: no row of the preference view fits into 4 tokens"
    ):
        run.train(training, version, base, tmp_path)
    assert [file.suffix for file in tmp_path.iterdir()] == [".log"]


@pytest.mark.slow
def test_a_failed_training_shows_the_end_of_its_log(version: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("{}")
    with pytest.raises(SynthError, match=r"(?s)ended with code 1.*Error"):
        run.train(SFT(**FAST), version, base, tmp_path / "out", base_digest="b")


@pytest.mark.slow
def test_models_are_compared_once_and_without_torch_in_this_process(
    base: Path,
    sft: run.Trained,
    dpo: run.Trained,
    reward: run.Trained,
    pairs: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    models = {"base": base, "sft": sft.path, "dpo": dpo.path, "reward": reward.path}
    evidence = {one.model: one for one in held_out.compare(models, pairs)}
    assert evidence["base"].change is None
    assert evidence["reward"].change is None
    assert evidence["reward"].reward
    assert evidence["reward"].accuracy.value == 1.0
    assert evidence["sft"].change is not None
    assert evidence["sft"].change.low > 0
    assert evidence["dpo"].margin.value > evidence["sft"].margin.value
    monkeypatch.setattr(held_out, "listen", None)
    assert held_out.compare(models, pairs) == list(evidence.values())


@pytest.mark.slow
def test_a_mean_logprob_is_the_one_that_transformers_loss_gives(
    base: Path, sft: run.Trained, pairs: Path
) -> None:
    (score, *_) = held_out.compare({"sft": sft.path}, pairs)[0].scores
    code = (
        "import sys, torch; from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        "path, asked, said = sys.argv[1:]; tokenizer = AutoTokenizer.from_pretrained(path)\n"
        "model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)\n"
        "text = tokenizer.apply_chat_template([{'role': 'user', 'content': asked}], tokenize=False,\n"
        "    add_generation_prompt=True)\n"
        "before = tokenizer(text, add_special_tokens=False)['input_ids']\n"
        "after = tokenizer(said, add_special_tokens=False)['input_ids']\n"
        "labels = torch.tensor([[-100] * len(before) + after])\n"
        "print(-float(model(torch.tensor([before + after]), labels=labels).loss))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, sft.path, QUESTIONS[0], GOOD], capture_output=True, check=True
    )
    assert score.chosen == pytest.approx(float(done.stdout), abs=1e-5)
