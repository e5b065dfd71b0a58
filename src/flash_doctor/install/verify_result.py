"""Which proof a library gets: the module that is called, the head dimensions, and how the result is read."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from flash_doctor.errors import BadInput
from flash_doctor.install.judge import visible_gpus
from flash_doctor.install.target_state import examine, note_unfinished
from flash_doctor.model import known
from flash_doctor.model.proof import Blame, Level, Proof
from flash_doctor.system.commands import addressed
from flash_doctor.system.paths import program
from flash_doctor.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from packaging.version import Version

    from flash_doctor.facts import Facts
    from flash_doctor.install.context import FixOptions, Practice, Tick
    from flash_doctor.install.target_state import TargetState
    from flash_doctor.model import Target
    from flash_doctor.system.process import Runner


# distribution -> modules that have its attention functions, the first that is there is called
ENTRIES = {
    "flash-attn": ("flash_attn",),
    "flash-attn-3": ("flash_attn_interface", "flash_attn_3.flash_attn_interface"),
    "flash-attn-4": ("flash_attn.cute",),
    "torch": ("torch",),
}
NOT_RUN = Proof(
    level=Level.STATIC, blame=Blame.NOTHING, findings=(), torch="", library="", devices=(), cases=0, speeds=()
)


def entry_of(name: str, site: Path) -> str:
    """The module of a distribution that is called."""
    modules = ENTRIES[name]
    return next((module for module in modules if _is_module(site, module)), modules[0])


def _is_module(site: Path, module: str) -> bool:
    path = site.joinpath(*module.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def library_of(names: Iterable[str]) -> str | None:
    """The distribution among these names that a kernel run proves: flash-attention, else torch itself."""
    changed = set(names)
    return next((name for name in ENTRIES if name in changed), None)


def prove(
    name: str,
    version: Version | None,
    patient: TargetState,
    options: FixOptions,
    facts: Facts,
    runner: Runner,
    tick: Tick,
    *,
    new_torch: bool = False,
) -> Proof:
    """Run the library that is in the target now; what it compiles meanwhile is thrown away.

    Args:
        name: the distribution.
        version: the version of it, None where not known.
        patient: for the place of the target and its GPUs.
        options: device, level and time limit.
        facts: which head dimensions it supports.
        runner: starts the process.
        tick: told after every case.
        new_torch: torch was installed just now too.
    """
    if options.level in {Level.NONE, Level.STATIC}:
        return NOT_RUN
    with tempfile.TemporaryDirectory(prefix="flash-doctor-", ignore_cleanup_errors=True) as scratch:
        proof = verify(
            patient.target,
            runner,
            entry=entry_of(name, patient.site),
            head_dims=facts.flash.head_dims(name, version, visible_gpus(patient)),
            device=options.device,
            import_only=options.level is Level.IMPORT or name == "torch",
            timeout=options.timeout,
            scratch=Path(scratch),
            new_torch=new_torch,
            progress=_counting(tick),
        )
    return _addressed(proof, patient)


def _addressed(proof: Proof, patient: TargetState) -> Proof:
    """Its commands as they can be typed in any folder."""
    target = patient.target
    findings = addressed(proof.findings, target.given or target.python, program(os.environ))
    return replace(proof, findings=findings)


def _counting(tick: Tick) -> Callable[[bytes], None]:
    """Counts the steps that the script has begun."""
    begun = 0

    def watch(piece: bytes) -> None:
        nonlocal begun
        begun += piece.count(b'"begin"')
        tick(begun, None)

    return watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """The module that was called, and what that proved."""

    entry: str
    proof: Proof


def verify_target(target: Target, practice: Practice, library: str | None = None) -> Examination:
    """Prove the library of that name, or the first that is installed.

    Raises:
        BadInput: there is none, or no such one.
    """
    patient = examine(target, practice.runner)
    note_unfinished(patient.environment, practice.desk)
    name, version = _installed(patient, library)
    with practice.desk.working(f"proving {name}") as tick:
        proof = prove(name, version, patient, practice.options, practice.facts, practice.runner, tick)
    return Examination(entry=entry_of(name, patient.site), proof=proof)


def _installed(patient: TargetState, library: str | None) -> tuple[str, Version | None]:
    """Name and version; a library without metadata (a source folder on the path) counts by its module."""
    for name in (library,) if library else tuple(name for name in ENTRIES if name != "torch"):
        package = patient.packages.find(name)
        if package is not None:
            return name, known(package.version)
    flash = known(patient.environment.flash)
    found = [name for module in (flash.modules if flash else ()) for name in ENTRIES if module.name in ENTRIES[name]]
    wanted = library or next(iter(found), None)
    if wanted is None or wanted not in found:
        message = f"{library or 'flash-attention'} is not installed in {patient.target.python}"
        raise BadInput(message, advice="Install it: `flash-doctor fix`")
    return wanted, None
