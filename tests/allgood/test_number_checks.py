import math

import pytest

from allgood import number_checks


def test_bounds_are_where_they_should_be():
    assert number_checks.require_positive("x", 1e-300) == 1e-300
    assert number_checks.require_unit("x", 0) == 0.0
    assert number_checks.require_unit("x", 1) == 1.0
    assert number_checks.require_open_unit("x", 0.5) == 0.5
    for check, bad in [
        (number_checks.require_positive, 0),
        (number_checks.require_positive, -1),
        (number_checks.require_positive, math.inf),
        (number_checks.require_positive, math.nan),
        (number_checks.require_unit, -0.01),
        (number_checks.require_unit, 1.01),
        (number_checks.require_unit, math.nan),
        (number_checks.require_open_unit, 0),
        (number_checks.require_open_unit, 1),
    ]:
        with pytest.raises(ValueError, match=f"x must .*, got {bad}"):
            check("x", bad)
