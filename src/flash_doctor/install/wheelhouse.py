"""A folder of wheels as the place that settles a plan's open steps, without asking anybody."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from flash_doctor.install.fetch import hash_of
from flash_doctor.model.plan import Install
from flash_doctor.model.wheel import HashState
from flash_doctor.system.bounds import wheel_name
from flash_doctor.system.requirement import parse

if TYPE_CHECKING:
    from pathlib import Path

    from packaging.version import Version

    from flash_doctor.model.plan import Plan


def settle_from(folder: Path, plan: Plan) -> Plan:
    """The plan with the newest fitting wheel of the folder for each open step; a step without one stays open."""
    steps = tuple(
        _settled(folder, step) if isinstance(step, Install) and not step.settled else step for step in plan.steps
    )
    return replace(plan, steps=steps)


def _settled(folder: Path, step: Install) -> Install:
    wanted = parse(step.requirement)
    found = [(version, path) for path in folder.glob("*.whl") if (version := _version(path, step.name))]
    fitting = [(version, path) for version, path in found if wanted.admits(version)]
    if not fitting:
        return step
    version, path = max(fitting)
    return replace(
        step,
        requirement=f"{step.name}=={version}",
        version=version,
        url=path.resolve().as_uri(),
        sha256=hash_of(path),
        size=path.stat().st_size,
        hash_state=HashState.PINNED,
    )


def _version(path: Path, name: str) -> Version | None:
    """The version of a wheel, when it is of that distribution."""
    try:
        found, version, _ = wheel_name(path.name)
    except ValueError:
        return None
    return version if found == name else None
