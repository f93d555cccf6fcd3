"""Compute the groups that are not stored yet, two at a time."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from time import monotonic

import torch

from experiments.map.groups import Group, groups
from experiments.map.results import cell_result
from experiments.map.sampled import sampled_results
from experiments.map.stored import group_path, is_done, load_sampled, write_group, write_sampled
from pipelines.output.progress import say

NUM_PROCESSES = 2


def run_map(folder: Path) -> None:
    """Compute what is missing in `folder`; a group that is there with the same cells is kept."""
    if not load_sampled(folder):
        write_sampled(folder, sampled_results())
    missing = [group for group in groups() if not is_done(group_path(folder, group.name), group.cells)]
    say(f"{len(missing)} of {len(groups())} groups to compute")
    if not missing:
        return
    longest_first = sorted(missing, key=lambda group: -len(group.cells))
    start = monotonic()
    context = get_context("spawn")  # a fork of a process whose libraries have threads may hang
    with ProcessPoolExecutor(
        NUM_PROCESSES, mp_context=context, initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        running = {pool.submit(_compute, group, folder): group for group in longest_first}
        for done in as_completed(running):
            done.result()
            say(f"{running[done].name}: {len(running[done].cells)} cells, {monotonic() - start:.0f} s")


def _compute(group: Group, folder: Path) -> None:
    write_group(group_path(folder, group.name), [cell_result(cell) for cell in group.cells])
