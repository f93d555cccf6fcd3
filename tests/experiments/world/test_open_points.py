import json

import pytest

from experiments.world.open_points import FILE, fixed_point
from pipelines.world.open_world.points import POINTS

LAST_SEED = range(4, 5)


@pytest.mark.parametrize("point", POINTS)
def test_a_point_generates_the_rows_that_were_fixed_before_any_method_was_run(point: str) -> None:
    stored = json.loads(FILE.read_text(encoding="utf-8"))[point]
    found = json.loads(json.dumps(fixed_point(point, LAST_SEED)))
    assert found.pop("rows_sha256") == {"4": stored.pop("rows_sha256")["4"]}
    assert found == stored
