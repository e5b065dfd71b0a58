"""One treatment at a time: a lock on the target's folder of packages, which leaves nothing behind."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flash_doctor.errors import BadInput, InstallFailed
from flash_doctor.install.journal import FOLDER, tidy, unfinished
from flash_doctor.model import Absent, Environment, Packages, Python, Target, Unknown, known
from flash_doctor.probe import probe
from flash_doctor.system.commands import command, in_sentence
from flash_doctor.system.owner import user_name
from flash_doctor.system.signals import uninterrupted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from flash_doctor.install.context import Desk
    from flash_doctor.model import Package
    from flash_doctor.system.process import Runner


@contextmanager
def locked(site: Path) -> Iterator[None]:
    """Hold the lock; the kernel lets go of it when the process ends, however it ends.

    The folder itself is locked: a lock file would have to be deleted, and whoever waits for a deleted one waits alone.

    Raises:
        BadInput: somebody else holds it.
    """
    descriptor = os.open(site, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"another flash-doctor is changing {site} at this moment"
            raise BadInput(message, advice="Wait for it to end, then try again.") from error
        yield
    finally:
        os.close(descriptor)


@dataclass(frozen=True, kw_only=True)
class TargetState:
    """A target that was examined: `site` is its folder of packages, `recovered` the fix that was undone first."""

    target: Target
    environment: Environment
    python: Python
    packages: Packages
    recovered: str = ""

    @property
    def site(self) -> Path:
        return self.python.site_packages[0]

    @property
    def prefix(self) -> Path:
        return self.python.prefix

    @property
    def state(self) -> Path:
        """The doctor's own folder in the target."""
        return self.site / FOLDER

    def copies(self, name: str) -> tuple[Package, ...]:
        """The distributions of that name that belong to this target; one that it only sees (a base) is not its own."""
        return tuple(one for one in self.packages.copies(name) if one.location in self.python.site_packages)

    def parted(self, names: Collection[str]) -> tuple[list[Package], list[Package]]:
        """The distributions that go when these names are replaced, and those that stay."""
        removed = [package for name in names for package in self.copies(name)]
        return removed, [package for package in self.packages.distributions if package not in removed]

    @property
    def torch_folder(self) -> Path | None:
        torch = known(self.environment.torch)
        return torch.location if torch else None


def examine(target: Target, runner: Runner) -> TargetState:
    """Probe the target.

    Raises:
        BadInput: its packages could not be read, so nothing may be changed.
    """
    return patient_of(target, probe(target, runner))


def patient_of(target: Target, environment: Environment) -> TargetState:
    """The same from an environment that was probed before, perhaps elsewhere."""
    python, packages = environment.python, environment.packages
    for part in (python, packages):
        if isinstance(part, (Absent, Unknown)):
            why = part.unknown if isinstance(part, Unknown) else part.absent
            message = f"{target.python} could not be examined, so it is not changed"
            raise BadInput(message, evidence=(why,))
    assert not isinstance(python, (Absent, Unknown))
    assert not isinstance(packages, (Absent, Unknown))
    if not python.site_packages:
        message = f"{target.python} names no folder for packages, so nothing can be installed there"
        raise BadInput(message)
    return TargetState(target=target, environment=environment, python=python, packages=packages)


def note_unfinished(environment: Environment, desk: Desk) -> None:
    """Say that what is looked at is neither an old state nor a new one."""
    packages = known(environment.packages)
    if packages and packages.unfinished:
        note_cut_off(desk)


def note_cut_off(desk: Desk) -> None:
    """Say that an earlier fix was cut off, and what undoes it."""
    desk.note("an earlier fix was cut off half way; `flash-doctor rollback --unfinished` undoes it")


def note_owner(patient: TargetState, desk: Desk) -> None:
    """Say that the environment is a colleague's, who lets us write it: what comes in will be ours, not his."""
    owner = patient.site.stat().st_uid
    if os.geteuid() not in {0, owner}:
        desk.note(f"this environment belongs to {user_name(owner)}; the files that come in will be yours")


@contextmanager
def admitted(target: Target, runner: Runner) -> Iterator[TargetState]:
    """The patient, locked for us, after a fix that was cut off was undone and its remains were cleared away."""
    patient = examine(target, runner)
    with locked(patient.site):
        title = _recovered(patient)
        if title:
            patient = replace(examine(target, runner), recovered=title)
        yield patient


def _recovered(patient: TargetState) -> str:
    try:
        with uninterrupted():
            return recover(patient.state, patient.prefix)
    except OSError as error:
        message = "an earlier fix was cut off, and could not be undone; its journal is complete, so nothing is lost"
        undo = in_sentence(command("flash-doctor rollback --python {}", patient.target.python))
        advice = f"Mend the cause, then: `{undo}`"
        raise InstallFailed(message, evidence=(str(error),), advice=advice) from error


def recover(state: Path, prefix: Path) -> str:
    """Undo a fix that was cut off in a target with that prefix; its title, or nothing. To be called with the lock held.

    Raises:
        BadInput: somebody else's file, or a link to somebody else's folder, has the name of ours; or the journal is not
            believed.
    """
    cut_off = unfinished(state, prefix)
    if cut_off:
        cut_off.undo()
    tidy(state)
    return cut_off.swap.title if cut_off else ""
