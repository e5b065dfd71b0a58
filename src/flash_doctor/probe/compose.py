"""Put the parts together: what takes longest is started first, and each part fails alone."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
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
from flash_doctor.probe import flash, gpu, host, indexes, loader, packages, shadows, toolkit, torch
from flash_doctor.probe.shadows import read_shadows
from flash_doctor.system.paths import cache_folder, current_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flash_doctor.probe.requirements import Requirements
    from flash_doctor.probe.start import Inquiry
    from flash_doctor.system.process import Runner

# `flash_doctor.probe.requirements` is imported where it is needed: packaging's grammar takes 30 ms
T = TypeVar("T")
P = ParamSpec("P")

_NO_REQUIREMENTS = Absent(absent="no requirements file was given (-r)")


def compose(
    inquiry: Inquiry | None,
    runner: Runner,
    *,
    prefix: Path | None,
    requirements: Path | None,
    cache: Path | None,
    left_out: Mapping[str, str],
) -> Environment:
    """`probe` of this package, the target's script being at work (None: nothing is asked of the target).

    The GPUs' child is started next; the rest is read while both work. `prefix` is the target's folder, whose disk
    belongs to the host.
    """
    environ = dict(os.environ)
    parts = Parts(left_out)
    pending = gpu.start_gpus(runner) if parts.any_of("driver", "gpus") else None
    try:
        read_host, other_doctor = read_meanwhile(parts, prefix, cache or cache_folder(environ), environ)
        patient = read_patient(inquiry, environ, requirements, parts, runner)
        toolchain = parts.read("toolchain", toolkit.read_toolchain, patient.site_packages, patient.headers, runner)
    finally:
        driver, gpus = pending.finish() if pending else (parts.unread("driver"), parts.unread("gpus"))
    return Environment(
        host=read_host,
        driver=driver,
        gpus=gpus,
        toolchain=toolchain,
        loader=parts.read("loader", loader.read_loader, environ),
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


@dataclass(frozen=True, slots=True)
class Parts:
    """Which parts of the Environment are read: those that are not in `left_out`, which says why not."""

    left_out: Mapping[str, str]

    def any_of(self, *names: str) -> bool:
        return any(name not in self.left_out for name in names)

    def unread(self, name: str) -> Unknown:
        return Unknown(unknown=self.left_out[name])

    def read(self, name: str, read: Callable[P, Part[T]], *args: P.args, **kwargs: P.kwargs) -> Part[T]:
        return attempt(read, *args, **kwargs) if self.any_of(name) else self.unread(name)


def read_meanwhile(
    parts: Parts, prefix: Path | None, cache: Path, environ: Mapping[str, str]
) -> tuple[Part[Host], Part[OtherDoctor]]:
    """What needs no answer of the children; and the 20 ms of importing the readers of compiled files."""
    if parts.any_of("extensions"):
        importlib.import_module("flash_doctor.probe.extensions")
    return (
        parts.read("host", host.read_host, prefix, cache),
        parts.read("other_doctor", shadows.read_other_doctor, environ),
    )


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
class TargetParts:
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


def read_patient(
    inquiry: Inquiry | None, environ: Mapping[str, str], requirements: Path | None, parts: Parts, runner: Runner
) -> TargetParts:
    """What the started script answers, and what of torch and flash-attn lies on the disk."""
    if inquiry is None:
        return TargetParts(
            python=parts.unread("python"),
            packages=parts.unread("packages"),
            torch=parts.unread("torch"),
            flash=parts.unread("flash"),
            indexes=parts.read("indexes", indexes.read_indexes, indexes.ConfigPlaces(environ, None, current_folder())),
            requirements=parts.unread("python") if requirements else _NO_REQUIREMENTS,
            extensions=parts.unread("extensions"),
        )
    answer, start = inquiry.examine()
    python, found, owners, closed = packages.described(answer.value)
    shadows = attempt(read_shadows, python, found, answer.started, environ, current_folder())
    python = replace(python, start=start, shadows=shadows)
    places = indexes.ConfigPlaces(environ, python.prefix, current_folder())
    settings = parts.read("indexes", indexes.read_indexes, places)
    wanted = _requirements(requirements, python, environ, runner)
    installed = attempt(torch.read_torch, packages.importable(python), found)
    attention = attempt(flash.read_flash, python, found, owners, current_folder())
    return TargetParts(
        python=python,
        packages=closed or found,
        torch=installed,
        flash=attention,
        indexes=_with_named(settings, wanted.indexes if wanted else ()),
        requirements=wanted.lines if wanted else _NO_REQUIREMENTS,
        extensions=_extensions(python, installed, found, owners, attention, environ)
        if parts.any_of("extensions")
        else parts.unread("extensions"),
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
    from flash_doctor.probe.extensions import CompiledFiles, read_extensions

    places = CompiledFiles(
        owners=owners,
        others=attention.extensions if isinstance(attention, FlashAttention) else (),
        dependants={package.name for package in found.distributions if any(map(_is_torch, package.requires))},
    )
    return attempt(read_extensions, python, installed, places, environ)


def _is_torch(requirement: str) -> bool:
    return requirement[:5].lower() == "torch" and not requirement[5:6].isalnum()


def _requirements(file: Path | None, python: Python, environ: Mapping[str, str], runner: Runner) -> Requirements | None:
    if file is None:
        return None
    from flash_doctor.probe.requirements import read_requirements

    return read_requirements(file, python.markers, environ, runner)


def _with_named(
    settings: Part[tuple[IndexSetting, ...]], named: tuple[IndexSetting, ...]
) -> Part[tuple[IndexSetting, ...]]:
    """The configured indexes and those that the requirements file names."""
    if isinstance(settings, Unknown) or not named:
        return settings
    return named if isinstance(settings, Absent) else (*settings, *named)
