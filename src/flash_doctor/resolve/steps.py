"""A chosen wheel, or a chosen torch, as the steps that put it in place with everything it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from flash_doctor.model import Absent, Environment, Package, Packages, Unknown, known
from flash_doctor.model.plan import Install
from flash_doctor.model.wheel import HashState, Wheel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flash_doctor.facts import Facts
    from flash_doctor.resolve.moves import TorchChoice

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
    return own, *unmet(wheel.name, family.requires, environment.packages)


def unmet(name: str, requires: tuple[str, ...], packages: Packages | Absent | Unknown) -> tuple[Install, ...]:
    """A step for each requirement that no installed distribution meets."""
    return tuple(
        Install(
            name=requirement_name(line), requirement=line, because=f"{name} needs it", hash_state=HashState.PUBLISHED
        )
        for line in requires
        if requirement_name(line) != TORCH and not _met(line, known(packages))
    )


def requirement_name(line: str) -> NormalizedName:
    """The distribution that a requirement line names."""
    end = next((place for place, letter in enumerate(line) if letter in "<>=!~;[ "), len(line))
    return canonicalize_name(line[:end])


def _met(line: str, packages: Packages | None) -> bool:
    found = packages.find(requirement_name(line)) if packages else None
    if found is None:
        return False
    from packaging.requirements import Requirement

    version = known(found.version)
    return version is not None and Requirement(line).specifier.contains(version, prereleases=True)


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
    moved = tuple(_companions(packages, choice, facts)) if packages else ()
    return torch, *moved


def _companions(packages: Packages, choice: TorchChoice, facts: Facts) -> Iterator[Install]:
    for package in packages.distributions:
        if (
            package.name in {TORCH, "flash-attn", "flash-attn-3", "flash-attn-4"}
            or packages.find(package.name) != package
        ):
            continue
        requirement, why = _moved(package, choice, facts)
        if requirement:
            yield Install(name=package.name, requirement=requirement, because=why, indexes=(choice.index,))


def _moved(package: Package, choice: TorchChoice, facts: Facts) -> tuple[str, str]:
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
    if pins_other(package, choice.version):
        return package.name, f"its metadata pins another torch than {choice.version}"
    companion = facts.companions.packages.get(package.name)
    if companion is not None and companion.compiled and not package.name.startswith(("flash", "bitsandbytes")):
        return package.name, "its compiled code belongs to the torch that is there"
    return "", ""


def pins_other(package: Package, torch: Version) -> bool:
    """Whether the metadata of an installed package excludes that torch."""
    lines = [line for line in package.requires if requirement_name(line) == TORCH]
    if not lines:
        return False
    from packaging.requirements import InvalidRequirement, Requirement

    for line in lines:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if "extra" not in str(requirement.marker or "") and not requirement.specifier.contains(torch, prereleases=True):
            return True
    return False
