"""stub"""

from typing import Any


def write_sweep_report(*a: Any) -> None: ...
