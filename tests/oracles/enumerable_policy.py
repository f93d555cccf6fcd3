"""A policy whose every response can be written down, so that expectations and gradients are exact sums.

Tokens are a, b and EOS; a response ends at EOS or at 3 tokens, which makes 15 responses of 1 to 3 tokens. The policy is
a table of logits, one row per prefix, so it can be any distribution over responses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

EOS, NUM_TOKENS, MAX_TOKENS = 2, 3, 3
PREFIXES = [prefix for length in range(MAX_TOKENS) for prefix in product((0, 1), repeat=length)]


def _responses() -> list[tuple[int, ...]]:
    ended = [(*prefix, EOS) for prefix in PREFIXES]
    return ended + list(product((0, 1), repeat=MAX_TOKENS))


RESPONSES = _responses()
MASK = torch.tensor([[t < len(response) for t in range(MAX_TOKENS)] for response in RESPONSES])
_ROWS = torch.tensor([[PREFIXES.index(r[:t]) if t < len(r) else 0 for t in range(MAX_TOKENS)] for r in RESPONSES])
_TOKENS = torch.tensor([[r[t] if t < len(r) else 0 for t in range(MAX_TOKENS)] for r in RESPONSES])


def random_logits(seed: int) -> Tensor:
    """Logits [prefixes, tokens] in float64."""
    return torch.randn(len(PREFIXES), NUM_TOKENS, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def token_logprobs(logits: Tensor) -> Tensor:
    """Log-probs of every response's tokens, [responses, tokens], 0 at padding."""
    return torch.where(MASK, logits.log_softmax(-1)[_ROWS, _TOKENS], 0.0)


def all_logprobs(logits: Tensor) -> Tensor:
    """Log-probs of the whole vocabulary at every position, [responses, tokens, vocabulary]."""
    return logits.log_softmax(-1)[_ROWS]


def probabilities(logits: Tensor) -> Tensor:
    """pi(y) of every response, [responses]."""
    return token_logprobs(logits).sum(-1).exp()


def expected(logits: Tensor) -> Tensor:
    """Weights that turn a loss' mean over the 15 responses into its expectation under the policy, [responses]."""
    return len(RESPONSES) * probabilities(logits).detach()


@dataclass(frozen=True)
class Problem:
    """E[u] - gamma * KL(pi || pi_0) over the 15 responses."""

    reference_logits: Tensor
    utilities: Tensor
    gamma: float

    def value(self, logits: Tensor) -> Tensor:
        """The objective itself."""
        log_pi = token_logprobs(logits).sum(-1)
        log_pi_0 = token_logprobs(self.reference_logits).sum(-1)
        return (log_pi.exp() * (self.utilities - self.gamma * (log_pi - log_pi_0))).sum()

    def gradient(self, logits: Tensor) -> Tensor:
        """Its exact gradient in the logits."""
        logits = logits.detach().requires_grad_()
        return torch.autograd.grad(self.value(logits), logits)[0]

    def optimum(self) -> Tensor:
        """pi_0 exp(u / gamma) / Z, [responses]."""
        log_target = token_logprobs(self.reference_logits).sum(-1) + self.utilities / self.gamma
        return torch.softmax(log_target, dim=0)


def problem(seed: int = 0, gamma: float = 0.5) -> Problem:
    """A random problem with u = log P(good)."""
    margins = 2 * torch.randn(len(RESPONSES), dtype=torch.float64, generator=torch.Generator().manual_seed(seed + 100))
    return Problem(random_logits(seed), torch.nn.functional.logsigmoid(margins), gamma)


def descent_direction(loss: Callable[[Tensor], Tensor], logits: Tensor) -> Tensor:
    """Minus the gradient of a loss in the logits: what an optimiser would follow."""
    logits = logits.detach().requires_grad_()
    return -torch.autograd.grad(loss(logits), logits)[0]


def relative_error(found: Tensor, exact: Tensor) -> float:
    """|found - exact| / |exact|."""
    return float((found - exact).norm() / exact.norm())
