"""What a setup.py imports beside torch: hashed with the plan, unpacked into a folder that only the build sees."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from flash_doctor.install.context import choose_installer
from flash_doctor.install.gather import fetch_wheel
from flash_doctor.install.staging import stage
from flash_doctor.install.wheelhouse import settle_from
from flash_doctor.model import Goal
from flash_doctor.model.plan import Install, Plan
from flash_doctor.resolve.index_query import settle
from flash_doctor.system.owner import is_trusted
from flash_doctor.system.private import make_private

if TYPE_CHECKING:
    from pathlib import Path

    from flash_doctor.install.compile import Workshop
    from flash_doctor.install.context import Practice
    from flash_doctor.install.target_state import TargetState
    from flash_doctor.model.plan import Build


def settle_needs(step: Build, patient: TargetState, practice: Practice) -> tuple[Install, ...]:
    """Wheels with address and hash for what the build imports and the target lacks: from a folder, else the index.

    Raises:
        NoPlanFound: they are in no folder, and no index has them or may be asked.
    """
    because = f"{step.name} is compiled with it"
    wanted = tuple(
        Install(name=canonicalize_name(need), requirement=need, because=because)
        for need in practice.facts.flash.build_needs(step.name)
        if patient.packages.find(need) is None
    )
    plan = Plan(goal=Goal(), steps=wanted, because=())
    for folder in practice.options.sources.folders:
        plan = settle_from(folder, plan)
    names = ", ".join(one.name for one in plan.steps if isinstance(one, Install) and not one.settled)
    if names:
        missing = f"{step.name} is to be compiled, and what its setup.py imports is not here: {names}"
        plan = settle(plan, patient.environment, practice.asking(missing))
    return tuple(replace(one, because=because) for one in plan.steps if isinstance(one, Install))


def unpack_needs(step: Build, workshop: Workshop, patient: TargetState, practice: Practice) -> Path:
    """The prefix that holds what the build imports, unpacked from hashed wheels; a finished one is taken again.

    Raises:
        InstallFailed: they could not be unpacked.
    """
    wheels = [fetch_wheel(need, practice) for need in step.needs]
    name = hashlib.sha256("".join(sorted(wheel.sha256 for wheel in wheels)).encode()).hexdigest()[:16]
    folder = make_private(workshop.folder / "needs") / name
    done = folder / "done"
    if not (done.exists() and is_trusted(done) and is_trusted(folder / "stage")):
        shutil.rmtree(folder, ignore_errors=True)
        stage(wheels, folder, patient.target, choose_installer(practice.options.installer), practice.runner)
        done.touch()
    return folder / "stage"
