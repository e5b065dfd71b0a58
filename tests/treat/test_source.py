"""What a build fetches: its source distribution, and hashed wheels of what its setup.py imports."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from packaging.utils import canonicalize_name
from packaging.version import Version

from fakes import SilentDesk
from flash_doctor.errors import NoPlanFound
from flash_doctor.facts import Facts
from flash_doctor.install.build_step import settle_builds, workshop_of
from flash_doctor.install.context import FixOptions, Practice
from flash_doctor.install.fetch import Sources
from flash_doctor.install.target_state import TargetState, examine
from flash_doctor.model import Goal, Target
from flash_doctor.model.plan import Build, Plan
from flash_doctor.model.wheel import HashState
from flash_doctor.resolve.index_query import IndexFile, IndexQuery
from flash_doctor.system.process import SystemRunner
from wheels import build_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from clinic import Clinic

FLASH = canonicalize_name("flash-attn")
NEEDS = ("setuptools", "wheel", "packaging", "ninja", "psutil")


@pytest.fixture
def patient(clinic: Clinic) -> TargetState:
    return examine(Target(python=clinic.venv / "bin" / "python", why="test"), SystemRunner())


SDIST = "https://x.invalid/y.tar.gz"


@dataclass
class Catalogue:
    """An index of our own: version 1 of everything that is asked for, and of what one of them requires."""

    asked: list[IndexQuery] = field(default_factory=list)

    def answer(self, question: IndexQuery) -> tuple[IndexFile, ...]:
        self.asked.append(question)
        if question.sources:
            return (
                IndexFile(
                    name=FLASH, version=Version("2.8.3"), url="https://x.invalid/y.tar.gz", sha256="a" * 64, size=7
                ),
            )
        names = [canonicalize_name(line) for line in (*question.requirements, "underneath")]
        return tuple(
            IndexFile(name=name, version=Version("1"), url=f"https://x.invalid/{name}-1.whl", sha256="b" * 64, size=9)
            for name in names
        )


def practice(folder: Path, catalogue: Catalogue | None = None, *, network: bool = True) -> Practice:
    sources = Sources(cache=folder / "cache", folders=(folder / "shelf",), network=network)
    options = FixOptions(sources=sources, data=folder / "data")
    return Practice(runner=SystemRunner(), facts=Facts(), options=options, desk=SilentDesk(), lookup=lambda: catalogue)


def plan(version: str = "2.8.3", url: str | None = None) -> Plan:
    step = Build(
        name=FLASH, requirement=f"flash-attn=={version}", because="", settings=(), jobs=1, minutes=1, memory=1, url=url,
    )  # fmt: skip
    return Plan(goal=Goal(), steps=(step,), because=())


def settled(plan: Plan, patient: TargetState, practice: Practice) -> Build:
    (step,) = settle_builds(plan, patient, practice).steps
    assert isinstance(step, Build)
    return step


def test_address_and_hash_come_from_the_index(patient: TargetState, tmp_path: Path) -> None:
    catalogue = Catalogue()
    step = settled(plan(), patient, practice(tmp_path, catalogue))
    assert (step.url, step.sha256, step.size) == ("https://x.invalid/y.tar.gz", "a" * 64, 7)
    assert catalogue.asked[0].requirements == ("flash-attn==2.8.3",)
    with pytest.raises(NoPlanFound, match="where the source of flash-attn") as caught:
        settled(plan(), patient, practice(tmp_path, catalogue, network=False))
    assert caught.value.evidence == ("no network may be used",)


def test_what_the_build_imports_comes_with_hashes_and_with_what_it_requires(
    patient: TargetState, tmp_path: Path
) -> None:
    catalogue = Catalogue()
    step = settled(plan(url="https://x.invalid/y.tar.gz"), patient, practice(tmp_path, catalogue))
    assert [need.name for need in step.needs] == [*NEEDS, "underneath"]
    assert {(need.sha256, need.hash_state) for need in step.needs} == {("b" * 64, HashState.PUBLISHED)}
    (question,) = catalogue.asked
    assert question.requirements == NEEDS
    assert f"torch=={patient.environment.torch.version.public}" in question.constraints  # type: ignore[union-attr]
    assert settled(Plan(goal=Goal(), steps=(step,), because=()), patient, practice(tmp_path)) == step


def test_what_the_target_has_is_not_fetched(patient: TargetState, tmp_path: Path) -> None:
    torch = patient.packages.find("torch")
    assert torch is not None
    there = [replace(torch, name=canonicalize_name(name), raw_version="1") for name in NEEDS[1:]]
    packages = replace(patient.packages, distributions=(*patient.packages.distributions, *there))
    catalogue = Catalogue()
    settled(plan(url="https://x.invalid/y.tar.gz"), replace(patient, packages=packages), practice(tmp_path, catalogue))
    assert catalogue.asked[0].requirements == ("setuptools",)


def test_a_folder_settles_it_without_asking_anybody(patient: TargetState, tmp_path: Path) -> None:
    for name in NEEDS:
        build_wheel(tmp_path / "shelf", name, "3.1", {f"{name}.py": ""})
    step = settled(plan(url="https://x.invalid/y.tar.gz"), patient, practice(tmp_path, network=False))
    assert [need.requirement for need in step.needs] == [f"{name}==3.1" for name in NEEDS]
    assert {need.hash_state for need in step.needs} == {HashState.PINNED}
    (tmp_path / "shelf" / "ninja-3.1-py3-none-any.whl").unlink()
    with pytest.raises(NoPlanFound, match=r"not here: ninja$") as caught:
        settled(plan(url="https://x.invalid/y.tar.gz"), patient, practice(tmp_path, network=False))
    assert "--wheelhouse" in caught.value.advice
    with pytest.raises(NoPlanFound) as caught:
        settled(plan(url="https://x.invalid/y.tar.gz"), patient, practice(tmp_path))
    assert "neither uv nor pip" in caught.value.evidence[0]


def test_what_was_compiled_before_asks_nobody(patient: TargetState, tmp_path: Path) -> None:
    (known,) = plan(url="https://x.invalid/y.tar.gz").steps
    assert isinstance(known, Build)
    known = replace(known, sha256="c" * 64)
    workshop = workshop_of(known, "c" * 64, patient, practice(tmp_path))
    workshop.clear_out()
    wheel = workshop.out / "flash_attn-2.8.3-py3-none-any.whl"
    wheel.touch()
    workshop.keep(wheel)
    assert settled(Plan(goal=Goal(), steps=(known,), because=()), patient, practice(tmp_path, network=False)) == known
