"""The report page: complete, self-contained, escaped; for a run, for a run without evaluation, and for several arms."""

from __future__ import annotations

import json
import re
import xml.dom.minidom
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from allgood.errors import ConfigError
from pipelines.config.loading import save_config
from pipelines.config.rl import TrackingConfig
from pipelines.config.run import RunConfig
from pipelines.evaluation.entry import ArmSummary, Comparison, Headlines, headlines, policy_entry
from pipelines.evaluation.findings import Settings, findings
from pipelines.evaluation.measure import PolicySamples
from pipelines.evaluation.measurements import ByPolicy, Measurements
from pipelines.evaluation.samples import ScoredSamples
from pipelines.output.files import write_json
from pipelines.output.metrics_log import MetricsLog
from pipelines.output.typed_json import as_json, from_json
from pipelines.reporting.content import Policy
from pipelines.reporting.html import table
from pipelines.reporting.report import write_group_report, write_report
from pipelines.reporting.results import matched_pair
from tests.pipelines.offline_wandb import offline_runs
from tests.pipelines.tiny_run import tiny_config

ATTACK = '<script src="https://example.org/x.js"></script><img src="https://example.org/p.png">'
NAMES = ("short", "vowels")


def samples(shift: float, seed: int, num_samples: int) -> ScoredSamples:
    generator = np.random.default_rng(seed)
    shape = (12, num_samples)
    policy = PolicySamples(
        prompt_ids=tuple(f"p{index}" for index in range(12)),
        responses=tuple(tuple(f"1. mix 2. bake {ATTACK}" for _ in range(num_samples)) for _ in range(12)),
        gold={name: generator.normal(shift, 1.0, shape) for name in NAMES},
        kl=generator.normal(shift, 0.1, shape),
        finish_reasons=tuple(("eos",) * num_samples for _ in range(12)),
        num_tokens=np.full(shape, 5),
    )
    scores = {name: generator.normal(shift, 1.0, shape) for name in (*NAMES, "evaluator.short")}
    return ScoredSamples(tuple(f"\n\nHuman: {ATTACK}\n\nAssistant:" for _ in range(12)), policy, scores)


def probabilities(rewards: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: 1 / (1 + np.exp(-values)) for name, values in rewards.items()}


def measurements() -> Measurements:
    aligned, sft = samples(1.0, 1, 3), samples(0.0, 2, 9)
    settings = Settings(bars=dict.fromkeys(NAMES, 0.0), quantiles={"short": 0.85}, seed=0, num_bootstrap=100)
    found = findings(
        aligned,
        sft,
        settings,
        margins=ByPolicy(sft=sft.rewards, aligned=aligned.rewards),
        p_good=ByPolicy(sft=probabilities(sft.rewards), aligned=probabilities(aligned.rewards)),
        efficiency="there are no samples",
        judge=None,
    )
    return replace(found, notes=("evaluator 2 shares its backbone",))


def write_evaluation(folder: Path, found: Measurements) -> None:
    write_json(folder / "evaluation" / "measurements.json", as_json(found))
    summary = {"steps": 3, "gamma": 0.1, "seconds": 5.0, "evaluation": as_json(headlines(found))}
    write_json(folder / "summary.json", summary)


def metrics(folder: Path) -> None:
    log = MetricsLog(folder / "metrics.jsonl")
    for step in range(1, 4):
        log.append(
            {
                "step": step,
                "reward.short.mean": 0.1 * step,
                "kl_k1_sum": 0.2 * step,
                "num_dropped_samples": 1.0,
                "ops.retries": 2.0,
            }
        )


@pytest.fixture
def run(tmp_path: Path) -> RunConfig:
    config = tiny_config(tmp_path)
    save_config(config, config.folder / "config.yaml")
    metrics(config.folder)
    return config


class Page(HTMLParser):
    """What a page would load, and its headings."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]


def test_an_evaluated_run_gets_a_page_that_loads_nothing_and_runs_nothing(run: RunConfig) -> None:
    write_evaluation(run.folder, measurements())
    text = write_report(run.folder).read_text()
    page = Page(text)
    assert "script" not in page.tags
    assert all(source.startswith(("data:image/png;base64,", "#")) for source in page.sources)
    assert "&lt;script src=&quot;https://example.org" in text
    assert page.tags.count("img") == len(list((run.folder / "plots").glob("*.png"))) >= 4
    for part in ("Main table", "Improvement per prompt", "Shortcuts", "Evaluators", "Responses", "Training", "Notes"):
        assert f"{part}" in text
    assert "evaluator 2 shares its backbone" in text
    assert "Evaluator 2: held-out preference models" in text
    assert re.search(r"num dropped samples</td><td[^>]*>3</td>", text)  # summed over steps
    assert re.search(r"calls made again</td><td[^>]*>6</td>", text)


def test_what_was_run_is_named_by_hash_or_by_commit(run: RunConfig) -> None:
    keys = {
        "policy": "a" * 64,
        "tokenizer": f"hub:owner/instruct@{'1' * 40}",
        "reward_model.short": "function:tests.rewards:short@0123456789abcdef",
    }
    counts = {"made_with": {"num_samples": 4, "splits": ["alignment"]}, "prompts": {"count": 3}}
    write_json(run.base_folder / "references" / "manifest.json", {"keys": keys, **counts})
    text = write_report(run.folder).read_text()
    assert "π0, the start policy, is the SFT policy." in text
    for shown in ("a" * 16, f"owner/instruct@{'1' * 16}", "tests.rewards:short@0123456789abcdef"):
        assert f">{shown}</td>" in text


def test_without_gold_the_gain_per_prompt_is_that_of_the_held_out_evaluator(run: RunConfig) -> None:
    found = measurements()
    aligned, sft = replace(found.aligned, gold=None), replace(found.sft, gold=None)
    write_evaluation(run.folder, replace(found, aligned=aligned, sft=sft))
    text = write_report(run.folder).read_text()
    assert "Gain in evaluator 2 per prompt" in text
    assert (run.folder / "plots" / "improvement_per_prompt.png").is_file()


def test_without_anybody_to_judge_nothing_is_called_a_win_or_good(run: RunConfig) -> None:
    found = measurements()
    bare = replace(found.aligned, gold=None)
    unjudged = replace(found, aligned=bare, sft=replace(found.sft, gold=None), evaluators={}, notes=())
    write_evaluation(run.folder, replace(unjudged, table_ranked_by="training reward models"))
    text = re.sub(r"<[^>]+>", " ", write_report(run.folder).read_text())
    shown = text[: text.index("The resolved configuration")]
    assert "Nobody judges this run" in shown
    assert "training reward short: mean gain" in shown
    assert "Training reward per prompt" in shown
    assert "highest training reward" in shown.lower()
    results = shown[: shown.rindex("Reward models")]
    assert not re.findall(r"win rate|P\(good\)|[Bb]oth.good|[Ii]mprove", results)


def test_a_probe_and_the_gain_over_length_stand_beside_the_reward_model(run: RunConfig) -> None:
    report = {"accuracy": 0.7, "gain_over_longer_wins": 0.031, "gain_over_longer_wins_ci": [-0.01, 0.07]}
    name = next(iter(run.properties))
    write_json(run.base_folder / "reward" / name / "report.json", report)
    write_json(run.base_folder / "reward" / name / "probe.json", {"accuracy": 0.62})
    text = write_report(run.folder).read_text()
    assert "0.031 [-0.010, 0.070]" in text
    assert f"{name} probe (linear, frozen encoder)" in text


def test_every_plot_is_a_png_beside_the_page(run: RunConfig) -> None:
    write_report(run.folder)
    plots = list((run.folder / "plots").glob("*.png"))
    assert plots
    assert all(plot.read_bytes().startswith(b"\x89PNG") for plot in plots)


def test_a_run_without_evaluation_says_so_instead_of_leaving_sections_out(run: RunConfig) -> None:
    write_json(run.folder / "summary.json", {"steps": 3, "gamma": 0.1, "kl": 0.4, "seconds": 5.0})
    text = write_report(run.folder).read_text()
    assert "not evaluated on test prompts" in text
    assert "No learned evaluator and no judge was asked" in text
    assert "There is no gold for this data" in text
    assert "No held-out evaluator was trained in this run" in text


def arms() -> dict[str, Any]:
    found = measurements()
    entry, sft = as_json(policy_entry(found.aligned)), as_json(policy_entry(found.sft))
    return {
        "sft": sft,
        "arms": [
            entry | {"objective": objective, "gamma": gamma, "kl": kl, "seconds": 9.0, "name": f"{objective}_{gamma}"}
            for objective, gamma, kl in (("raw_sum", 1.0, 1.0), ("raw_sum", 0.5, 2.0), ("lsc_sum", 0.2, 1.1))
        ],
        "chosen_arm": 2,
    }


def comparison(summary: dict[str, Any]) -> Comparison:
    return from_json(Comparison, summary, where="summary.json")


def test_several_arms_share_a_page_with_a_frontier_and_the_chosen_one_marked(run: RunConfig) -> None:
    metrics(run.folder / "arms" / "raw_sum_1.0")
    text = write_group_report(run.folder, comparison(arms())).read_text()
    assert (run.folder / "plots" / "both_good_rate_by_kl.png").is_file()
    assert re.search(r"class=chosen><td>lsc_sum_0.2", text)
    assert "The closest KLs of two objectives: raw_sum_1.0 (1.00 nats) and lsc_sum_0.2 (1.10 nats)" in text
    assert "Measured by gold alone" in text
    assert "where_it_matters.png" in text


def test_a_comparison_is_tracked_with_its_table_and_plots(run: RunConfig) -> None:
    tracked = run.model_copy(update={"tracking": TrackingConfig(wandb="offline", group="arms of one base")})
    save_config(tracked, run.folder / "config.yaml")
    summary = arms()
    write_group_report(run.folder, comparison(summary))
    (found,) = offline_runs(run.folder)
    assert (found.group, found.job_type) == ("arms of one base", "report")
    assert found.summary["final/aligned.gamma"] == 0.2  # of the chosen arm
    assert found.summary["final/sft.both_good_rate"] == summary["sft"]["both_good_rate"]
    table = json.loads(next(found.path.parent.rglob("policies*.table.json")).read_text())
    assert [row[0] for row in table["data"]] == ["π0", "raw_sum_1.0", "raw_sum_0.5", "lsc_sum_0.2"]
    assert len(list(found.path.parent.rglob("*.png"))) == len(list((run.folder / "plots").glob("*.png")))


def test_a_summary_with_only_the_required_keys_is_enough(run: RunConfig) -> None:
    required = ("objective", "gamma", "kl", "gold_win_rate", "gold_win_rate_ci", "gold_win_rates", "both_good_rate")
    required += ("both_good_gain", "both_good_gain_ci", "shortcut_rates", "seconds")
    summary = arms()
    summary["arms"] = [{name: arm[name] for name in required} for arm in summary["arms"]]
    summary["sft"] = {name: summary["sft"][name] for name in ("both_good_rate", "shortcut_rates")}
    text = write_group_report(run.folder, comparison(summary)).read_text()
    assert "raw_sum_0.5" in text
    assert "No gain per prompt was measured here" in text


def test_report_of_a_folder_with_a_comparison_is_the_comparison(run: RunConfig) -> None:
    write_json(run.folder / "summary.json", arms())
    assert "Comparison arm" in write_report(run.folder).read_text()


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no run"):
        write_report(tmp_path)


def policy(objective: str, kl: float) -> Policy:
    return Policy(f"{objective}{kl}", ArmSummary(objective=objective, headlines=Headlines(kl=kl)))


def test_arms_are_matched_across_objectives_and_only_when_their_kls_are_close() -> None:
    raw, near, far = policy("raw", 1.0), policy("lsc", 1.2), policy("lsc", 2.0)
    assert matched_pair([raw, policy("raw", 1.01), far, near]) == (policy("raw", 1.01), near)
    assert matched_pair([raw, far]) is None
    assert matched_pair([raw]) is None


def test_tables_escape_cells_and_align_numbers() -> None:
    html = table(["a", "b"], [["x & <y>", 0.5], ["z", None]], chosen=1).html
    xml.dom.minidom.parseString(html.replace("class=chosen", 'class="chosen"'))
    assert "x &amp; &lt;y&gt;" in html
    assert '<td class="number">0.500</td>' in html
    assert '<td class="number">–</td>' in html
