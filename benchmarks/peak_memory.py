"""Wall time and peak memory of a command with all its processes: the sum of their PSS, looked at every 3 s (Linux).

python -m benchmarks.peak_memory make hh DATA=folder
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

INTERVAL_S = 3.0


def main() -> int:
    """Run the command, then print what it took; exits with its status."""
    started, peak = time.monotonic(), 0
    with subprocess.Popen(sys.argv[1:]) as process:
        while process.poll() is None:
            peak = max(peak, sum(map(pss, family(process.pid))))
            time.sleep(INTERVAL_S)
    print(f"{(time.monotonic() - started) / 60:.1f} minutes, peak {peak / 2**20:.2f} GiB")
    return process.returncode


def family(root: int) -> set[int]:
    """A process and all its descendants."""
    parents = {pid: parent for path in Path("/proc").glob("[0-9]*") for pid, parent in [_parent(path)]}
    found, waiting = set[int](), {root}
    while waiting:
        found |= waiting
        waiting = {pid for pid, parent in parents.items() if parent in waiting} - found
    return found


def _parent(path: Path) -> tuple[int, int]:
    try:
        return int(path.name), int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
    except OSError:  # it has ended meanwhile
        return int(path.name), 0


def pss(pid: int) -> int:
    """Proportional set size in KiB; 0 when the process has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


if __name__ == "__main__":
    sys.exit(main())
