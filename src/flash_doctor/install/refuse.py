"""What the doctor does not change, each with the reason and the way that is left."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from flash_doctor.errors import BadInput
from flash_doctor.install.open_files import users_of
from flash_doctor.install.swap import going
from flash_doctor.model import known
from flash_doctor.system.commands import command, in_sentence
from flash_doctor.system.inside import Inside
from flash_doctor.system.redact import secrets

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from packaging.utils import NormalizedName

    from flash_doctor.install.target_state import TargetState
    from flash_doctor.model import Package

# conda's name of a distribution, where it is another one
_CONDA = {"torch": "pytorch"}
_SHOWN = 5


def refuse(patient: TargetState, names: Collection[NormalizedName], *, system: bool) -> None:
    """Raises BadInput when the distributions of these names may not be changed in this target."""
    _refuse_target(patient, system=system)
    for name in names:
        _refuse_conda(patient, name)
        for package in patient.copies(name):
            _refuse_package(package, patient)
    _refuse_torch(patient, names)
    _refuse_used(patient, names)


def _refuse_target(patient: TargetState, *, system: bool) -> None:
    python = patient.python
    managed = known(python.managed)
    if managed is not None and not system:
        message = f"{python.executable} belongs to the operating system, which forbids changes by pip (PEP 668)"
        make = in_sentence(command("{} -m venv .venv", python.executable))
        advice = f"Make an environment and treat that: {make}. Or insist: --system"
        raise BadInput(message, evidence=secrets(managed).strip().splitlines()[:_SHOWN], advice=advice)
    if not os.access(patient.site, os.W_OK):
        message = f"{patient.site} is read-only for this user, so nothing can be installed there"
        make = in_sentence(command("{} -m venv .venv", python.executable))
        advice = f"Make an environment of your own and treat that: {make}"
        raise BadInput(message, advice=advice)


def _refuse_conda(patient: TargetState, name: NormalizedName) -> None:
    """A package that conda manages would only be shadowed: conda would put its own files back at its next update."""
    conda_name = _CONDA.get(name, name)
    records = [path for path in (patient.prefix / "conda-meta").glob(f"{conda_name}-*.json") if _named(path, name)]
    if records:
        message = f"{name} was installed by conda, and its files are conda's"
        remove = in_sentence(command("conda remove --prefix {} {}", patient.prefix, conda_name))
        raise BadInput(message, evidence=(str(records[0]),), advice=f"Take it out with conda first: {remove}")


def _named(record: Path, name: str) -> bool:
    """`flash-attn-2.8.3-py312_0.json` is flash-attn's: name, version, build."""
    return record.stem.rsplit("-", 2)[0] == _CONDA.get(name, name)


def _refuse_package(package: Package, patient: TargetState) -> None:
    if package.editable:
        message = f"{package.name} is installed in editable form from a source folder, which is not ours to replace"
        remove = in_sentence(command("uv pip uninstall --python {} {}", patient.target.python, package.name))
        raise BadInput(message, evidence=(str(package.location),), advice=f"Uninstall it first: {remove}")
    if not (package.metadata / "RECORD").is_file():
        message = f"{package.name} {package.raw_version} has no RECORD, so nobody can say which files are its own"
        advice = "It was not installed by pip or uv: remove it with the tool that installed it."
        raise BadInput(message, evidence=(f"looked for {package.metadata / 'RECORD'}",), advice=advice)


def _refuse_torch(patient: TargetState, names: Collection[NormalizedName]) -> None:
    torch = known(patient.environment.torch)
    vendor = known(torch.vendor) if torch else None
    if torch and vendor and "torch" in names:
        message = f"torch {torch.version} is {vendor}'s own build, which no index has: it is not replaced"
        advice = "Keep it with the packages that came with it, or treat another environment."
        raise BadInput(message, evidence=(str(torch.location),), advice=advice)


def _refuse_used(patient: TargetState, names: Collection[NormalizedName]) -> None:
    removed = [package for name in names for package in patient.copies(name)]
    users = users_of(going(removed, (), Inside(patient.site, patient.prefix)))
    if users:
        message = f"{users[0].file.name} is in use by {len(users)} running process(es), which would break"
        evidence = [user.told for user in users[:_SHOWN]]
        raise BadInput(message, evidence=evidence, advice="Wait for them to end, or end them, then try again.")
