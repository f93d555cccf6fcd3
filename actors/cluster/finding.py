"""Models on the nodes of a cluster: what an actor does to find them, and the sentence when it does not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from actors.cluster.recipe import Recipe, Spec
from actors.reward import RewardSpec
from actors.sources import Find, as_named, found_scorer
from allgood.errors import ModelError, StorageError


@dataclass(frozen=True)
class Finder:
    """Looks a model up for one actor, `who`. `folders` are those that its driver has on disk."""

    who: str
    folders: frozenset[str]
    find: Find = as_named

    def __call__(self, source: str) -> str:
        """The name or folder to load.

        Raises:
            ModelError: The driver has the folder, and this node has not.
            StorageError: It cannot be brought to this node.
        """
        try:
            found = self.find(source)
        except StorageError as error:
            raise StorageError(f"{self.who} cannot get {source}: {error}") from error
        if found in self.folders and not Path(found).is_dir():
            raise ModelError(
                f"{self.who} does not see {found}, which the driver has; put it on a disk that all nodes share, or "
                "give the run a `storage`, from which nodes then get their models"
            )
        return found


def finder(recipe: Recipe, who: str) -> Finder:
    """What an actor of this recipe is to find its models with; made where the driver runs."""
    sources = [] if recipe.spec is None else sources_of([recipe.spec])
    return Finder(who, frozenset(source for source in sources if Path(source).is_dir()), recipe.find)


def sources_of(specs: Iterable[Spec]) -> list[str]:
    """Names and folders of all models that specs name."""
    found: list[str] = []

    def note(source: str) -> str:
        found.append(source)
        return source

    for spec in specs:
        if isinstance(spec, RewardSpec):
            found_scorer(spec.scorer, note)
        else:
            note(spec.model)
    return list(dict.fromkeys(found))
