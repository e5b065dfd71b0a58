"""The source build: when it can work, with which settings, and what it is estimated to cost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from packaging.version import Version

from flash_doctor.install.compile import accept_settings
from flash_doctor.model import Absent, Cores, Environment, Goal, Memory, Tool, Toolchain, Toolkit, known
from flash_doctor.model.plan import Alternative, Build, Move, NoPlan
from flash_doctor.resolve import resolve
from seats import described, facts, wheels, with_packages

WORDS = {"torch": "2.15.0+cu132", "python_version": "3.12", "glibc": "2.39", "machine": "x86_64", "gpu": "RTX 4090"}
GIB = 1 << 30


def workshop(nvcc: str | None = "13.2", *, compiler: bool = True, headers: bool = True) -> Toolchain:
    kit = Toolkit(nvcc=Path("/usr/local/cuda/bin/nvcc"), origin="PATH", version=Version(nvcc)) if nvcc else None
    return Toolchain(
        toolkits=(kit,) if kit else (),
        compiler=Tool(path=Path("/usr/bin/g++"), name="g++", version=Version("13")) if compiler else Absent(),
        ninja=Absent(),
        python_headers=Path("/usr/include/python3.12") if headers else Absent(),
    )


def machine(
    toolchain: Toolchain, words: dict[str, str] | None = None, *, cores: int = 16, free: int = 64 * GIB
) -> Environment:
    environment = described(WORDS | (words or {}))
    host = known(environment.host)
    assert host is not None
    host = replace(
        host,
        cores=Cores(logical=cores, usable=cores, quota=None),
        memory=Memory(total=free, limit=free, available=free),
    )
    return replace(environment, host=host, toolchain=toolchain)


def offered(environment: Environment) -> Alternative:
    answer = resolve(Goal(), environment, wheels(), facts())
    assert isinstance(answer, NoPlan)
    found = next(one for one in answer.alternatives if one.move is Move.BUILD)
    for step in found.steps:
        if isinstance(step, Build):
            assert accept_settings(step.settings) == step.settings, "what we plan ourselves may be done"
    return found


def test_jobs_are_bounded_by_memory_and_by_cores() -> None:
    by_memory = offered(machine(workshop(), cores=64, free=40 * GIB)).steps[0]
    by_cores = offered(machine(workshop(), cores=2, free=512 * GIB)).steps[0]
    assert isinstance(by_memory, Build)
    assert isinstance(by_cores, Build)
    assert (by_memory.jobs, by_cores.jobs) == (4, 2)
    assert by_memory.minutes * 2 == by_cores.minutes
    assert by_memory.memory <= 40 * GIB
    assert dict(by_cores.settings)["MAX_JOBS"] == "2"


def test_an_ada_gpu_needs_the_code_for_80_alone() -> None:
    step = offered(machine(workshop())).steps[0]
    assert isinstance(step, Build)
    assert dict(step.settings)["FLASH_ATTN_CUDA_ARCHS"] == "80"
    assert step.requirement == "flash-attn==2.8.3.post2"


@pytest.mark.parametrize(
    ("toolchain", "words", "told"),
    [
        (workshop(None), {}, "no nvcc"),
        (workshop("12.8"), {}, "the major version must agree"),
        (workshop(compiler=False), {}, "no C++ compiler"),
        (workshop(headers=False), {}, "Python.h"),
        (workshop(), {"gpu": "T4"}, "does not run on compute capability 7.5"),
        (workshop("12.6"), {"gpu": "RTX 5090", "torch": "2.13.0+cu126", "driver": "595.71.05"}, "12.8 is the first"),
        (workshop(), {"torch": "2.9.1+cpu"}, "a build without CUDA"),
    ],
)
def test_what_stands_in_the_way_is_said(toolchain: Toolchain, words: dict[str, str], told: str) -> None:
    build = offered(machine(toolchain, words))
    assert not build.possible
    assert not build.steps
    assert told in " ".join(build.change)


def test_a_build_that_cannot_work_is_never_the_plan() -> None:
    answer = resolve(Goal(allow=("build",)), machine(workshop(None)), wheels(), facts())
    assert isinstance(answer, NoPlan)


def test_what_the_library_requires_is_planned_with_it() -> None:
    missing = offered(machine(workshop())).steps
    assert [step.name for step in missing] == ["flash-attn", "einops"]
    there = with_packages(machine(workshop()), {"einops": "0.8.1"})
    assert [step.name for step in offered(there).steps] == ["flash-attn"]
