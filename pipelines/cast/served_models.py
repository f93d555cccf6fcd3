"""Reward models that others serve, asked for the rewards of fixed texts before anything expensive happens.

The rewards are kept alongside what is made with them, in the base of the run. Whoever starts or goes on later compares:
another model behind the same name would end a run silently.
"""

from __future__ import annotations

import json

from allgood.errors import ModelError, naming
from allgood.scorers.loading import load_scorer
from allgood.scorers.probes import probe, refuse_changed
from pipelines.cast.request import scorer_spec
from pipelines.config.properties import HttpProperty
from pipelines.config.run import RunConfig
from pipelines.output.files import write_json
from pipelines.run.folder import RunFolder


def check_served_models(config: RunConfig) -> None:
    """Ask every server of the run; those that are met for the first time are written down.

    Raises:
        ModelError: A server does not answer, gives what is no reward, or other rewards than before.
        RoleError: A server refuses the token, or its address.
        ConfigError: An address is none, or the environment lacks the token.
    """
    for name, setting in config.properties.items():
        if isinstance(setting, HttpProperty):
            with naming(f"properties.{name}, {setting.server.url}"):
                _check(config, name, setting)


def _check(config: RunConfig, name: str, setting: HttpProperty) -> None:
    found = probe(load_scorer(scorer_spec(config, name)), transform=setting.transform.facts.name)
    record = RunFolder(config.base_folder).served / f"{name}.json"
    served = setting.served_key
    if record.is_file():
        known = json.loads(record.read_text(encoding="utf-8"))
        if known["served"] == served:
            try:
                refuse_changed(known["rewards"], found)
            except ModelError as error:
                raise ModelError(
                    f"{error}; if that is meant, give it another `revision` and build the references again (see "
                    f"{record})"
                ) from error
            return
    record.parent.mkdir(parents=True, exist_ok=True)
    write_json(record, {"served": served, "rewards": found})
