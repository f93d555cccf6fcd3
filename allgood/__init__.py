"""Rewards of several preferences, combined as log P(all good): the mathematics, without Ray and without files.

Modules and the most used names load on first use, so that `import allgood` imports no torch.
"""

from __future__ import annotations

import importlib

_MODULES = frozenset(
    {
        "advantages",
        "aggregation",
        "all_good",
        "batching",
        "best_of_k",
        "calibration",
        "checks",
        "conversations",
        "decision_diagram",
        "diagnosis",
        "diagnostics",
        "ensembles",
        "errors",
        "formula",
        "formula_syntax",
        "guards",
        "idealised",
        "integrations",
        "intervals",
        "kl",
        "kl_controllers",
        "log_space",
        "losses",
        "named_transforms",
        "number_checks",
        "objectives",
        "opponents",
        "pareto",
        "reference_head",
        "references",
        "resampling",
        "scorers",
        "shortcuts",
        "tilting",
        "transform_facts",
        "transforms",
        "treatment",
        "views",
        "winrate",
    }
)
_NAMES = {
    "AllGood": "all_good",
    "ClassifierSpec": "scorers.spec",
    "EnsembleSpec": "scorers.spec",
    "Formula": "formula",
    "FormulaUtility": "objectives",
    "FunctionSpec": "scorers.spec",
    "ModelSpec": "scorers.spec",
    "Treatment": "treatment",
    "identity": "transforms",
    "load_scorer": "scorers.loading",
    "log_prob": "transforms",
    "log_sigmoid": "transforms",
    "rloo": "advantages",
    "solve_gamma": "tilting",
    "tilt": "tilting",
}


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return importlib.import_module(f"allgood.{name}")
    if name in _NAMES:
        return vars(importlib.import_module(f"allgood.{_NAMES[name]}"))[name]
    raise AttributeError(f"module 'allgood' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(_MODULES | set(_NAMES) | set(globals()))
