"""An alignment whose weights are larger than a small object store: `python -m tests.faults.spill_driver FOLDER NAME`.

The policy has 100 MB in float32. `STORE_BYTES` are less than that, and near the least that Ray takes.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pipelines.alignment.align import run_align
from pipelines.config.run import RunConfig
from pipelines.references.build import build_references
from pipelines.run.folder import RunFolder
from tests.actors.tiny_models import save_policy
from tests.pipelines.tiny_run import make_base, tiny_config

STORE_BYTES = 80 * 2**20
LARGE = {"hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 8}


def make_large_base(folder: Path) -> None:
    """Prompts, and a policy of 25 million parameters."""
    make_base(folder, {"alignment": 4, "validation": 2, "test": 2, "sft": 1, "reward": 1})
    save_policy(folder / "base" / "sft" / "best", spread=1.0, **LARGE)


def large_config(folder: Path, name: str) -> RunConfig:
    config = tiny_config(folder, name)
    changes = {"steps": 2, "evaluate_every": 2, "checkpoint_every": 2, "max_evaluation_prompts": 2}
    return config.model_copy(update={"align": config.align.model_copy(update=changes)})


if __name__ == "__main__":
    config = large_config(Path(sys.argv[1]), sys.argv[2])
    if not RunFolder(config.base_folder).references.is_dir():
        build_references(config)
    run_align(config)
