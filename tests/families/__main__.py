"""Write `docs/reference/models.md`: `python -m tests.families`. Takes about two minutes."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.families.page import write_page

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        write_page(Path(folder))
