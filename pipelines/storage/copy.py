"""The copy of a run on a store, in the hands of the driver that holds its lease.

`<storage>/objects/` has what runs start from, by checksum. `<storage>/<name>/` is a run: `lease/` says who may write
there, `inputs.json` what it starts from; `checkpoints/` and `logs/` grow while it runs; `results.json` lists the model,
summary, evaluation and report that lie alongside it, as in a run folder.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from allgood.errors import CheckpointError, ConfigError
from pipelines.config.run import RunConfig
from pipelines.output.checkpoint_folders import step_folder
from pipelines.output.file_entries import Files
from pipelines.output.progress import say
from pipelines.run.folder import RunFolder
from pipelines.storage import checkpoints, logs, results
from pipelines.storage.checkpoints import StoredCheckpoint, stored_checkpoints
from pipelines.storage.files import DamagedError
from pipelines.storage.folders import StoredFolder
from pipelines.storage.inputs import INPUTS, keep_inputs
from pipelines.storage.lease import Lease, leased
from pipelines.storage.logs import Logs
from pipelines.storage.place import Place, open_place

_LEASES, _PASSING = "lease/", "passing"


class RunCopy:
    """Writes what a run commits, and brings back what another machine has committed."""

    def __init__(self, storage: Place, folder: RunFolder, lease: Lease) -> None:
        self._storage = storage
        self._run = storage.at(folder.path.name)
        self._folder = folder
        self._lease = lease
        self._logs: Logs = {}
        self._goes_on_from: StoredCheckpoint | None = None
        self._of_learners: tuple[int, Files] = (-1, {})  # what they have written last, and of which step it is

    def begin(self, config: RunConfig, *, overwrite: bool) -> None:
        """Write what the run starts from; with `overwrite`, in the place of a run that is there.

        Raises:
            ConfigError: There is one, and `overwrite` is not set.
        """
        if overwrite:
            names = [name for name in self._run.names() if not name.startswith(_LEASES)]
            # Lists first: half a deletion must not leave half a run.
            self._run.delete(sorted(names, key=lambda name: name not in (INPUTS, results.RESULTS)))
        else:
            _refuse_occupied(self._run)
        keep_inputs(self._storage, self._run, config)

    def fetch_newer(self, step: int) -> bool:
        """Bring the newest whole checkpoint after `step` here, with the logs up to it; False where there is none.

        Damaged ones are named and passed over. The results of a finished run come along.

        Raises:
            CheckpointError: Nothing was asked to be there before (`step` is negative), and all are damaged.
        """
        newer = [stored for stored in stored_checkpoints(self._run) if stored.step > step]
        for stored in reversed(newer):
            try:
                self._fetch(stored)
            except DamagedError as error:
                say(f"{error}, so this checkpoint cannot be used; trying the one before it")
                continue
            say(f"brought the checkpoint after step {stored.step} here, from {self._run.url}")
            self._fetch_results()
            return True
        if newer and step < 0:
            raise CheckpointError(
                f"every checkpoint in {self._run.url} is damaged; start the run again with --overwrite"
            )
        return False

    def go_on_after(self, checkpoint: Path | None, step: int) -> None:
        """Take up the logs of the checkpoint that the run goes on from; one that is only here is written first."""
        self._logs = {}
        self._run.delete([f"{_PASSING}/{name}" for name in self._run.at(_PASSING).names()])  # of a killed driver
        if checkpoint is None:
            return
        files = checkpoints.local_manifest(checkpoint)["files"]
        for stored in stored_checkpoints(self._run):
            with suppress(DamagedError):  # it is written again
                manifest = checkpoints.manifest_of(self._run, stored) if stored.step == step else {}
                if manifest.get("files") == files:
                    self._logs, self._goes_on_from = manifest["logs"], stored
                    return
        self._goes_on_from = self._commit(checkpoint, step)

    def stored_learners(self, checkpoint: Path) -> StoredFolder:
        """The learners' part of the checkpoint that the run goes on from; `checkpoint` is its folder here."""
        assert self._goes_on_from is not None, "`go_on_after` comes first"
        files: Files = checkpoints.local_manifest(checkpoint)["files"]
        within = f"{checkpoints.LEARNER}/"
        mine = {name.removeprefix(within): entry for name, entry in files.items() if name.startswith(within)}
        return StoredFolder(self._run.at(self._goes_on_from.name, checkpoints.LEARNER).url, mine)

    def place_of_learners(self, step: int) -> StoredFolder:
        """Where learners write their part of a checkpoint that is about to be committed."""
        stored = StoredCheckpoint(step, self._lease.number)
        return StoredFolder(self._run.at(stored.name, checkpoints.LEARNER).url)

    def learners_wrote(self, step: int, files: Files) -> None:
        """Note what they have written there, which is not written again."""
        self._of_learners = (step, {f"{checkpoints.LEARNER}/{name}": entry for name, entry in files.items()})

    @contextmanager
    def passing_place(self) -> Iterator[StoredFolder]:
        """A folder for what learners hand to this process; its files go at the end."""
        place = self._run.at(_PASSING, uuid.uuid4().hex)
        try:
            yield StoredFolder(place.url)
        finally:
            place.delete(place.names())

    def keep_checkpoint(self, folder: Path, step: int, kept: Callable[[Sequence[int]], set[int]]) -> None:
        """Write the checkpoint that was committed in `folder`, and delete those whose steps are not among `kept`.

        Raises:
            StorageError: The store does not take it, or the run belongs to another driver now.
        """
        self._commit(folder, step)
        newest = {stored.step: stored for stored in stored_checkpoints(self._run)}
        checkpoints.prune(self._run, [newest[step] for step in kept(sorted(newest))])

    def keep_results(self) -> None:
        """Write what the run has ended with so far.

        Raises:
            StorageError: As `keep_checkpoint`.
        """
        self._lease.check()
        results.keep_results(self._run, self._folder)

    def _commit(self, folder: Path, step: int) -> StoredCheckpoint:
        self._lease.check()
        kept = logs.keep_logs(self._run, self._folder, self._logs, step=step)
        stored = StoredCheckpoint(step, self._lease.number)
        of_step, there = self._of_learners
        checkpoints.write_files(self._run, folder, stored, there if of_step == step else None)
        self._lease.check()  # files may have taken long
        checkpoints.commit(self._run, folder, stored, kept)
        self._logs, self._of_learners = kept, (-1, {})
        return stored

    def _fetch(self, stored: StoredCheckpoint) -> None:
        target = step_folder(self._folder.checkpoints, stored.step)
        checkpoints.fetch_checkpoint(self._run, stored, target)
        try:
            logs.fetch_logs(self._run, self._folder, checkpoints.manifest_of(self._run, stored)["logs"])
        except DamagedError:
            shutil.rmtree(target)
            raise

    def _fetch_results(self) -> None:
        try:
            results.fetch_results(self._run, self._folder)
        except DamagedError as error:
            say(f"{error}; results are made again from the checkpoint")


@contextmanager
def copy_of(config: RunConfig, what: str) -> Iterator[RunCopy | None]:
    """The copy of a run for this process alone, None for a run without `storage`. `what` names the command.

    Raises:
        InUseError: Another driver has it.
        StorageError: The store cannot be used.
    """
    if config.storage is None:
        yield None
        return
    storage = open_place(config.storage)
    storage.check()
    with leased(storage.at(config.name), what) as lease:
        yield RunCopy(storage, RunFolder(config.folder), lease)


def keep_results(config: RunConfig, what: str) -> None:
    """Write what a run with `storage` has ended with so far, after a command that added to it."""
    with copy_of(config, what) as copy:
        if copy is not None:
            copy.keep_results()


def check_storage(config: RunConfig, *, overwrite: bool) -> None:
    """Try the storage of a run before anything expensive, and refuse a name that is taken there.

    Raises:
        ConfigError: An alignment of this name is there, and `overwrite` is not set.
        StorageError: The store cannot be used.
    """
    if config.storage is None:
        return
    storage = open_place(config.storage)
    storage.check()
    if not overwrite:
        _refuse_occupied(storage.at(config.name))


def refuse_storage(config: RunConfig, what: str) -> None:
    """Refuse a run file with `storage` for a command whose many runs it would not tell apart.

    Raises:
        ConfigError: It has one.
    """
    if config.storage is not None:
        raise ConfigError(f"`allgood {what}` keeps no copy of its runs; leave out `storage`")


def _refuse_occupied(run: Place) -> None:
    if stored_checkpoints(run) or run.size(results.RESULTS) is not None:
        raise ConfigError(
            f"{run.url} already holds an alignment; continue it with `allgood resume {run.url}`, choose another "
            "`name`, or replace it with --overwrite"
        )
