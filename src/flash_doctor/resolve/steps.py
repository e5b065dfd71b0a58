"""A chosen wheel, or a chosen torch, as the steps that put it in place with everything it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name
from packaging.version import Version

from flash_doctor.model import Environment, Package, Packages, Python, known
from flash_doctor.model.plan import Install
from flash_doctor.model.wheel import HashState, Wheel
from flash_doctor.system.requirement import Requirement, readable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_doctor.facts import Facts
    from flash_doctor.resolve.torch_change import TorchChoice

TORCH = canonicalize_name("torch")


def wheel_steps(wheel: Wheel, environment: Environment) -> tuple[Install, ...]:
    """The wheel, then everything it requires that is not there; torch is never among it."""
    family = wheel.family
    own = Install(
        name=wheel.name,
        requirement=f"{wheel.name}=={wheel.version}",
        because=f"{wheel.name} {family.version} for this torch, from {family.publisher}",
        version=Version(wheel.version),
        wheel=wheel,
        url=wheel.url,
        sha256=wheel.sha256,
        size=wheel.size,
        hash_state=wheel.hash_state,
        indexes=(family.index,) if family.index else (),
    )
    return own, *unmet(wheel.name, family.requires, environment)


def unmet(name: str, requires: tuple[str, ...], environment: Environment) -> tuple[Install, ...]:
    """A step for each requirement that holds in the environment and that no installed distribution meets."""
    packages, python = known(environment.packages), known(environment.python)
    return tuple(
        Install(name=line.name, requirement=line.bare, because=f"{name} needs it", hash_state=HashState.PUBLISHED)
        for line in readable(requires)
        if line.name != TORCH and line.holds(python.markers if python else None) and not _met(line, packages)
    )


def _met(line: Requirement, packages: Packages | None) -> bool:
    found = packages.find(line.name) if packages else None
    version = known(found.version) if found else None
    return version is not None and line.admits(version)


def torch_steps(choice: TorchChoice, environment: Environment, facts: Facts) -> tuple[Install, ...]:
    """That torch, and every installed package that belongs to the torch that is there."""
    indexes = (choice.index,)
    torch = Install(
        name=TORCH,
        requirement=f"torch=={choice.version}+{choice.tag}",
        because=f"torch {choice.version} for CUDA {choice.cuda}",
        version=Version(f"{choice.version}+{choice.tag}"),
        indexes=indexes,
    )
    packages = known(environment.packages)
    moved = tuple(_companions(packages, environment, choice, facts)) if packages else ()
    return torch, *moved


def _companions(packages: Packages, environment: Environment, choice: TorchChoice, facts: Facts) -> Iterator[Install]:
    for package in packages.distributions:
        if (
            package.name in {TORCH, "flash-attn", "flash-attn-3", "flash-attn-4"}
            or packages.find(package.name) != package
        ):
            continue
        requirement, why = _moved(package, environment, choice, facts)
        if requirement:
            yield Install(name=package.name, requirement=requirement, because=why, indexes=(choice.index,))


def _moved(package: Package, environment: Environment, choice: TorchChoice, facts: Facts) -> tuple[str, str]:
    """What an installed package becomes under another torch: a requirement and why, or nothing."""
    partners = facts.torch.partners(package.name, choice.version)
    release = facts.torch.release(choice.version)
    if partners:
        version = known(package.version)
        stays = version is not None and Version(version.public) in partners
        return (
            ("", "") if stays else (f"{package.name}=={max(partners)}", f"the release made for torch {choice.version}")
        )
    if package.name == "triton" and release is not None:
        return f"triton{release.triton.specifier}", f"torch {choice.version} requires it"
    if pins_other(package, choice.version, known(environment.python)):
        return package.name, f"its metadata pins another torch than {choice.version}"
    companion = facts.companions.packages.get(package.name)
    if companion is not None and companion.compiled and not package.name.startswith(("flash", "bitsandbytes")):
        return package.name, "its compiled code belongs to the torch that is there"
    return "", ""


def pins_other(package: Package, torch: Version, python: Python | None) -> bool:
    """Whether the metadata of an installed package excludes that torch."""
    asked = (line for line in readable(package.requires) if line.name == TORCH and not line.admits(torch))
    return any(line.holds(python.markers if python else None) for line in asked)
