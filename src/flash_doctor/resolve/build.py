"""A source build: whether it can work on this machine, with which settings, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flash_doctor.facts import Facts
from flash_doctor.model import Absent, Capability, Environment, FlashKind, Unknown, known
from flash_doctor.model.plan import Alternative, Build, Move, Risk
from flash_doctor.resolve.axes import Seat
from flash_doctor.resolve.steps import unmet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packaging.version import Version

    from flash_doctor.model import Toolchain
    from flash_doctor.resolve.sources.live import BuildCost, Live

GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where it would be built: seat, environment, facts."""

    seat: Seat
    environment: Environment
    facts: Facts


def source_build(site: Site, live: Live) -> Alternative | None:
    """The source build of the wanted version; `possible` is False, with the reasons, where it cannot work."""
    wish = site.seat.wish
    sdist = live.sdists.get(wish.flash or "")
    versions = (
        [version for version in sdist.versions if wish.admits(version) and _knows_gpus(version, site)] if sdist else []
    )
    if sdist is None or not versions:
        return None
    obstacles = tuple(_obstacles(site))
    possible = not any(line.startswith("cannot") for line in obstacles)
    cost = live.costs[wish.flash or ""]
    step = _step(max(versions), site, cost)
    hours = f"about {max(1, round(step.minutes / 60))} h" if step.minutes > 90 else f"about {step.minutes} min"
    return Alternative(
        move=Move.BUILD,
        change=(f"compile {step.requirement} for this torch and GPU", *obstacles),
        steps=(step, *unmet(step.name, sdist.requires, site.environment)) if possible else (),
        risk=Risk.CAUTIOUS,
        cost=f"{hours} with {step.jobs} job(s), {round(step.memory / GIB)} GiB of memory (estimate: {cost.source})",
        possible=possible,
    )


def _knows_gpus(version: Version, site: Site) -> bool:
    kinds = [site.facts.gpus.of(gpu) for gpu in site.seat.gpus]
    return all(kind is None or kind.fa2_from is None or version >= kind.fa2_from for kind in kinds)


def _obstacles(site: Site) -> Iterator[str]:
    """Why a build cannot work here, each as a sentence."""
    seat = site.seat
    for gpu in seat.gpus:
        kind = site.facts.gpus.of(gpu)
        if kind is not None and not kind.supports(FlashKind.FA2):
            yield f"cannot work: FlashAttention 2 does not run on compute capability {gpu} ({kind.source})"
    if seat.torch is None:
        yield "cannot work: it is compiled against torch, and no torch is known here"
    elif seat.torch.cuda_known and seat.torch.cuda is None:
        yield "cannot work: this torch is a build without CUDA"
    toolchain = site.environment.toolchain
    if isinstance(toolchain, (Absent, Unknown)):
        why = toolchain.unknown if isinstance(toolchain, Unknown) else "not there"
        yield f"not known whether it can work: nvcc and compiler were not looked at ({why})"
    else:
        yield from _tools(toolchain, site)


def _tools(toolchain: Toolchain, site: Site) -> Iterator[str]:
    torch = site.seat.torch
    nvcc = known(toolchain.chosen.version) if toolchain.chosen else None
    if nvcc is None:
        yield "cannot work yet: no nvcc (the CUDA compiler) was found"
    elif torch and torch.cuda and nvcc.major != torch.cuda.major:
        yield f"cannot work yet: nvcc is of CUDA {nvcc}, this torch of CUDA {torch.cuda}; the major version must agree"
    for gpu in site.seat.gpus if nvcc else ():
        kind = site.facts.gpus.of(gpu)
        if kind is not None and nvcc is not None and nvcc < kind.nvcc:
            yield f"cannot work yet: nvcc {nvcc} does not know compute capability {gpu}, {kind.nvcc} is the first"
    if known(toolchain.compiler) is None:
        yield "cannot work yet: no C++ compiler was found"
    if known(toolchain.python_headers) is None:
        yield "cannot work yet: the Python headers (Python.h) were not found"


def _step(version: Version, site: Site, cost: BuildCost) -> Build:
    host = known(site.environment.host)
    memory, cores = (known(host.memory), known(host.cores)) if host else (None, None)
    per_job = site.facts.companions.limits["build_memory"].size
    room = max(1, memory.available // per_job) if memory else 1
    jobs = min(cores.usable if cores else 1, room)
    codes = _codes(site.seat.gpus)
    name = site.seat.wish.flash
    assert name is not None
    return Build(
        name=name,
        requirement=f"{name}=={version}",
        because="no wheel fits",
        version=version,
        settings=(
            ("FLASH_ATTENTION_FORCE_BUILD", "TRUE"),
            ("FLASH_ATTN_CUDA_ARCHS", ";".join(codes)),
            ("MAX_JOBS", str(jobs)),
            ("NVCC_THREADS", "1"),
        ),
        jobs=jobs,
        minutes=-(-cost.core_minutes * max(1, len(codes)) // jobs),
        memory=jobs * per_job,
    )


def _codes(gpus: tuple[Capability, ...]) -> tuple[str, ...]:
    """What setup.py calls the architectures: all of Ampere and Ada run the code for 80, and so on within a major."""
    return tuple(dict.fromkeys(f"{gpu.major}0" for gpu in gpus if (gpu.major, gpu.minor) != (8, 7)))
