"""How long each stage took."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Collection
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.errors import InstallFailed
from flash_doctor.install.context import Desk, FixOptions
from flash_doctor.install.files import sync, write_whole
from flash_doctor.install.journal import DONE, FILE_MODE, Journal, journals, tidy
from flash_doctor.install.swap import plan_swap
from flash_doctor.install.target_state import TargetState, recover
from flash_doctor.model.outcome import Outcome, Sheet, State
from flash_doctor.model.proof import Blame, Level
from flash_doctor.system.codec import encode
from flash_doctor.system.commands import command, in_sentence
from flash_doctor.system.redact import Hide, as_json
from flash_doctor.system.signals import uninterrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from flash_doctor.install.journal import Arrival, Swap
    from flash_doctor.model.proof import Proof


@dataclass
class Stopwatch:
    """Seconds by stage; a stage that comes again adds to itself."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - start, 3)


_READ, _EXECUTE = 0o444, 0o111


def own_arrivals(arriving: Iterable[Arrival]) -> None:
    """Make the staged files look like what they replace, before they are moved."""
    folders: dict[Path, os.stat_result] = {}
    for arrival in arriving:
        folder = arrival.path.parent
        model = _regular(arrival.path) or folders.get(folder) or folders.setdefault(folder, _nearest(folder))
        _become(arrival.staged, model)


def own_folders(made: Iterable[Path]) -> None:
    """Make new folders look like those that they lie in; they come with the outermost first."""
    for folder in made:
        _become(folder, folder.parent.stat())


def _regular(path: Path) -> os.stat_result | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _nearest(folder: Path) -> os.stat_result:
    """The folder, or the first above it that is there."""
    return next(one for one in (folder, *folder.parents) if one.exists()).stat()


def _become(path: Path, model: os.stat_result) -> None:
    """Owner and group as far as we may give them; what may be run stays so, for everybody who may read it."""
    now = path.lstat()
    if stat.S_ISLNK(now.st_mode):
        return
    if (now.st_uid, now.st_gid) != (model.st_uid, model.st_gid):
        for uid, gid in ((-1, model.st_gid), (model.st_uid, -1)):
            with suppress(PermissionError):
                os.chown(path, uid, gid, follow_symlinks=False)
    wanted = _mode(stat.S_IMODE(model.st_mode), now.st_mode)
    if stat.S_IMODE(path.lstat().st_mode) != wanted:
        path.chmod(wanted)


def _mode(model: int, now: int) -> int:
    """Nobody but owner and group may write what we make; a folder hands its group on (setgid) as its own does."""
    if stat.S_ISDIR(now):
        return model & 0o2775
    read = model & _READ
    return (model & 0o664) | (read >> 2 if now & _EXECUTE else 0)


RECEIPT = "receipt.json"
SCHEMA = "flash-doctor/outcome/1"


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One change of a patient: `names` go where they are there, everything under `staged` comes in."""

    patient: TargetState
    sheet: Sheet
    names: Collection[str]
    staged: Path | None
    options: FixOptions
    clock: Stopwatch
    desk: Desk

    def perform(self, prove: Callable[[], Proof]) -> Outcome:
        """The outcome; with State.RESTORED the old state is back.

        Raises:
            InstallFailed: a file could not be moved; the old state is back.
        """
        folder = self.patient.state / _stamp()
        try:
            return self._perform(folder, prove)
        except BaseException as error:
            with uninterrupted():
                self._restore(folder, error)
            if isinstance(error, OSError):
                message = "a file could not be moved; the environment is as it was before"
                raise InstallFailed(message, evidence=(str(error),), advice=_advice(error)) from error
            raise

    def _restore(self, folder: Path, cause: BaseException) -> None:
        """Undo from the journal; where even that fails, say who can finish it."""
        try:
            (folder / DONE).unlink(missing_ok=True)
            recover(self.patient.state, self.patient.prefix)
        except OSError as error:
            message = "the environment could not be restored; its journal is complete, so nothing is lost"
            undo = in_sentence(command("flash-doctor rollback --python {}", self.patient.target.python))
            advice = f"Mend the cause, then: `{undo}`"
            raise InstallFailed(message, evidence=(str(cause), str(error)), advice=advice) from error

    def _perform(self, folder: Path, prove: Callable[[], Proof]) -> Outcome:
        with self.clock.stage("swap"):
            swap = self._swap()
            own_arrivals(swap.arriving)
            journal = Journal.write(folder, swap)
            with self.desk.working("putting files in place") as tick:
                journal.apply(tick)
            own_folders(swap.made)
        with self.clock.stage("verify"):
            proof = prove()
        state = judge_proof(proof, self.options)
        outcome = Outcome(state=state, sheet=self.sheet, why=_why(proof, state), proof=proof)
        if state is State.RESTORED:
            with uninterrupted():
                recover(self.patient.state, self.patient.prefix)
            return outcome
        with self.clock.stage("sync"):
            self._keep(journal, outcome)
        receipt = journal.folder / RECEIPT
        return replace(outcome, kept=journal.size_kept(), receipt=receipt)

    def _swap(self) -> Swap:
        patient = self.patient
        removed, others = patient.parted(self.names)
        return plan_swap(
            self.sheet.title,
            removed=removed,
            others=others,
            staged=self.staged,
            site=patient.site,
            prefix=patient.prefix,
        )

    def _keep(self, journal: Journal, outcome: Outcome) -> None:
        """Content to the disk, then the word that it is done, then what only the fix before this one needed."""
        for arrival in journal.swap.arriving:
            sync(arrival.path)
        receipt = {"schema": SCHEMA, **encode(outcome), "exit_code": 0}
        write_whole(journal.folder / RECEIPT, as_json(receipt, Hide.SECRETS), mode=FILE_MODE)
        with uninterrupted():
            journal.finish()
            # what is left here is cleared by the next command
            with suppress(OSError):
                _drop_others(self.patient, journal)


def _drop_others(patient: TargetState, kept: Journal) -> None:
    for older in journals(patient.state, patient.prefix):
        if older.folder != kept.folder:
            older.drop()
    tidy(patient.state)


def judge_proof(proof: Proof, options: FixOptions) -> State:
    """What a proof means for the new state: the library's fault restores, the machine's does not, unless it must.

    A library that fails is never kept, not even where the old one failed too: it would be no better for anybody, and
    "as before, or verified" needs no exception.
    """
    if proof.blame is Blame.LIBRARY:
        return State.RESTORED
    if proof.level is Level.KERNEL or (options.level is Level.IMPORT and proof.level is Level.IMPORT):
        return State.VERIFIED
    return State.RESTORED if options.require_kernel else State.UNVERIFIED


def _why(proof: Proof, state: State) -> tuple[str, ...]:
    if state is State.VERIFIED:
        return ()
    found = tuple(f"{finding.summary}: {'; '.join(finding.evidence)}" for finding in proof.findings)
    return found or ("no kernel was run",)


def _stamp() -> str:
    """Sortable, and of this process alone."""
    return f"{time.strftime('%Y%m%dT%H%M%S')}-{time.time_ns() % 1_000_000:06d}-{os.getpid()}"


def _advice(error: OSError) -> str:
    return f"Look at {error.filename or 'the disk'}: {error.strerror}; then try again."
