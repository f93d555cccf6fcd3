import math

import pytest
import torch

from allgood import checks


def test_finite_values_of_any_kind_pass():
    for values in (torch.zeros(0), torch.tensor(1e38), torch.tensor([1, 2]), torch.zeros(2, 3).bfloat16()):
        checks.require_finite("values", values)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_the_first_value_that_is_not_finite_is_named(bad):
    values = torch.zeros(2, 3)
    values[1, 0] = values[1, 2] = bad
    with pytest.raises(ValueError, match=r"rewards must be finite, but 2 of 6 values are not, the first at \(1, 0\)"):
        checks.require_finite("rewards", values)
    with pytest.raises(ValueError, match="the first at"):
        checks.require_finite("reward", torch.tensor(bad))


def test_only_float64_is_kept():
    for dtype in (torch.float16, torch.bfloat16, torch.int64, torch.float32):
        assert checks.in_float(torch.zeros(1, dtype=dtype)).dtype == torch.float32
    assert checks.in_float(torch.zeros(1, dtype=torch.float64)).dtype == torch.float64
