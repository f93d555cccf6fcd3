"""Where pi_0 of a run is: the SFT policy of its base folder, or, with `sft: null`, `policy.model` as it is.

Everything that samples from pi_0, trains from it, compares with it or depends on it asks here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from allgood.errors import ConfigError, ModelError
from pipelines.config.loading import CONFIG, load_config
from pipelines.config.run import RunConfig
from pipelines.output.hashes import model_hash, tokenizer_hash
from pipelines.run.folder import RunFolder


@dataclass(frozen=True)
class StartPolicy:
    """pi_0. `source` is an absolute folder, because actors run elsewhere, or a name on the hub."""

    source: str

    @property
    def weights_key(self) -> str:
        """What its numbers depend on: a hash of its files, or name and commit on the hub.

        Raises:
            ModelError: There is no such model.
        """
        return model_hash(self.source)

    @property
    def tokenizer_key(self) -> str:
        """The same for tokenizer and chat template."""
        return tokenizer_hash(self.source)


def start_policy(config: RunConfig) -> StartPolicy:
    """pi_0 of a run.

    Raises:
        ModelError: The SFT policy was not trained yet.
        ConfigError: `sft: null`, and the run's `base` starts from another policy.
    """
    if config.sft is None:
        assert config.policy.source is not None  # `RunConfig` refuses an architecture without SFT
        policy = StartPolicy(absolute_source(config.policy.source))
        if config.base is not None:
            _refuse_another_start(policy, RunFolder(config.base))
        return policy
    folder = RunFolder(config.base_folder).sft / "best"
    if not folder.is_dir():
        raise ModelError(
            f"there is no SFT policy in {folder}; train it with `allgood sft CONFIG`, or set `sft: null` to start from "
            "`policy.model` as it is"
        )
    return StartPolicy(str(folder.absolute()))


def start_in_words(config: RunConfig) -> str:
    """What pi_0 is, for whoever reads a result."""
    return "the SFT policy" if config.sft is not None else f"{config.policy.source} as it is, without SFT"


def absolute_source(source: str) -> str:
    """A model's folder as an absolute path, because actors run elsewhere; a name on the hub as it is."""
    return str(Path(source).absolute()) if Path(source).is_dir() else source


def _refuse_another_start(policy: StartPolicy, base: RunFolder) -> None:
    """References, reward models and arms of a base belong to its pi_0."""
    trained = base.sft / "best"
    made = load_config(base.path / CONFIG) if (base.path / CONFIG).is_file() else None
    if made is not None and made.sft is None:
        theirs = StartPolicy(absolute_source(str(made.policy.source)))
    elif trained.is_dir():
        theirs = StartPolicy(str(trained.absolute()))
    else:
        return  # nothing is known of it; the keys of its reference table are checked where they are read
    if policy != theirs and policy.weights_key != theirs.weights_key:
        raise ConfigError(
            f"with `sft: null` this run starts from {policy.source}, but its base {base.path} starts from "
            f"{theirs.source}, another model; give the run a base of its own, or the settings of the base"
        )
