"""`rollback`: undo a fix from its journal, unless somebody edited files since: that would throw their work away."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.errors import BadInput, InstallFailed
from flash_doctor.install.fetch import hash_of
from flash_doctor.install.files import is_there
from flash_doctor.install.journal import DONE, FOLDER, Journal, journals, tidy
from flash_doctor.install.open_files import users_of
from flash_doctor.install.target_state import locked, recover
from flash_doctor.model.outcome import PastFix, Rollback
from flash_doctor.probe.target_script import start_script
from flash_doctor.system.bounds import record_rows
from flash_doctor.system.signals import uninterrupted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_doctor.model import Target
    from flash_doctor.system.claims import Claimed
    from flash_doctor.system.process import Runner


def edited_since(journal: Journal) -> list[Path]:
    """Files that came in and are others now, as their RECORD tells.

    Only what is newer than the end of the fix is read: in a copy of the environment that may be all of it, unchanged.

    Raises:
        BadInput: a RECORD of the fix is gone or damaged.
    """
    finished = (journal.folder / DONE).stat().st_mtime_ns
    arrived = [arrival.path for arrival in journal.swap.arriving]
    newer = [path for path in arrived if path.lstat().st_mtime_ns > finished and path.is_file()]
    if not newer:
        return []
    records = [path for path in arrived if path.name == "RECORD" and path.parent.suffix == ".dist-info"]
    promised = {path: digest for record in records for path, digest in _promised(record)}
    return [path for path in newer if path in promised and promised[path] != _digest(path)]


def _promised(record: Path) -> Iterator[tuple[Path, str]]:
    """Paths and digests as RECORD writes them: the algorithm, and base64 without its padding."""
    try:
        yield from _accept(record_rows(record), record.parents[1])
    except (OSError, ValueError) as error:
        message = f"{record} cannot be read, so nobody can say which files were edited since"
        raise BadInput(message, evidence=(str(error),)) from error


def _accept(claim: Claimed[list[list[str]]], site: Path) -> Iterator[tuple[Path, str]]:
    """The rows with a hash; which of these paths are ours is asked where they are looked up."""
    for row in claim.unproved():
        if len(row) > 1 and row[1].startswith("sha256="):
            yield site / row[0], row[1]


def _digest(path: Path) -> str:
    digest = bytes.fromhex(hash_of(path))
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


# the same folder as the probe's; a target too broken for the probe can still be rolled back
_SCRIPT = """
def main(arguments):
    import os, site, sys
    listed = site.getsitepackages() if hasattr(site, "getsitepackages") else sys.path
    return [sys.prefix] + [folder for folder in listed if folder.endswith("-packages") and os.path.isdir(folder)]
"""


def past_fixes(target: Target, runner: Runner) -> Rollback:
    """What could be undone, oldest first."""
    site, prefix = _places(target, runner)
    return Rollback(target=target, fixes=tuple(map(_past, journals(site / FOLDER, prefix))), undone=None)


def rollback(target: Target, runner: Runner, *, unfinished_only: bool = False) -> Rollback:
    """Undo a fix that was cut off, else (unless `unfinished_only`) the last one that ended.

    Raises:
        BadInput: the target was changed since by somebody else, or its files are in use.
        InstallFailed: a file could not be moved; the journal stays, so that it can be tried again.
    """
    site, prefix = _places(target, runner)
    state = site / FOLDER
    with locked(site), uninterrupted():
        fixes = tuple(map(_past, journals(state, prefix)))
        cut_off = next((one for one in fixes if not one.finished), None)
        try:
            recover(state, prefix)
            undone = cut_off or (None if unfinished_only or not fixes else _undo_last(state, prefix))
        except OSError as error:
            message = "a file could not be moved back; the journal is complete, so nothing is lost"
            raise InstallFailed(message, evidence=(str(error),), advice="Mend that, then try again.") from error
    return Rollback(target=target, fixes=fixes, undone=undone)


def _undo_last(state: Path, prefix: Path) -> PastFix:
    journal = [*journals(state, prefix)][-1]
    _refuse_incomplete(journal)
    _refuse_changed(journal)
    _refuse_used(journal)
    undone = _past(journal)
    journal.undo()
    tidy(state)
    return undone


def _refuse_incomplete(journal: Journal) -> None:
    if lost := journal.lost():
        message = f"{len(lost)} of the old files that were kept for undoing that fix are gone, so it cannot be undone"
        evidence = [f"not kept any more: {path}" for path in lost[:3]]
        advice = "Plan anew, for the version that you want: `flash-doctor fix --want flash-attn==VERSION`"
        raise BadInput(message, evidence=evidence, advice=advice)


def _refuse_changed(journal: Journal) -> None:
    """Undoing would mix two states, or lose work, when somebody else changed the same files meanwhile."""
    lost = [arrival.path for arrival in journal.swap.arriving if not is_there(arrival.path)]
    arrived = {arrival.path for arrival in journal.swap.arriving}
    back = [path for path in journal.swap.outgoing if path not in arrived and is_there(path)]
    edited = [] if lost else edited_since(journal)
    if lost or back or edited:
        message = "the environment was changed since that fix, so undoing it would mix two states"
        evidence = [
            *(f"gone since: {path}" for path in lost[:3]),
            *(f"there again: {path}" for path in back[:3]),
            *(f"edited since: {path}" for path in edited[:3]),
        ]
        raise BadInput(message, evidence=evidence, advice="Plan anew for what is there now: `flash-doctor fix`")


def _refuse_used(journal: Journal) -> None:
    users = users_of({arrival.path for arrival in journal.swap.arriving})
    if users:
        message = f"{users[0].file.name} is in use by {len(users)} running process(es), which would break"
        evidence = [user.told for user in users[:5]]
        raise BadInput(message, evidence=evidence, advice="Wait for them to end, or end them, then try again.")


def _past(journal: Journal) -> PastFix:
    return PastFix(id=journal.folder.name, title=journal.swap.title, finished=journal.done, kept=journal.size_kept())


def _places(target: Target, runner: Runner) -> tuple[Path, Path]:
    """The target's folder of packages, and its prefix."""
    prefix, *found = start_script(target, runner, _SCRIPT).answer()
    if not found:
        message = f"{target.python} names no folder for packages"
        raise BadInput(message)
    return Path(found[0]), Path(prefix)
