"""What known rewards would be worth against other reference points, without scoring anything again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from allgood.all_good import AllGood, Judged
from allgood.scorers.rewards_spec import RewardsSpec


def judged_against(
    spec: RewardsSpec,
    rewards: Mapping[str, Sequence[float]],
    references: Mapping[str, Sequence[float]],
    *,
    was_cut: NDArray[np.bool_] | None = None,
) -> Judged:
    """Judge raw rewards against given references, per property one of each per row.

    Raises:
        ValueError: A property has none, numbers differ, or its transform compares with samples and not with a number.
        RoleError: A transform refuses the rewards.

    >>> from allgood.objectives import FormulaUtility
    >>> from allgood.formula import Formula
    >>> from allgood.scorers.rewards_spec import PropertySpec, ReferenceSpec
    >>> from allgood.scorers.spec import FunctionSpec
    >>> spec = RewardsSpec(
    ...     {"short": PropertySpec(FunctionSpec("rules:short"), ReferenceSpec(constant=0.0))},
    ...     FormulaUtility(Formula("short")),
    ... )
    >>> judged = judged_against(spec, {"short": [1.0, 1.0]}, {"short": [1.0, 0.0]})
    >>> judged.utilities.round(3).tolist()
    [-0.6930000185966492, -0.31299999356269836]
    """
    if set(rewards) != set(spec.properties) or set(references) != set(spec.properties):
        raise ValueError(f"give rewards and references of exactly these properties: {', '.join(spec.properties)}")
    num_rows = {len(values) for values in (*rewards.values(), *references.values())}
    if len(num_rows) > 1:
        raise ValueError(f"every property needs a reward and a reference per row, but there are {sorted(num_rows)}")
    ids = [str(row) for row in range(num_rows.pop())]
    treatments = {}
    for name, setting in spec.properties.items():
        if setting.facts.needs == "draws":
            raise ValueError(
                f"property {name!r} is compared with samples of pi_0 (transform {setting.transform}), not with a number"
            )
        treatments[name] = setting.treatment(dict(zip(ids, map(float, references[name]), strict=True)))
    all_good = AllGood(treatments, spec.objective, spec.missing_eos_penalty)
    columns = {name: np.asarray(values, dtype=np.float32) for name, values in rewards.items()}
    return all_good.of_rewards(columns, ids, was_cut=was_cut)
