"""Whether the prompts of a run fit into what the policy may read of them, found out before anything is sampled."""

from __future__ import annotations

from collections.abc import Sequence

from allgood.scorers.encoding import encode_prompts
from pipelines.config.run import RunConfig
from pipelines.data import Prompt
from pipelines.data.prompt_order import of_split, prompts_of
from pipelines.output.progress import say
from pipelines.run.start_policy import start_policy
from pipelines.training.sources import policy_tokenizer


def check_prompts_fit(config: RunConfig, prompts: Sequence[Prompt]) -> None:
    """Say how many of the prompts that the run samples on are cut, and how a policy without chat template reads them.

    Raises:
        ModelError: Nothing of a prompt fits; or the policy's tokenizer cannot be used.
    """
    used = [prompt for split in config.references.splits for prompt in prompts_of(config, prompts, split)]
    used += of_split(prompts, "test")[: config.evaluate.prompts]
    texts = list({prompt.id: prompt.text for prompt in used}.values())
    policy = start_policy(config).source
    tokenizer = policy_tokenizer(policy)
    if config.sft is None and not tokenizer.chat_template:
        say(f"{policy} has no chat template: it reads conversations as text, `Human: ...` and `Assistant: ...`")
    limit = config.sampling.max_prompt_tokens
    num_cut = sum(encoded.cut for encoded in encode_prompts(tokenizer, texts, max_tokens=limit))
    if num_cut:
        say(
            f"{num_cut} of {len(texts)} prompts are longer than sampling.max_prompt_tokens = {limit} tokens and are "
            "cut from the left"
        )
