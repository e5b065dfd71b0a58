"""A Build step on this machine: source, settings, what setup.py needs, and the wheel kept for the next time."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from typing import TYPE_CHECKING

from flash_doctor.address import file_name
from flash_doctor.command import Command
from flash_doctor.errors import InstallFailed
from flash_doctor.install.build import Workshop, compile_wheel, unpack
from flash_doctor.install.fetch import Wanted, fetch, hash_of
from flash_doctor.install.interface import LocalWheel
from flash_doctor.model import known
from flash_doctor.treat.judge import visible_gpus

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from flash_doctor.install.fetch import Fetched
    from flash_doctor.model import Toolkit
    from flash_doctor.model.plan import Build
    from flash_doctor.treat.patient import Patient
    from flash_doctor.treat.practice import Practice

_NEEDS_TIMEOUT = 900.0


def build_wheel(step: Build, patient: Patient, practice: Practice) -> LocalWheel:
    """The wheel of a Build step, from the cache when everything it depends on is the same.

    Raises:
        InstallFailed: it could not be compiled.
        HttpError: its source could not be read.
        HashMismatch: its source is another file than the index promised.
    """
    assert step.url is not None
    with practice.desk.working(file_name(step.url), "B") as tick:
        wanted = Wanted(url=step.url, sha256=step.sha256, size=step.size)
        source = fetch(wanted, practice.options.sources, tick)
    settings = build_settings(step, patient)
    workshop = Workshop(folder=practice.options.sources.cache / "builds" / _key(source, settings, patient))
    wheel = workshop.wheel or _compile(step, source, workshop, settings, patient, practice)
    return LocalWheel(path=wheel, name=step.name, sha256=hash_of(wheel), url=wheel.as_uri())


def _compile(
    step: Build, source: Fetched, workshop: Workshop, settings: Mapping[str, str], patient: Patient, practice: Practice
) -> Path:
    tree = unpack(source.path, workshop)
    with practice.desk.working(f"what {step.name} needs to be compiled"):
        _prepare_overlay(step, workshop, patient, practice)
    paths = os.pathsep.join((str(workshop.overlay / "bin"), os.environ.get("PATH", os.defpath)))
    with practice.desk.working(f"compiling {step.requirement}") as tick:
        return compile_wheel(tree, workshop, patient.target, practice.runner, {**settings, "PATH": paths}, tick)


def build_settings(step: Build, patient: Patient) -> dict[str, str]:
    """Environment variables: those of the plan, the GPUs that are here, and the chosen compiler.

    Variables that the user has set win: they may know better.
    """
    toolchain = known(patient.environment.toolchain)
    chosen = toolchain.chosen if toolchain else None
    gpus = ";".join(map(str, visible_gpus(patient)))
    ours = {
        "MAX_JOBS": str(step.jobs),
        **dict(step.settings),
        **({"TORCH_CUDA_ARCH_LIST": gpus} if gpus else {}),
        **({"CUDA_HOME": str(_home(chosen))} if chosen else {}),
    }
    return {name: os.environ.get(name) or value for name, value in ours.items() if value}


def _home(toolkit: Toolkit) -> Path:
    """The folder above bin/nvcc."""
    return toolkit.nvcc.parent.parent


def _key(source: Fetched, settings: Mapping[str, str], patient: Patient) -> str:
    """A name for everything that the wheel depends on: torch's build, nvcc, Python, platform, settings that count."""
    torch, toolchain = known(patient.environment.torch), known(patient.environment.toolchain)
    chosen = toolchain.chosen if toolchain else None
    counts = {name: value for name, value in settings.items() if name not in {"MAX_JOBS", "NVCC_THREADS"}}
    parts = {
        "source": source.sha256,
        "torch": [str(torch.version), known(torch.git), known(torch.cxx11abi)] if torch else [],
        "cuda": str(known(chosen.version)) if chosen else "",
        "python": [patient.python.abi, patient.python.platform],
        "settings": sorted(counts.items()),
    }
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def _prepare_overlay(step: Build, workshop: Workshop, patient: Patient, practice: Practice) -> None:
    """Install what setup.py imports and the target lacks into a folder that only this build sees."""
    needs = [need for need in practice.facts.flash.build_needs(step.name) if patient.packages.find(need) is None]
    done = workshop.folder / "overlay-ready"
    if not needs or done.exists():
        return
    sources = practice.options.sources
    places = [word for folder in sources.folders for word in ("--find-links", str(folder))]
    command = Command(
        argv=(
            sys.executable, "-m", "pip", "--python", str(patient.target.python), "install", "--quiet", "--no-input",
            "--disable-pip-version-check", "--only-binary", ":all:", "--ignore-installed", "--no-compile",
            "--target", str(workshop.overlay), *places, *([] if sources.network else ["--no-index"]), *needs,
        ),
        timeout=_NEEDS_TIMEOUT,
        environment={"PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    installed = practice.runner.run(command)
    if installed.returncode:
        message = f"what {step.name} needs to be compiled could not be installed: {', '.join(needs)}"
        evidence = installed.errors.strip().splitlines()[-5:]
        advice = "Install these into the target yourself, or give them in a folder: --wheelhouse DIR"
        raise InstallFailed(message, evidence=evidence, advice=advice)
    done.touch()
