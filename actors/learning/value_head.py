"""PPO's value head: a linear map of the policy's last hidden state, zero at the start.

The hidden state is what enters the policy's output layer, caught by a hook, so that any causal model serves and no
second forward pass is needed. The value of a response token is that of the state in which it was chosen: prompt and
earlier tokens, not the token itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from actors.messages import TokenRow


class ValueHead(nn.Module):
    """V(state) in nats, float32."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden_size, 1)
        self.reset()

    def reset(self) -> None:
        """Back to V = 0 everywhere."""
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """Values [..., tokens] of hidden states [..., tokens, hidden]."""
        values: Tensor = self.linear(hidden.float())
        return values.squeeze(-1)


@contextmanager
def last_hidden_states(model: PreTrainedModel) -> Iterator[Callable[[], Tensor]]:
    """Inside this context, the yielded function returns what last entered the model's output layer."""
    caught: list[Tensor] = []

    def keep(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        caught[:] = [arguments[0]]

    hook = model.get_output_embeddings().register_forward_pre_hook(keep)
    try:
        yield lambda: caught[0]
    finally:
        hook.remove()


def response_states(hidden: Tensor, prompts: Sequence[TokenRow], responses: Sequence[TokenRow]) -> Tensor:
    """States in which response tokens were chosen, [rows, tokens, hidden], padded by repeating the last position.

    Args:
        hidden: [rows, positions, hidden] from a right-padded forward pass over prompt and response without its last
            position; the positions kept are the last ones.
        prompts: Token ids of the prompts, one per row.
        responses: Token ids of the responses, one per row.
    """
    width = max(len(prompt) + len(response) for prompt, response in zip(prompts, responses, strict=True)) - 1
    dropped = width - hidden.shape[1]  # leading positions for which no logits were computed
    starts = torch.tensor([len(prompt) - 1 - dropped for prompt in prompts], device=hidden.device)
    columns = torch.arange(max(len(response) for response in responses), device=hidden.device)
    positions = (starts[:, None] + columns).clamp_max(hidden.shape[1] - 1)
    return hidden.gather(1, positions[..., None].expand(-1, -1, hidden.shape[-1]))
