"""``python -m synth.models.embedded.scorer``: a checkpoint in transformers, asked in lines of JSON.

It scores, which llama.cpp's server cannot do (it returns no log-probability of a text that it was
given), and it generates for checkpoints without a GGUF file, such as one that was just trained. One
request at a time: what is batched together changes the last bits of a sum, and so the answer. In float32:
where it was measured, a score took a fifth of the time that it took in bfloat16.

A question is ``{id, kind, messages, target | max_tokens, temperature, top_p, stop, seed, top_logprobs}``;
its answer is ``{id, text, finish, tokens, prompt, completion}`` or ``{id, refused}``.
"""

import argparse
import os
import queue
import sys
import threading
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
import orjson
import torch
import transformers

from synth.models.embedded import DEFAULT_TEMPERATURE, DEFAULT_TOP_P, MIN_P, TOP_K
from synth.models.embedded.child import private_stdout, send


class Refused(Exception):
    """This question has no answer, now or later."""


@dataclass(frozen=True)
class Scorer:
    """A model and its tokenizer. `context`: most tokens of a prompt and its answer together."""

    model: Any
    tokenizer: Any
    context: int

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """The answer to `question`, whatever its kind."""
        with torch.inference_mode():
            prompt = self.prompt(question)
            if question["kind"] == "score":
                return self.score(prompt, question["target"])
            return self.generate(prompt, question)

    def prompt(self, question: dict[str, Any]) -> list[int]:
        """The tokens that stand before the reply."""
        messages = question["messages"]
        if question["kind"] == "complete":
            tokens: list[int] = self.tokenizer(messages[0]["content"])["input_ids"]
            return tokens
        try:
            text = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        except (jinja2.TemplateError, ValueError) as error:
            raise Refused(f"the model's chat template refuses these messages: {error}") from None
        return self._plain(text)

    def score(self, prompt: list[int], target: str) -> dict[str, Any]:
        """The log-probability of each token of `target` as the reply; the end of the turn is left out.

        The target is tokenized by itself, as it would be if the model had said it, and what looks like
        a control token in it is read as plain text.
        """
        tokens = self._plain(target, split_special_tokens=True)
        if not tokens:
            raise Refused("there is nothing to score: the target is empty")
        self._check(len(prompt) + len(tokens), "the prompt and its target have")
        ids = torch.tensor([prompt + tokens])
        logits = self.model(ids, logits_to_keep=len(tokens) + 1).logits[0, :-1].float()
        logprobs = logits.log_softmax(-1).gather(-1, torch.tensor(tokens)[:, None])[:, 0].tolist()
        scored = [[self.text(token), logprob, {}] for token, logprob in zip(tokens, logprobs, strict=True)]
        return {"text": "", "finish": "stop", "tokens": scored, "prompt": ids.shape[1], "completion": 0}

    def generate(self, prompt: list[int], question: dict[str, Any]) -> dict[str, Any]:
        """A reply, token by token, until an end token, a stop string or a limit."""
        self._check(len(prompt) + 1, "the prompt has", of=len(prompt))
        most = min(question["max_tokens"], self.context - len(prompt))
        chance = torch.Generator().manual_seed(question["seed"])
        new, said, ids, past = [], [], torch.tensor([prompt]), None
        text, finish = "", "length"
        for _ in range(most):
            out = self.model(ids, past_key_values=past, use_cache=True, logits_to_keep=1)
            logits, past = out.logits[0, -1].float(), out.past_key_values
            token = draw(logits, question["temperature"], question["top_p"], chance)
            if token in self.ends:
                finish = "stop"
                break
            new.append(token)
            said.append(self._token(token, logits.log_softmax(-1), question["top_logprobs"]))
            text, stopped = cut(self.tokenizer.decode(new, skip_special_tokens=True), question["stop"])
            if stopped:
                finish = "stop"
                break
            ids = torch.tensor([[token]])
        return {"text": text, "finish": finish, "tokens": said, "prompt": len(prompt), "completion": len(new)}

    def text(self, token: int) -> str:
        """`token` as text; a part of a character that several tokens spell becomes U+FFFD."""
        return str(self.tokenizer.decode([token]))

    @cached_property
    def ends(self) -> frozenset[int]:
        """The tokens that end a reply."""
        named = self.model.generation_config.eos_token_id
        listed = named if isinstance(named, list) else [named]
        return frozenset(end for end in (*listed, self.tokenizer.eos_token_id) if end is not None)

    def _plain(self, text: str, **options: bool) -> list[int]:
        tokens: list[int] = self.tokenizer(text, add_special_tokens=False, **options)["input_ids"]
        return tokens

    def _check(self, tokens: int, what: str, of: int | None = None) -> None:
        if tokens > self.context:
            raise Refused(f"{what} {of or tokens} tokens, and the context holds {self.context}")

    def _token(self, token: int, logprobs: torch.Tensor, count: int) -> list[Any]:
        best = logprobs.topk(count)
        top = {self.text(int(other)): float(value) for value, other in zip(*best, strict=True)}
        return [self.text(token), float(logprobs[token]), top]


def draw(
    logits: torch.Tensor, temperature: float | None, top_p: float | None, chance: torch.Generator
) -> int:
    """A token in the way that llama.cpp draws one: top k, top p, min p, and the temperature last."""
    temperature = DEFAULT_TEMPERATURE if temperature is None else temperature
    if temperature <= 0:
        return int(logits.argmax())
    best, tokens = logits.topk(min(TOP_K, len(logits)))
    probabilities = best.softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    top_p = DEFAULT_TOP_P if top_p is None else top_p
    kept = (before < top_p) & (probabilities >= MIN_P * probabilities[0])
    kept[0] = True
    weights = (best[kept] / temperature).softmax(-1)
    return int(tokens[kept][torch.multinomial(weights, 1, generator=chance)])


def cut(text: str, stop: list[str]) -> tuple[str, bool]:
    """`text` up to the first of the `stop` strings, and whether there was one."""
    places = [place for word in stop if word and (place := text.find(word)) >= 0]
    return (text[: min(places)], True) if places else (text, False)


def load(checkpoint: Path, base: Path | None, context: int) -> Scorer:
    """The checkpoint, or the adapter in it on top of `base`."""
    model = transformers.AutoModelForCausalLM.from_pretrained(
        base or checkpoint, dtype=torch.float32, local_files_only=True, use_safetensors=True
    )
    if base:
        import peft

        model = peft.PeftModel.from_pretrained(model, checkpoint)
    source = checkpoint if (checkpoint / "tokenizer_config.json").is_file() or not base else base
    tokenizer = transformers.AutoTokenizer.from_pretrained(source, local_files_only=True)
    return Scorer(model.eval(), tokenizer, context)


def _listen(questions: queue.Queue[dict[str, Any]]) -> None:
    """Queue what standard input asks; when it ends, end the process, even in the middle of a reply."""
    for line in sys.stdin.buffer:
        questions.put(orjson.loads(line))
    os._exit(0)


def main() -> None:
    """Answer until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--base", type=Path)
    parser.add_argument("--context", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    out = private_stdout()
    questions: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_listen, args=[questions], daemon=True).start()
    torch.set_num_threads(options.threads)
    scorer = load(options.checkpoint, options.base, options.context)
    send(out, {"id": questions.get()["id"]})
    while True:
        question = questions.get()
        try:
            answer = scorer.answer(question)
        except Refused as refusal:
            answer = {"refused": str(refusal)}
        send(out, {"id": question["id"], **answer})


if __name__ == "__main__":
    main()
