"""The faults on the page are those of tests that exist, and their outcomes are pytest's."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from experiments.chaos.tested import TESTED, rows_of_report

ROOT = Path(__file__).parents[3]
LOST = "tests.pipelines.alignment.test_lost_actors"
KILLED = "test_a_run_whose_actors_are_killed_ends_with_the_same_bits"
HUNG = "test_an_actor_that_hangs_is_named_and_ended_and_the_run_ends_with_the_same_bits"

# Tests that are marked because they start processes as those of faults do.
NO_FAULT = {
    "tests/faults/test_job_submission.py::test_a_client_without_the_token_is_refused",
    "tests/faults/test_job_submission.py::test_a_job_of_a_stranger_is_refused_and_that_of_a_member_aligns",
    "tests/faults/test_resume.py::test_a_changed_config_is_refused",
    "tests/faults/test_resume.py::test_a_finished_run_resumed_is_the_same_run",
}

REPORT = f"""<testsuites><testsuite>
<testcase classname="{LOST}" name="{KILLED}@cast">
  <properties><property name="recovery_s" value="[4.5, 6.0]"/></properties></testcase>
<testcase classname="{LOST}" name="{HUNG}[rollout-generate]"/>
<testcase classname="{LOST}" name="{HUNG}[learner-update]@cast"><failure message="no"/></testcase>
<testcase classname="tests.faults.test_memory" name="test_x"><skipped/></testcase>
<testcase classname="tests.faults.test_resume" name="test_a_changed_config_is_refused"/>
</testsuite></testsuites>"""


@pytest.mark.parametrize("test", [entry.test for entry in TESTED])
def test_every_test_that_is_named_exists(test: str) -> None:
    path, _, name = test.partition("::")
    functions = [node.name for node in ast.parse((ROOT / path).read_text()).body if isinstance(node, ast.FunctionDef)]
    assert name in functions


def test_every_test_that_is_marked_has_a_row_on_the_page() -> None:
    marked = {name for path in (ROOT / "tests").rglob("test_*.py") for name in marked_in(path)}
    assert marked - NO_FAULT == {entry.test for entry in TESTED} & marked, "add it to experiments/chaos/tested.py"
    assert marked >= NO_FAULT


def marked_in(path: Path) -> list[str]:
    """Tests of a file with the marker `faults`, by their own or the file's marks."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    tests = [node for node in body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    of_all = [
        node.value for node in body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"
    ]
    return [
        f"{path.relative_to(ROOT)}::{test.name}"
        for test in tests
        if any("pytest.mark.faults" in ast.unparse(mark) for mark in [*of_all, *test.decorator_list])
    ]


def test_rows_are_what_the_report_says(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(REPORT)
    killed, hung = rows_of_report(report)
    assert (killed.times, killed.survived, killed.recovery_s, killed.identical) == (3, 3, (4.5, 6.0), "yes")
    assert (hung.times, hung.survived, hung.recovery_s, hung.identical) == (2, 1, (), "no")
