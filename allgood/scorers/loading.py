"""From what a scorer is made of to the scorer itself."""

from __future__ import annotations

from allgood.errors import ModelError
from allgood.scorers.ensemble import EnsembleScorer
from allgood.scorers.function_scorer import FunctionScorer, load_function
from allgood.scorers.model_scorer import ModelScorer
from allgood.scorers.scorer import Scorer
from allgood.scorers.spec import ClassifierSpec, EnsembleSpec, FunctionSpec, HttpSpec, ModelSpec, ScorerSpec


def load_scorer(spec: ScorerSpec) -> Scorer:
    """The scorer that `spec` describes, ready to score.

    Raises:
        ModelError: A model cannot be loaded or does not fit the spec, or transformers is not installed.
        ConfigError: There is no such function, or a server's address or token is wrong.
    """
    match spec:
        case HttpSpec():
            return _load_http_scorer(spec)
        case FunctionSpec():
            return FunctionScorer(load_function(spec.source), name=spec.source)
        case EnsembleSpec():
            return EnsembleScorer([load_model_scorer(member) for member in members_of(spec)], spec.combination)
        case ModelSpec() | ClassifierSpec():
            return load_model_scorer(spec)


def _load_http_scorer(spec: HttpSpec) -> Scorer:
    try:
        from allgood.scorers.http_scorer import HttpScorer  # the mathematics and functions need no HTTP
    except ModuleNotFoundError as error:
        raise ModelError(
            f"the served model {spec.source!r} needs {error.name}, which is not installed; install allgood[scorers]"
        ) from error
    return HttpScorer(spec)


def members_of(spec: EnsembleSpec) -> list[ModelSpec]:
    """Each member of an ensemble as a scorer of its own."""
    return [
        ModelSpec(source, max_tokens=spec.max_tokens, micro_batch_tokens=spec.micro_batch_tokens, device=spec.device)
        for source in spec.members
    ]


def load_model_scorer(spec: ModelSpec | ClassifierSpec) -> ModelScorer:
    """`load_scorer` of a single model."""
    try:
        from allgood.scorers.pretrained import load_pretrained  # transformers takes seconds, and functions need none
    except ModuleNotFoundError as error:
        raise ModelError(
            f"{spec.kind} {spec.source!r} needs {error.name}, which is not installed; install allgood[scorers]"
        ) from error
    return load_pretrained(spec)
