"""URLs of storage: what is one, and what must not be in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from allgood.errors import ConfigError
from pipelines.alignment.checkpoints import config_hash
from pipelines.config.loading import load_config
from pipelines.config.storage_url import checked_storage

RUN = Path("configs/quickstart.yaml")


@pytest.mark.parametrize("url", ["s3://bucket/prefix", "file:///shared/folder", "memory://a"])
def test_a_url_is_taken_without_its_last_slash(url: str) -> None:
    assert checked_storage(f"{url}/") == url


@pytest.mark.parametrize("url", ["bucket/prefix", "/shared/folder", "s3:bucket"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"`storage`: '.*' is no URL; write one such as s3://bucket/prefix"):
        load_config(RUN, [f"storage={url}"])


@pytest.mark.parametrize("url", ["s3://key:c0ffee@bucket/prefix", "https://host/prefix?token=c0ffee"])
def test_a_url_with_a_secret_is_refused_and_not_repeated(url: str, tmp_path: Path) -> None:
    run = tmp_path / "run.yaml"
    run.write_text(RUN.read_text() + f'\nstorage: "{url}"\n')
    with pytest.raises(ConfigError, match="give credentials in the environment") as refusal:
        load_config(run)
    assert "c0ffee" not in str(refusal.value)


def test_a_run_is_the_same_wherever_its_copy_is_kept() -> None:
    kept = load_config(RUN, ["storage=s3://bucket/prefix"])
    assert kept.storage == "s3://bucket/prefix"
    assert config_hash(kept) == config_hash(load_config(RUN))
