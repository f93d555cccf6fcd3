"""Do the tests notice? One sign or bound is flipped in each module of the mathematics; its tests must then fail.

The second list does the same for the oracles: each must fail for a mistake in what it proves.

Every mutation is made in a temporary copy.

python -m tests.mutations > docs/results/mutation.md
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import hypothesis  # noqa: F401  (imported before the forks, as are scipy and torch)
import pytest
import scipy.stats  # noqa: F401
import torch

_SHIFT = 10  # of the child's exit status: 1 is also what Python ends with when the child itself breaks
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Mutation:
    """`old` becomes `new` in allgood/<module>.py, where it stands once; `tests` (if empty, its own) must fail."""

    module: str
    old: str
    new: str
    tests: str = ""

    @property
    def test_file(self) -> str:
        """Path of the tests, from the repository's root."""
        if self.tests:
            return f"tests/oracles/{self.tests}.py"
        folder, _, name = self.module.rpartition("/")
        own = str(Path("tests", "allgood", folder, f"test_{name}.py"))
        return own if (ROOT / own).exists() else "tests/allgood/test_formula.py"  # log_space


MUTATIONS = (
    Mutation("advantages", "num_samples / (num_samples - 1)", "num_samples / (num_samples + 1)"),
    Mutation("advantages", "discount * following - values", "discount * following + values"),
    Mutation("aggregation", "-temperature * torch.logsumexp(-stacked", "temperature * torch.logsumexp(-stacked"),
    Mutation("aggregation", "prices[name] - rate *", "prices[name] + rate *"),
    Mutation("batching", "(len(batches[-1]) + 1) * width <= max_tokens", "(len(batches[-1]) + 1) * width < max_tokens"),
    Mutation("best_of_k", "(num_samples - ranks - k + 1)", "(num_samples - ranks - k)"),
    Mutation(
        "best_of_k", "math.log(k) - (k - 1) / k\n\n\ndef kl_estimate", "math.log(k) + (k - 1) / k\n\n\ndef kl_estimate"
    ),
    Mutation("calibration", "0.5 * (numbers == 0)", "1.0 * (numbers == 0)"),
    Mutation("number_checks", "number > 0", "number >= 0"),
    Mutation("conversations", 'f"{prompt} {response}" if response else', 'f"{prompt} {response}" if prompt else'),
    Mutation("decision_diagram", "if FALSE in (left, right):", "if TRUE in (left, right):"),
    Mutation("diagnostics", "(gains > 0)", "(gains >= 0)"),
    Mutation("diagnostics", "known.sum(axis=1, keepdims=True), 1)", "known.size, 1)"),
    Mutation("diagnostics", "& (one != 0)", "& (one == 0)"),
    Mutation("ensembles", "values.mean(0) - penalty * std", "values.mean(0) + penalty * std"),
    Mutation("formula", "-margin if question.low == TRUE", "-margin if question.low != TRUE"),
    Mutation("formula", "self.exponent * log_p", "log_p / self.exponent"),
    Mutation("formula_syntax", "exponent > 0 and", "exponent >= 0 and"),
    Mutation("guards", "sizes[groups] >= 2", "sizes[groups] >= 1"),
    Mutation("guards", "(known >= 0) & (known <= 1)", "(known >= 0) & (known < 0.5)"),
    Mutation("intervals", "0.5 - confidence / 2, 0.5 + confidence / 2]", "0.5 - confidence / 4, 0.5 + confidence / 4]"),
    Mutation("kl", "in_float(logprob) - in_float(ref_logprob)", "in_float(ref_logprob) - in_float(logprob)"),
    Mutation("kl", "torch.expm1(-log_ratio) + log_ratio", "torch.expm1(log_ratio) - log_ratio"),
    Mutation("kl_controllers", "kl / self.target - 1.0", "1.0 - kl / self.target"),
    Mutation("kl_controllers", "self.rate * min(math.log(ratio)", "-self.rate * min(math.log(ratio)"),
    Mutation("log_space", "torch.log1p(-rest.exp())", "torch.log1p(rest.exp())"),
    Mutation("losses", "torch.minimum(ratio * factor", "torch.maximum(ratio * factor"),
    Mutation("losses", "log_ratio.clamp(max=math.log(maximum))", "log_ratio.clamp(min=math.log(maximum))"),
    Mutation("named_transforms", "(rewards, anchors.draws)", "(rewards, anchors.reference)"),
    Mutation("reference_head", "return mean + NormalDist()", "return mean - NormalDist()"),
    Mutation("opponents", "counts = torch.cat(blocks) * (1.0 - membership)", "counts = torch.cat(blocks)"),
    Mutation(
        "opponents", "others = by_prompt @ (1.0 - membership)", "others = by_prompt @ torch.ones_like(membership)"
    ),
    Mutation("pareto", "as_good & better", "as_good | better"),
    Mutation("references", "normal_quantile(centre, std, quantile)", "normal_quantile(centre, -std, quantile)"),
    Mutation("references", "(2.0 * (num_draws - 1))", "(2.0 * (num_draws + 1))"),
    Mutation("resampling", "(weights @ sums) / (weights @ counts)", "(weights @ sums) / num_clusters"),
    Mutation("scorers/scorer", "np.isfinite(rewards), rewards", "np.isinf(rewards), rewards"),
    Mutation("shortcuts", "second == first + 1", "second == first"),
    Mutation("tilting", "math.log(exponents.shape[-1])\n    return weights", "0.0\n    return weights"),
    Mutation("tilting", "(1.0 - _MAX_SHORTFALL) * shown", "(1.0 + _MAX_SHORTFALL) * shown"),
    Mutation(
        "transforms", "return in_float(reward) - in_float(per_prompt)", "return in_float(reward) + in_float(per_prompt)"
    ),
    Mutation("transform_facts", '"log_prob", "nothing"', '"log_prob", "reference"'),
    Mutation("transforms", ") > 0:\n        raise", ") > 1:\n        raise"),
    Mutation("transforms", "(less + not_above).to(reward.dtype) + 0.5", "(less + not_above).to(reward.dtype) + 1.0"),
    Mutation("winrate", "torch.where(met, theirs, torch.inf)", "torch.where(met, theirs, -torch.inf)"),
    Mutation("winrate", "torch.where(known, less + not_above, 0)", "(less + not_above)"),
    Mutation("winrate", "(stacked >= 0).all(0) &", "(stacked >= 0).all(0) |"),
)

ORACLES = (
    Mutation("best_of_k", "quantile.pow(k) * logs", "quantile.pow(k - 1) * logs", "test_best_of_k_laws"),
    Mutation("best_of_k", "k / num_samples, dtype", "(k + 1) / num_samples, dtype", "test_best_of_k_laws"),
    Mutation("kl_controllers", '"average": self.average}', '"average": 1.01 * self.average}', "test_controller_resume"),
    Mutation("log_space", "possible[0] if len", "possible[-1] - 1e-6 if len", "test_formula_by_enumeration"),
    Mutation("kl", "0.5 * k1(logprob", "0.6 * k1(logprob", "test_kl_choices"),
    Mutation("kl", '"k3", "loss", False', '"k3", "loss", True', "test_kl_choices"),
    Mutation(
        "losses",
        "-torch.where(mask, factor * logprobs, 0.0).sum(-1).mean()",
        "-torch.where(mask, factor * logprobs, 0.0).mean(-1).mean()",
        "test_policy_gradients",
    ),
    Mutation("advantages", "(size / (size - 1))", "(size / size)", "test_policy_gradients"),
    Mutation("advantages", "+ decay * running) * kept", "- decay * running) * kept", "test_policy_gradients"),
    Mutation("references", "z * z / (2.0 *", "z * z / (4.0 *", "test_quantile_errors"),
    Mutation("references", "second - first.square()", "second + first.square()", "test_quantile_errors"),
    Mutation(
        "transforms",
        "F.logsigmoid(margin(reward, reference))",
        "torch.sigmoid(margin(reward, reference)).log()",
        "test_stability",
    ),
    Mutation("log_space", "torch.where(likely, log_false, -1.0)", "log_false", "test_stability"),
    Mutation("tilting", "(centred.double() / gamma)", "(centred.double() * gamma)", "test_tabular_target"),
    Mutation(
        "transforms", "return in_float(reward) - in_float(per_prompt)", "return in_float(reward)", "test_tabular_target"
    ),
)


def main() -> int:
    """Print the table; 1 when a mutation goes unnoticed."""
    torch.set_num_threads(1)
    print("# Mutations\n")
    print(
        "One sign, bound or factor is changed at a time, in a copy; the tests named must fail: each module's own, then"
    )
    print("the oracles, each of which must fail for a mistake in what it proves.")
    print("Made by `python -m tests.mutations`.\n")
    print("| module | before | after | tests | |\n| --- | --- | --- | --- | --- |")
    survivors = 0
    mutations = (*MUTATIONS, *ORACLES)
    with tempfile.TemporaryDirectory() as folder:
        for mutation in mutations:
            noticed = is_noticed(mutation, Path(folder))
            survivors += not noticed
            old, new = (" ".join(text.split()).replace("|", "\\|") for text in (mutation.old, mutation.new))
            where = mutation.test_file.removeprefix("tests/").removesuffix(".py")
            verdict = "fail, as they should" if noticed else "PASS"
            print(f"| `{mutation.module}` | `{old}` | `{new}` | {where} | {verdict} |", flush=True)
        control_fails = unchanged_fails(sorted({mutation.test_file for mutation in mutations}), Path(folder))
    print(f"\n{len(mutations) - survivors} of {len(mutations)} mutations were noticed.")
    print(f"Without a mutation the same tests {'FAIL' if control_fails else 'pass'}.")
    return int(survivors > 0 or control_fails)


def is_noticed(mutation: Mutation, folder: Path) -> bool:
    """Whether the module's tests fail on the mutated copy."""
    copy = folder / mutation.module
    copy_tree(copy)
    source = copy / "allgood" / f"{mutation.module}.py"
    text = source.read_text(encoding="utf-8")
    if text.count(mutation.old) != 1:
        raise SystemExit(f"{mutation.module}: {mutation.old!r} stands there {text.count(mutation.old)} times, not once")
    source.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    return status_of(copy, mutation.test_file) == pytest.ExitCode.TESTS_FAILED


def unchanged_fails(files: list[str], folder: Path) -> bool:
    """The control: do the same tests fail on a copy without any mutation?"""
    copy = folder / "unchanged"
    copy_tree(copy)
    return status_of(copy, *files) != pytest.ExitCode.OK


def copy_tree(copy: Path) -> None:
    """What the tests need, without their caches."""
    shutil.rmtree(copy, ignore_errors=True)
    for name in ("allgood", "tests/allgood", "tests/oracles"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "tests/__init__.py"):
        shutil.copy(ROOT / name, copy / name)


def status_of(copy: Path, *files: str) -> int:
    """pytest's exit status in a fork of this process: importing torch anew would take most of the time."""
    child = multiprocessing.get_context("fork").Process(target=_run_tests, args=(copy, files))
    child.start()
    child.join()
    status = (child.exitcode or 0) - _SHIFT
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise SystemExit(f"pytest ended with status {status} on {', '.join(files)} in {copy.name}")
    return status


def _run_tests(copy: Path, files: tuple[str, ...]) -> None:
    """In the child: the tests of the copy, with the copy's modules."""
    for name in [name for name in sys.modules if name.split(".")[0] in ("allgood", "tests")]:
        del sys.modules[name]
    os.chdir(copy)
    sys.path.insert(0, str(copy))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    # Without the annotation checker: a wrong value must be seen as a wrong value.
    sys.exit(_SHIFT + pytest.main(["-q", "-x", "-o", "addopts=", "-p", "no:cacheprovider", *files]))


if __name__ == "__main__":
    sys.exit(main())
