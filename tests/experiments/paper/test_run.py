"""One experiment in miniature on real actors, and the page made from it."""

from dataclasses import replace
from pathlib import Path

import pytest

from experiments.paper.page import write_page
from experiments.paper.parts import PARTS, REFERENCE, Part
from experiments.paper.run import result_path, run_seed, with_references
from experiments.paper.stored import labels_of, load_results
from experiments.study.worlds import world_config
from pipelines.config.loading import changed_config, load_config
from tests.experiments.paper.test_page import elsewhere
from tests.pipelines.comparison.test_quickstart import TINY


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
def test_one_table_serves_every_part_whichever_is_run(part: Part) -> None:
    config = with_references(load_config(Path("configs/quickstart.yaml")))
    for setting in part.settings:
        for name, chosen in changed_config(config, setting.overrides).properties.items():
            assert chosen.reference in config.references.also[name]


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_a_part_trains_and_predicts_every_setting_and_is_not_run_twice(tmp_path: Path) -> None:
    overrides = [*TINY, "align.evaluate_every=1", "references.num_samples=24", f"output_dir={tmp_path}"]
    config = load_config(Path("configs/quickstart.yaml"), overrides)
    world, clean = (world_config(config, seed=0, shortcuts=on) for on in (True, False))
    part = replace(REFERENCE, targets=(0.5,))
    run_seed(world, clean, [part], tmp_path / "stored")
    path = result_path(tmp_path / "stored", part, 0)
    written = path.stat().st_mtime_ns
    run_seed(world, clean, [part], tmp_path / "stored")
    assert path.stat().st_mtime_ns == written
    found = load_results(path.parent)
    assert labels_of(found) == [setting.label for setting in part.settings]
    assert (world.folder / "calibrated" / "references" / "manifest.json").is_file()
    assert all(len(found[0]["tilted"][label]["tilting"]) >= 3 for label in labels_of(found))
    write_page(tmp_path / "nothing", tmp_path / "stored", elsewhere(tmp_path), tmp_path)
    assert "16 random draws" in (tmp_path / "paper.md").read_text(encoding="utf-8")
