"""What a target of the Makefile passes on to the commands."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_a_folder_of_pairs_may_have_spaces_in_its_name(tmp_path: Path) -> None:
    command, stamp = tmp_path / "allgood", tmp_path / "installed"
    command.write_text('#!/bin/sh\nfor argument in "$@"; do echo "<$argument>"; done\n')
    command.chmod(0o755)
    stamp.touch()
    setting = [f"BIN={tmp_path}", f"STAMP={stamp}", "ENCODER=an encoder"]
    done = subprocess.run(
        ["make", "--silent", "hh", "DATA=my data #2", *setting], capture_output=True, text=True, check=True
    )
    assert "<data.pairs.helpful.path=my data #2/helpful_pairs.jsonl.gz>" in done.stdout
    assert "<properties.harmless.evaluator.backbone=an encoder>" in done.stdout
