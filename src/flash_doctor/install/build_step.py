"""A Build step on this machine: source, settings, what setup.py needs, and the wheel kept for the next time."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from flash_doctor.install.build_requirements import settle_needs, unpack_needs
from flash_doctor.install.compile import Workshop, accept_settings, compile_wheel, unpack
from flash_doctor.install.fetch import hash_of
from flash_doctor.install.hashes import fetch_trusted
from flash_doctor.install.installers import LocalWheel
from flash_doctor.install.judge import visible_gpus
from flash_doctor.install.swap import staged_site
from flash_doctor.model import known
from flash_doctor.model.plan import Build
from flash_doctor.resolve.index_query import IndexQuery

if TYPE_CHECKING:
    from pathlib import Path

    from flash_doctor.install.context import Practice
    from flash_doctor.install.fetch import Fetched
    from flash_doctor.install.target_state import TargetState
    from flash_doctor.model import Toolkit
    from flash_doctor.model.plan import Plan


def build_wheel(step: Build, patient: TargetState, practice: Practice) -> LocalWheel:
    """The wheel of a Build step, from the cache when everything it depends on is the same.

    Raises:
        BadInput: nobody vouches for the hash of its source.
        InstallFailed: it could not be compiled.
        HttpError: its source could not be read.
        HashMismatch: its source is another file than the index promised.
    """
    source = fetch_trusted(step, practice)
    workshop = workshop_of(step, source.sha256, patient, practice)
    wheel, sha256 = workshop.kept() or _compile(step, source, workshop, patient, practice)
    return LocalWheel(path=wheel, name=step.name, sha256=sha256, url=wheel.as_uri())


def workshop_of(step: Build, sha256: str, patient: TargetState, practice: Practice) -> Workshop:
    """Where the source with that hash is compiled for this patient."""
    return Workshop(folder=practice.options.sources.cache / "builds" / _key(step, sha256, patient))


def _compile(
    step: Build, source: Fetched, workshop: Workshop, patient: TargetState, practice: Practice
) -> tuple[Path, str]:
    _demand_hash(source)
    tree = unpack(source.path, workshop)
    settings = build_settings(step, patient) | _user_site(patient)
    if step.needs:
        with practice.desk.working(f"what {step.name} needs to be compiled"):
            settings |= _paths(unpack_needs(step, workshop, patient, practice))
    with practice.desk.working(f"compiling {step.requirement}") as tick:
        return compile_wheel(tree, workshop, patient.target, practice.runner, settings, tick)


def _demand_hash(source: Fetched) -> None:
    """Once more, for a file that was here already: an installer does so for a wheel, for a source nobody but us."""
    from flash_doctor.system.download import HashMismatch

    if hash_of(source.path) != source.sha256:
        message = f"{source.path} is not the file that was promised"
        raise HashMismatch(message, evidence=(f"promised sha256 {source.sha256}",))


def _user_site(patient: TargetState) -> dict[str, str]:
    """A build does not see the user site, unless the torch that it is compiled against lies there."""
    torch, user_site = known(patient.environment.torch), patient.python.user_site
    return {"PYTHONNOUSERSITE": ""} if torch and user_site and user_site in torch.location.parents else {}


def _paths(prefix: Path) -> dict[str, str]:
    """The variables that let a build import what lies in a prefix, and call its programs (ninja)."""
    programs = os.pathsep.join((str(prefix / "bin"), os.environ.get("PATH", os.defpath)))
    return {"PYTHONPATH": str(staged_site(prefix)), "PATH": programs}


def build_settings(step: Build, patient: TargetState) -> dict[str, str]:
    """Environment variables: those of the plan, the GPUs that are here, and the chosen compiler.

    Variables that the user has set win: they may know better.

    Raises:
        BadInput: the plan sets something that a plan may not.
    """
    toolchain = known(patient.environment.toolchain)
    chosen = toolchain.chosen if toolchain else None
    gpus = ";".join(map(str, visible_gpus(patient)))
    ours = {
        "MAX_JOBS": str(step.jobs),
        **dict(accept_settings(step.settings)),
        **({"TORCH_CUDA_ARCH_LIST": gpus} if gpus else {}),
        **({"CUDA_HOME": str(_home(chosen))} if chosen else {}),
    }
    return {name: os.environ.get(name) or value for name, value in ours.items() if value}


def _home(toolkit: Toolkit) -> Path:
    """The folder above bin/nvcc."""
    return toolkit.nvcc.parent.parent


def _key(step: Build, sha256: str, patient: TargetState) -> str:
    """A name for everything that the wheel depends on: torch's build, nvcc, Python, platform, settings that count."""
    torch, toolchain = known(patient.environment.torch), known(patient.environment.toolchain)
    chosen = toolchain.chosen if toolchain else None
    settings = build_settings(step, patient)
    counts = {name: value for name, value in settings.items() if name not in {"MAX_JOBS", "NVCC_THREADS"}}
    parts = {
        "source": sha256,
        "torch": [str(torch.version), known(torch.git), known(torch.cxx11abi)] if torch else [],
        "cuda": str(known(chosen.version)) if chosen else "",
        "python": [patient.python.abi, patient.python.platform],
        "settings": sorted(counts.items()),
    }
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def settle_builds(plan: Plan, patient: TargetState, practice: Practice) -> Plan:
    """The plan with address and hash of every source distribution, and of what compiling it needs.

    Raises:
        NoPlanFound: the index has no such source distribution, or nobody may be asked.
    """
    steps = (_settled(step, patient, practice) if isinstance(step, Build) else step for step in plan.steps)
    return replace(plan, steps=tuple(steps))


def _settled(step: Build, patient: TargetState, practice: Practice) -> Build:
    """What was compiled before needs nothing more."""
    step = step if step.url else _with_source(step, practice)
    built = step.sha256 and workshop_of(step, step.sha256, patient, practice).kept()
    return step if built or step.needs else replace(step, needs=settle_needs(step, patient, practice))


def _with_source(step: Build, practice: Practice) -> Build:
    question = IndexQuery(
        requirements=(step.requirement,),
        constraints=(),
        python=None,
        machine=None,
        glibc=None,
        indexes=(),
        sources=True,
    )
    missing = f"the plan does not say where the source of {step.requirement} is"
    (found,) = practice.asking(missing).answer(question)
    return replace(step, url=found.url, sha256=found.sha256, size=found.size)
