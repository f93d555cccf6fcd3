"""Specs of roles for tests: small limits, on the CPU. The specs have no defaults; in a run the configuration has."""

from __future__ import annotations

from typing import Any

from actors.learning.specs import LearnerSpec
from actors.reference_policy import ReferencePolicySpec
from actors.rollout import RolloutSpec

_PROCESS: dict[str, Any] = {"device": "cpu", "dtype": "auto", "threads": 1}


def rollout_spec(model: str, **changes: Any) -> RolloutSpec:
    limits = {"max_new_tokens": 8, "max_prompt_tokens": 60, "stop": ("\n\nHuman:",), "engine": "torch"}
    return RolloutSpec(**{"model": model, **limits, **_PROCESS} | changes)


def reference_policy_spec(model: str, **changes: Any) -> ReferencePolicySpec:
    return ReferencePolicySpec(**{"model": model, "micro_batch_tokens": 16_384, **_PROCESS} | changes)


def learner_spec(model: str, **changes: Any) -> LearnerSpec:
    return LearnerSpec(**{"model": model, "micro_batch_tokens": 16_384, **_PROCESS} | changes)
