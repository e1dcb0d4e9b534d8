"""A slow row delays itself alone: no step waits for all rows where its method does not need them."""

import time

import pytest
from conftest import Make, ReadPipeline, WriteLines
from provider_server import Body, ProviderServer

CHAINED = """
name: chained
models: {m: {provider: compatible, base_url: "URL/v1", model: x, max_concurrency: 16}}
steps:
  - jsonl: {path: prompts}
STEPS
dataset: {views: [instructions]}
"""
ROWS, QUIET_S = 8, 0.5


@pytest.mark.parametrize(
    "steps",
    [
        [
            "respond: {model: m, count: 2}",
            "critique_revise: {model: m, rounds: 2}",
            "judge_pairs: {model: m}",
        ],
        ["respond: {model: m, count: 2}", "judge_mt_bench: {model: m}", "judge_scores: {model: m}"],
        ["constitutional_open: {model: m}", "judge_evidence: {model: m, pairs: revision}"],
        ["respond: {model: m, count: 3}", "rate: {model: m}", "best_of: {judge: rate}", "rank: {model: m}"],
        ["classify_tasks: {model: m}", "make_instances: {model: m, id: instances}", "respond: {model: m}"],
    ],
    ids=lambda steps: "-".join(step.split(":")[0] for step in steps),
)
async def test_all_other_rows_reach_the_last_step_while_one_waits_for_its_first_reply(
    pipeline: ReadPipeline, make: Make, server: ProviderServer, write_lines: WriteLines, steps: list[str]
) -> None:
    write_lines("prompts.jsonl", *({"prompt": f"Tell me of thing {n} and more."} for n in range(ROWS)))

    def is_slow(body: Body) -> bool:
        return "thing 0 " in str(body)

    def quiet() -> bool:
        """Whether the other rows have gone as far as they can."""
        others = [entry for entry in server.log if not is_slow(entry.body)]
        last = max((entry.ended or time.time() for entry in others), default=time.time())
        return time.time() - last > QUIET_S

    server.latency = lambda body: quiet if is_slow(body) else 0.0
    server.answer = lambda body: "Output: fine." if "Output:" in str(body) else None
    text = CHAINED.replace("URL", server.url).replace("STEPS", "\n".join(f"  - {step}" for step in steps))
    await make(pipeline(text))
    slow = [entry for entry in server.log if is_slow(entry.body)]
    others = [entry for entry in server.log if not is_slow(entry.body)]
    first_reply = min(entry.ended or 0.0 for entry in slow)
    assert len(others) >= (ROWS - 1) * len(steps)
    assert max(entry.ended or 0.0 for entry in others) < first_reply
