"""Where moving a file means copying it: told before anything is agreed to, since it costs time and room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flash_doctor.errors import BadInput
from flash_doctor.install.fetch import nearby
from flash_doctor.install.files import is_there
from flash_doctor.install.hashes import hash_state
from flash_doctor.install.swap import going
from flash_doctor.model.outcome import Action, Change, Sheet
from flash_doctor.model.plan import Build, Install, version_text
from flash_doctor.probe.volume import Mount, mount_of, read_mounts
from flash_doctor.system.inside import Inside
from flash_doctor.system.url import public

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from flash_doctor.install.fetch import Sources
    from flash_doctor.install.target_state import TargetState
    from flash_doctor.model import Package
    from flash_doctor.model.plan import Plan, Step


_LAYERED = {"overlay", "fuse.fuse-overlayfs"}
_MIB = 1 << 20


def copied_instead(
    patient: TargetState, names: Collection[str], mounts: tuple[Mount, ...] | None = None
) -> Iterator[str]:
    """A sentence for everything that is copied when these distributions are replaced; none where renaming does.

    A file of a container image lies in a lower layer: the kernel copies it up before it moves. A package, or the folder
    of all packages, may be a file system of its own.
    """
    mounts = read_mounts() if mounts is None else mounts
    home, programs = (mount_of(path.resolve(), mounts) for path in (patient.site, patient.prefix / "bin"))
    removed, _ = patient.parted(names)
    old = [path.lstat() for path in going(removed, (), Inside(patient.site, patient.prefix)) if is_there(path)]
    device = patient.site.stat().st_dev
    if home.filesystem in _LAYERED:
        size = sum(one.st_size for one in old) / _MIB
        yield f"the target lies on a container's layers (overlayfs): up to {size:.0f} MiB of old files are copied first"
    elif elsewhere := [one.st_size for one in old if one.st_dev != device]:
        size = sum(elsewhere) / _MIB
        yield f"{len(elsewhere)} old files with {size:.0f} MiB lie on another file system: they are copied, not renamed"
    if home.point != programs.point:
        yield f"{patient.site} is a file system of its own: programs are copied to {patient.prefix}, not renamed"


def sheet_of(patient: TargetState, plan: Plan, *, installer: str, sources: Sources) -> Sheet:
    """The sheet of a plan whose steps all have an address."""
    changes = tuple(_change(step, patient) for step in plan.steps)
    builds = [step for step in plan.steps if isinstance(step, Build)]
    return Sheet(
        target=patient.target,
        title=", ".join(map(_in_words, changes)),
        changes=changes,
        because=plan.because,
        installer=installer,
        download=_download(plan.steps, sources),
        minutes=sum(step.minutes for step in builds) or None,
        notes=tuple(_notes(patient, plan.steps)),
    )


def empty_sheet(patient: TargetState, installer: str = "") -> Sheet:
    """The sheet of a patient that needs nothing."""
    return Sheet(target=patient.target, title="", changes=(), because=(), installer=installer)


def _change(step: Step, patient: TargetState) -> Change:
    copies = patient.copies(step.name)
    old = copies[0].raw_version if copies else None
    if isinstance(step, Install):
        if step.url is None:
            message = f"the plan has no address for {step.name}"
            raise BadInput(message, advice="Make the plan again where the package index can be reached.")
        return Change(
            action=Action.INSTALL,
            name=step.name,
            old=old,
            new=version_text(step),
            because=step.because,
            source=public(step.url),
            size=step.size,
            sha256=step.sha256,
            hash_state=hash_state(step),
        )
    if isinstance(step, Build):
        return Change(
            action=Action.BUILD,
            name=step.name,
            old=old,
            new=version_text(step),
            because=step.because,
            source=step.url and public(step.url),
            size=step.size,
            sha256=step.sha256,
            hash_state=hash_state(step),
        )
    return Change(action=Action.REMOVE, name=step.name, old=old, new=None, because=step.because)


def _in_words(change: Change) -> str:
    if change.action is Action.REMOVE:
        return f"remove {change.name} {change.old}"
    done = "build" if change.action is Action.BUILD else "install"
    moved = f" in place of {change.old}" if change.old else ""
    return f"{done} {change.name} {change.new or ''}{moved}".replace("  ", " ")


def _download(steps: Sequence[Step], sources: Sources) -> int | None:
    """Bytes that are not on this machine yet; None when the size of one is not known."""
    files = [file for step in steps for file in step.files]
    sizes = [file.size for file in files if file.url and nearby(file.url, file.sha256, sources) is None]
    return None if None in sizes else sum(size or 0 for size in sizes)


def _notes(patient: TargetState, steps: Sequence[Step]) -> Iterator[str]:
    yield from copied_instead(patient, [step.name for step in steps])
    for step in steps:
        if needs := step.files[1:]:
            names = ", ".join(need.requirement for need in needs)
            yield f"compiling {step.name} takes {names}, each with its sha256; they do not go into this environment"
        others = [one for one in patient.packages.copies(step.name) if one not in patient.copies(step.name)]
        yield from (_stays(package, patient) for package in others)


def _stays(package: Package, patient: TargetState) -> str:
    """A copy of another place, such as a base environment or ~/.local: which of the two Python takes."""
    order = [place for place in patient.python.search_path if place in {package.location, patient.site}]
    hides = order[:1] == [package.location]
    told = "and hides the new one: take it away" if hides else "the new one comes before it"
    return f"{package.name} {package.raw_version} in {package.location} stays, {told}"
