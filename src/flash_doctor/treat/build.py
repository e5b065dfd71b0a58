"""Placeholder while fix is being brought up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flash_doctor.errors import NoPlanFound

if TYPE_CHECKING:
    from flash_doctor.install.interface import LocalWheel
    from flash_doctor.model.plan import Build
    from flash_doctor.treat.fix import Practice
    from flash_doctor.treat.patient import Patient


def build_wheel(step: Build, patient: Patient, practice: Practice) -> LocalWheel:  # noqa: ARG001
    message = f"{step.requirement} would have to be compiled"
    raise NoPlanFound(message)
