"""Put the parts together: what takes longest is started first, and each part fails alone."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from flash_doctor.errors import DoctorError
from flash_doctor.model import (
    Absent,
    Environment,
    FlashAttention,
    Host,
    IndexSetting,
    OtherDoctor,
    Packages,
    Part,
    Python,
    RequirementLine,
    Torch,
    Unknown,
)
from flash_doctor.model.binaries import Extension
from flash_doctor.probe import doctors, flash, gpu, host, indexes, loader, packages, toolkit, torch
from flash_doctor.probe.shadows import read_shadows
from flash_doctor.system.paths import cache_folder, current_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from flash_doctor.command import Runner
    from flash_doctor.probe.requirements import Requirements
    from flash_doctor.probe.start import Inquiry

# `flash_doctor.probe.requirements` is imported where it is needed: packaging's grammar takes 30 ms
T = TypeVar("T")
P = ParamSpec("P")

_NO_REQUIREMENTS = Absent(absent="no requirements file was given (-r)")


def compose(inquiry: Inquiry | None, runner: Runner, *, requirements: Path | None, cache: Path | None) -> Environment:
    """`probe` of this package, the target's script being at work (None: the host alone is looked at).

    The GPUs' child is started next; the rest is read while both work.
    """
    environ = dict(os.environ)
    pending = gpu.start_gpus(runner)
    try:
        prefix = inquiry.target.python.parent.parent if inquiry else None
        read_host, other_doctor = read_meanwhile(prefix, cache or cache_folder(environ), environ)
        patient = read_patient(inquiry, environ, requirements)
        toolchain = attempt(toolkit.read_toolchain, patient.site_packages, patient.headers, runner)
    finally:
        driver, gpus = pending.finish()
    return Environment(
        host=read_host,
        driver=driver,
        gpus=gpus,
        toolchain=toolchain,
        loader=attempt(loader.read_loader, environ),
        python=patient.python,
        packages=patient.packages,
        torch=patient.torch,
        flash=patient.flash,
        indexes=patient.indexes,
        other_doctor=other_doctor,
        requirements=patient.requirements,
        variables=gpu.relevant_variables(),
        extensions=patient.extensions,
    )


def read_meanwhile(
    prefix: Path | None, cache: Path, environ: Mapping[str, str]
) -> tuple[Part[Host], Part[OtherDoctor]]:
    """What needs no answer of the children; and the 20 ms of importing the readers of compiled files."""
    if prefix is not None:
        importlib.import_module("flash_doctor.probe.extensions")
    return attempt(host.read_host, prefix, cache), attempt(doctors.read_other_doctor, environ)


def attempt(read: Callable[P, Part[T]], *args: P.args, **kwargs: P.kwargs) -> Part[T]:
    """What `read` gives, or Unknown with the reason: one part that cannot be read must not hide the others."""
    try:
        return read(*args, **kwargs)
    except DoctorError as error:
        return Unknown(unknown=error.message)
    except PermissionError as error:
        return Unknown(unknown=f"{error.filename} cannot be read: {error.strerror}")
    except (OSError, ValueError, LookupError) as error:
        return Unknown(unknown=f"{type(error).__name__}: {error}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """The parts of the Environment that are of the target."""

    python: Part[Python]
    packages: Part[Packages]
    torch: Part[Torch]
    flash: Part[FlashAttention]
    indexes: Part[tuple[IndexSetting, ...]]
    requirements: Part[tuple[RequirementLine, ...]]
    extensions: Part[tuple[Extension, ...]]

    @property
    def site_packages(self) -> tuple[Path, ...]:
        return self.python.site_packages if isinstance(self.python, Python) else ()

    @property
    def headers(self) -> Part[Path]:
        return self.python if isinstance(self.python, (Absent, Unknown)) else self.python.headers


def read_patient(inquiry: Inquiry | None, environ: Mapping[str, str], requirements: Path | None) -> Patient:
    """What the started script answers, and what of torch and flash-attn lies on the disk."""
    if inquiry is None:
        unknown = Unknown(unknown="not looked at: --host-only")
        settings = attempt(indexes.read_indexes, indexes.Places(environ, None, current_folder()))
        unread = unknown if requirements else _NO_REQUIREMENTS
        return Patient(
            python=unknown,
            packages=unknown,
            torch=unknown,
            flash=unknown,
            indexes=settings,
            requirements=unread,
            extensions=unknown,
        )
    answer, start = inquiry.examine()
    python, found, owners, closed = packages.described(answer.value)
    shadows = attempt(read_shadows, python, found, answer.started, environ, current_folder())
    python = replace(python, start=start, shadows=shadows)
    settings = attempt(indexes.read_indexes, indexes.Places(environ, python.prefix, current_folder()))
    wanted = _requirements(requirements, python, environ)
    installed = attempt(torch.read_torch, packages.importable(python), found)
    attention = attempt(flash.read_flash, python, found, owners, current_folder())
    return Patient(
        python=python,
        packages=closed or found,
        torch=installed,
        flash=attention,
        indexes=_with_named(settings, wanted.indexes if wanted else ()),
        requirements=wanted.lines if wanted else _NO_REQUIREMENTS,
        extensions=_extensions(python, installed, found, owners, attention, environ),
    )


def _extensions(
    python: Python,
    installed: Part[Torch],
    found: Packages,
    owners: Mapping[Path, str],
    attention: Part[FlashAttention],
    environ: Mapping[str, str],
) -> Part[tuple[Extension, ...]]:
    """Their reader is imported while the children work (`read_meanwhile`)."""
    from flash_doctor.probe.extensions import Places, read_extensions

    places = Places(
        owners=owners,
        others=attention.extensions if isinstance(attention, FlashAttention) else (),
        dependants={package.name for package in found.distributions if any(map(_is_torch, package.requires))},
    )
    return attempt(read_extensions, python, installed, places, environ)


def _is_torch(requirement: str) -> bool:
    return requirement[:5].lower() == "torch" and not requirement[5:6].isalnum()


def _requirements(file: Path | None, python: Python, environ: Mapping[str, str]) -> Requirements | None:
    if file is None:
        return None
    from flash_doctor.probe.requirements import read_requirements

    return read_requirements(file, python.markers, environ)


def _with_named(
    settings: Part[tuple[IndexSetting, ...]], named: tuple[IndexSetting, ...]
) -> Part[tuple[IndexSetting, ...]]:
    """The configured indexes and those that the requirements file names."""
    if isinstance(settings, Unknown) or not named:
        return settings
    return named if isinstance(settings, Absent) else (*settings, *named)
