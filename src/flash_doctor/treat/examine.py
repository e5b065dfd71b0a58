"""`verify`: which flash-attention library is there, and the proof that it works."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flash_doctor.errors import BadInput
from flash_doctor.model import known
from flash_doctor.model.proof import Proof
from flash_doctor.treat.patient import examine, note_unfinished
from flash_doctor.treat.proving import ENTRIES, entry_of, prove

if TYPE_CHECKING:
    from packaging.version import Version

    from flash_doctor.model import Target
    from flash_doctor.treat.patient import Patient
    from flash_doctor.treat.practice import Practice


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


def _installed(patient: Patient, library: str | None) -> tuple[str, Version | None]:
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
