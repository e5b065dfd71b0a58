"""Steps without an address, settled by asking an index: the question, who can answer it, and the plan afterwards."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from packaging.utils import NormalizedName
from packaging.version import InvalidVersion, Version

from flash_doctor.errors import BadInput, NoPlanFound
from flash_doctor.model import known
from flash_doctor.model.plan import Install, Plan
from flash_doctor.resolve.steps import TORCH
from flash_doctor.system.claims import LARGEST, Claimed, is_sha256
from flash_doctor.system.redact import cut
from flash_doctor.system.requirement import readable, valid_name
from flash_doctor.system.url import named_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from flash_doctor.model import Environment, Packages
    from flash_doctor.model.plan import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexQuery:
    """What an index is asked: requirements with everything they need, under constraints, for one Python and platform.

    `python` as 3.12, `machine` as x86_64, `glibc` as (2, 35); None where not known. `indexes` come before the default.
    With `sources` source distributions are asked for, and those of the requirements alone.
    """

    requirements: tuple[str, ...]
    constraints: tuple[str, ...]
    python: str | None
    machine: str | None
    glibc: tuple[int, int] | None
    indexes: tuple[str, ...]
    sources: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexAnswer:
    """One distribution as an index, or uv or pip for it, writes it down; nothing of it has been looked at."""

    name: object
    version: object
    url: object
    sha256: object
    size: object


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexFile:
    """One distribution of the answer: a wheel, or a source distribution; sha256 is None where the index has none."""

    name: NormalizedName
    version: Version
    url: str
    sha256: str | None
    size: int | None


def accept(claim: Claimed[IndexAnswer]) -> IndexFile:
    """An index's answer as ours: it names a distribution, a version, a file that an address can name, and its hash.

    Raises:
        BadInput: one of them is none.
    """
    answer = claim.unproved()
    try:
        name = valid_name(str(answer.name))
        version = Version(str(answer.version))
    except (BadInput, InvalidVersion) as error:
        message = f"{claim.origin} names no distribution and version: {cut(str(error), 200)}"
        raise BadInput(message) from error
    url = str(answer.url)
    named_file(url)
    sha256, size = answer.sha256, answer.size
    return IndexFile(
        name=name,
        version=version,
        url=url,
        sha256=sha256 if isinstance(sha256, str) and is_sha256(sha256) else None,
        size=size if type(size) is int and 0 <= size < LARGEST else None,
    )


class IndexUnreachable(NoPlanFound):
    """No index answered: nothing is known about whether there is a set of versions that fits."""

    def __init__(self, *, evidence: Sequence[str] = ()) -> None:
        super().__init__("the package index could not be reached", evidence=evidence)


class Lookup(Protocol):
    """Somebody who can ask an index."""

    def answer(self, question: IndexQuery) -> tuple[IndexFile, ...]:
        """The complete set for the question; raises NoPlanFound when there is none."""


def settle(plan: Plan, environment: Environment, lookup: Lookup) -> Plan:
    """The plan with an address for every step, and with everything that those steps need.

    What the plan keeps is a constraint of the question, and what belongs to a torch that stays is left out of the
    answer.
    """
    open_steps = [step for step in plan.steps if isinstance(step, Install) and not step.settled]
    if not open_steps:
        return plan
    found = {one.name: one for one in lookup.answer(question(plan, open_steps, environment))}
    steps = [_settled(step, found.pop(step.name, None)) for step in plan.steps]
    settled_names = {step.name for step in plan.steps}
    leave = settled_names | (frozenset() if TORCH in settled_names else torch_chain(known(environment.packages)))
    return replace(plan, steps=(*steps, *_needed(found, leave, known(environment.packages))))


def question(plan: Plan, open_steps: list[Install], environment: Environment) -> IndexQuery:
    """What to ask for the steps of a plan that have no address."""
    python, host = known(environment.python), known(environment.host)
    libc = known(host.libc) if host else None
    changed = {step.name for step in plan.steps}
    return IndexQuery(
        requirements=tuple(step.requirement for step in open_steps),
        constraints=tuple(_constraints(known(environment.packages), changed)),
        python=f"{python.version.major}.{python.version.minor}" if python else None,
        machine=(host.machine or None) if host else None,
        glibc=(libc.version.major, libc.version.minor) if libc and libc.name == "glibc" else None,
        indexes=tuple(dict.fromkeys(index for step in open_steps for index in step.indexes)),
    )


def _constraints(packages: Packages | None, changed: set[NormalizedName]) -> Iterator[str]:
    """Everything that stays, in its version; without what belongs to a torch that goes."""
    free = changed | (torch_chain(packages) if TORCH in changed else set())
    for package in packages.distributions if packages else ():
        version = known(package.version)
        if package.name not in free and version is not None:
            yield f"{package.name}=={version.public}"


def torch_chain(packages: Packages | None) -> set[NormalizedName]:
    """Torch and the installed distributions that it requires, directly or not: the CUDA libraries, triton, sympy …."""
    names: set[NormalizedName] = set()
    waiting = [TORCH]
    while waiting and packages:
        name = waiting.pop()
        package = packages.find(name)
        if name not in names and package is not None:
            names.add(name)
            waiting += [line.name for line in readable(package.requires) if not line.of_extra]
    return names | {TORCH}


def _settled(step: Step, found: IndexFile | None) -> Step:
    if not isinstance(step, Install) or step.settled or found is None:
        return step
    return replace(
        step,
        requirement=f"{found.name}=={found.version}",
        version=found.version,
        url=found.url,
        sha256=found.sha256,
        size=found.size,
    )


def _needed(
    found: Mapping[NormalizedName, IndexFile], leave: set[NormalizedName], packages: Packages | None
) -> Iterator[Install]:
    """The rest of the answer: what is not installed in that version yet."""
    for one in found.values():
        package = packages.find(one.name) if packages else None
        if one.name in leave or (package is not None and known(package.version) == one.version):
            continue
        yield Install(
            name=one.name,
            requirement=f"{one.name}=={one.version}",
            because="required by a step above",
            version=one.version,
            url=one.url,
            sha256=one.sha256,
            size=one.size,
        )
