"""pi_0 of exported rewards samples a prompt by its seed, with the limits that were exported."""

from __future__ import annotations

from actors.generation.seeds import prompt_seed
from actors.rollout import RolloutWorker
from actors.start_policy import prompt_chunk, rollout_spec
from allgood.conversations import prompt_id
from allgood.scorers.rewards_spec import StartPolicySpec
from tests.actors.tiny_models import PROMPTS


def test_a_prompt_has_the_same_samples_whatever_was_sampled_before(folder: str) -> None:
    policy = StartPolicySpec(folder, num_samples=3, seed=5, max_new_tokens=6, max_prompt_tokens=40, device="cpu")
    worker = RolloutWorker(rollout_spec(policy, threads=1))

    def samples(prompt: str, seed: int) -> tuple[str, ...]:
        key = prompt_id(prompt)
        chunk = prompt_chunk(key, prompt, num_samples=policy.num_samples, seed=prompt_seed(seed, key))
        rollout = worker.generate(chunk)
        assert all(1 <= len(tokens) <= 6 for tokens in rollout.response_tokens)
        return rollout.responses

    first = samples(PROMPTS[0], 5)
    assert len(first) == 3
    assert samples(PROMPTS[1], 5) != first
    assert samples(PROMPTS[0], 5) == first
    assert samples(PROMPTS[0], 6) != first
