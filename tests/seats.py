"""Machines for the resolver's tests: described in words, with installed packages where a case has some."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name
from packaging.version import Version

from flash_doctor.facts import Facts
from flash_doctor.model import Absent, Environment, Package, Packages
from flash_doctor.resolve import Wheels, describe, load_wheels
from wheel_oracle import Machine

if TYPE_CHECKING:
    import random

    from flash_doctor.facts.torch import TorchBuild, TorchRelease

GPUS = ((7, 0), (7, 5), (8, 0), (8, 6), (8, 7), (8, 9), (9, 0), (10, 0), (10, 3), (12, 0), (12, 1))
PYTHONS = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.13t", "3.14")
GLIBCS = ((2, 17), (2, 28), (2, 31), (2, 32), (2, 34), (2, 35), (2, 39))
DRIVERS = ("450.51", "470.82.01", "525.60.13", "550.54.15", "570.124.06", "580.95.05", "595.71.05")


@cache
def facts() -> Facts:
    return Facts()


@cache
def wheels() -> Wheels:
    return load_wheels(facts().folder / "wheels", publishers=facts().publishers)


def package(name: str, version: str, requires: tuple[str, ...] = ()) -> Package:
    return Package(
        name=canonicalize_name(name),
        version=Version(version),
        raw_version=version,
        metadata=Path("/site-packages") / f"{name}.dist-info",
        location=Path("/site-packages"),
        installer="pip",
        url=Absent(),
        editable=False,
        in_user_site=False,
        requires=requires,
        requires_python="",
        tags=(),
        top_level=(name,),
        record=Absent(),
    )


def with_packages(environment: Environment, installed: dict[str, Any]) -> Environment:
    """`{"xformers": "0.0.30", "vllm": ["0.8.5", "torch==2.6.0"]}`: version, then Requires-Dist lines."""
    found = []
    for name, said in installed.items():
        version, *requires = [said] if isinstance(said, str) else said
        found.append(package(name, version, tuple(requires)))
    return replace(environment, packages=Packages(distributions=tuple(found), leftovers=(), broken=()))


@cache
def torch_builds() -> tuple[tuple[TorchRelease, TorchBuild], ...]:
    releases = facts().torch.releases.values()
    return tuple((release, build) for release in releases for build in facts().torch.builds_of(release.version))


def draw(chance: random.Random) -> tuple[Machine, dict[str, str]]:
    """A machine for the oracle, and the same one in the words of `describe`."""
    release, build = chance.choice(torch_builds())
    gpu, glibc, driver = chance.choice(GPUS), chance.choice(GLIBCS), chance.choice((*DRIVERS, None))
    python, arch = chance.choice(PYTHONS), chance.choice(("x86_64", "x86_64", "aarch64"))
    machine = Machine(
        python=python,
        torch=(release.version.major, release.version.minor),
        cuda=(build.cuda.major, build.cuda.minor),
        cxx11abi=build.cxx11abi,
        glibc=glibc,
        gpu=gpu,
        machine=arch,
        driver=tuple(map(int, driver.split("."))) if driver else None,
    )
    words = {
        "python_version": python,
        "torch": f"{release.version}+{build.tag}",
        "glibc": f"{glibc[0]}.{glibc[1]}",
        "gpu": f"sm_{gpu[0]}{gpu[1]}",
        "machine": arch,
    }
    return machine, words | ({"driver": driver} if driver else {})


def described(words: dict[str, str]) -> Environment:
    return describe(facts(), **words)
