"""``python -m synth.train.scoring``: the process that reads pairs with models. Its spec comes on stdin.

It says ``{model, reward, scores}`` for one model after another, a score being that of the chosen and
that of the rejected answer of a pair, in the order of the pairs.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson
import torch
import transformers

from synth.errors import UserError
from synth.train.child import Say, work

# The scores of a pair's chosen and rejected answer.
Score = Callable[[Mapping[str, str]], list[float]]

_LOADING: dict[str, Any] = {"dtype": torch.float32, "local_files_only": True, "use_safetensors": True}


def score(spec: dict[str, Any], say: Say) -> None:
    """Score every pair with every model of `spec`."""
    for name, path in spec["models"].items():
        checkpoint = Path(path)
        reward = is_reward(checkpoint)
        score_of = reward_score(checkpoint) if reward else mean_logprob(checkpoint)
        with torch.inference_mode():
            scores = [score_of(pair) for pair in spec["pairs"]]
        say({"model": name, "reward": reward, "scores": scores})


def is_reward(checkpoint: Path) -> bool:
    """Whether the checkpoint gives one number rather than a distribution over tokens."""
    architectures = orjson.loads((checkpoint / "config.json").read_bytes()).get("architectures") or []
    return any(name.endswith("ForSequenceClassification") for name in architectures)


def mean_logprob(checkpoint: Path) -> Score:
    """Natural-log probability a token of an answer, given its prompt; the end of turn is left out.

    Read as a likelihood judge reads it, but in float32: bfloat16 would lose part of what a short training
    changes, and is up to a hundred times slower on processors without instructions for it.
    """
    model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint, **_LOADING).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint, local_files_only=True)

    def score_of(pair: Mapping[str, str]) -> list[float]:
        messages = [{"role": "user", "content": pair["prompt"]}]
        prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        before = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        # What looks like a control token in an answer is plain text.
        plain = {"add_special_tokens": False, "split_special_tokens": True}
        answers = [tokenizer(pair[which], **plain)["input_ids"] for which in ("chosen", "rejected")]
        check_context(pair["id"], len(before) + max(map(len, answers)), model)
        read = model(torch.tensor([before]), use_cache=True, logits_to_keep=1)
        return [continuation(model, read, answer) for answer in answers]

    return score_of


def continuation(model: Any, read: Any, answer: list[int]) -> float:
    """Mean log-probability of `answer` after the tokens that were `read`, which stay as they are."""
    ids = torch.tensor(answer)
    out = model(ids[None], past_key_values=read.past_key_values, use_cache=True)
    read.past_key_values.crop(-len(answer))
    logits = torch.cat([read.logits[0, -1:], out.logits[0, :-1]])
    return float(logits.log_softmax(-1).gather(-1, ids[:, None]).mean())


def check_context(pair: str, tokens: int, model: Any) -> None:
    """Refuse a pair that the model cannot read whole."""
    if tokens > (most := model.config.max_position_embeddings):
        raise UserError(f"held-out pair {pair!r} has {tokens} tokens, and the model reads at most {most}")


def reward_score(checkpoint: Path) -> Score:
    """The number that a reward model gives to an answer, read as in its training."""
    model = transformers.AutoModelForSequenceClassification.from_pretrained(checkpoint, **_LOADING).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint, local_files_only=True)

    def score_of(pair: Mapping[str, str]) -> list[float]:
        asked = {"role": "user", "content": pair["prompt"]}
        replies = [{"role": "assistant", "content": pair[which]} for which in ("chosen", "rejected")]
        texts = [tokenizer.apply_chat_template([asked, reply], tokenize=False) for reply in replies]
        ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
        check_context(pair["id"], max(map(len, ids)), model)
        return [float(model(torch.tensor([each])).logits[0, 0]) for each in ids]

    return score_of


if __name__ == "__main__":
    work(score)
