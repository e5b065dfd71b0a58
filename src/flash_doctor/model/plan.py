"""What the resolver answers: the steps of a plan, why other wheels were refused, what else could be done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Literal, TypeAlias

from packaging.utils import NormalizedName
from packaging.version import Version

from flash_doctor.model.report import CommandLine, Goal
from flash_doctor.model.wheel import HashState, Wheel


class Axis(Enum):
    """What a wheel must fit, in the order in which a refusal is told."""

    PYTHON = "Python tag"
    PLATFORM = "platform"
    GLIBC = "glibc"
    TORCH = "torch release"
    CUDA = "CUDA major"
    ABI = "C++ ABI"
    GPU = "GPU architecture"
    DRIVER = "driver"
    CAPS = "other packages"
    FAULT = "known fault"
    GOAL = "goal"


class Risk(Enum):
    """SAFE: made for this; CAUTIOUS: moves more than was asked for; RISKY: nobody promises that it works."""

    SAFE = "safe"
    CAUTIOUS = "cautious"
    RISKY = "risky"


@dataclass(frozen=True, slots=True, kw_only=True)
class Install:
    """Put one distribution in place, replacing the version that is there.

    `wheel` is one of the matrix; else version, url and sha256 are an index's answer, None until it was asked:
    `requirement` and `indexes` say what to ask it.
    """

    name: NormalizedName
    requirement: str
    because: str
    version: Version | None = None
    wheel: Wheel | None = None
    url: str | None = None
    sha256: str | None = None
    size: int | None = None
    hash_state: HashState = HashState.PUBLISHED
    indexes: tuple[str, ...] = ()
    action: Literal["install"] = "install"

    @property
    def settled(self) -> bool:
        """The address is known."""
        return self.url is not None

    @property
    def files(self) -> tuple[Install, ...]:
        """What has to be fetched for this step."""
        return (self,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remove:
    """Take one distribution away; `version` is the one that goes, where it is known."""

    name: NormalizedName
    because: str
    version: Version | None = None
    action: Literal["remove"] = "remove"

    @property
    def files(self) -> tuple[()]:
        """What has to be fetched for this step."""
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """Compile a source: `settings` are environment variables, `minutes` and `memory` (bytes) estimates.

    `needs` are the wheels that its setup.py imports and the target lacks; only the build sees them.
    """

    name: NormalizedName
    requirement: str
    because: str
    settings: tuple[tuple[str, str], ...]
    jobs: int
    minutes: int
    memory: int
    version: Version | None = None
    url: str | None = None
    sha256: str | None = None
    size: int | None = None
    hash_state: HashState = HashState.PUBLISHED
    needs: tuple[Install, ...] = ()
    action: Literal["build"] = "build"

    @property
    def files(self) -> tuple[Build | Install, ...]:
        """What has to be fetched for this step."""
        return (self, *self.needs)


Step: TypeAlias = Build | Install | Remove
"""Told apart by `action`; `version` is None while nobody has said yet which one it will be."""


def version_text(step: Step) -> str | None:
    """A step's version for people and documents: as the wheel's name spells it, where there is one."""
    if isinstance(step, Install) and step.wheel:
        return step.wheel.version
    return None if step.version is None else str(step.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A wheel that was refused: the first axis that it violates, why, and every axis that it violates."""

    wheel: Wheel
    axis: Axis
    why: str
    axes: tuple[Axis, ...]


class Move(Enum):
    """What an alternative changes; the value is the word that `--allow` takes."""

    VERSION = "version"
    TORCH = "torch"
    CUDA = "cuda"
    BUILD = "build"
    PYTHON = "python"
    DRIVER = "driver"
    NEIGHBOUR = "risky"
    FALLBACK = "fallback"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """Another way to the goal: what would change (sentences), its steps, its cost in words, its risk."""

    move: Move
    change: tuple[str, ...]
    steps: tuple[Step, ...]
    risk: Risk
    cost: str = ""
    possible: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The smallest change that reaches the goal; `candidates` are the runners-up, best first.

    `move` is the kind of change that had to be allowed for it (None: the goal is met as it stands), `manual` what
    people have to do themselves (driver, a new Python).
    """

    goal: Goal
    steps: tuple[Step, ...]
    because: tuple[str, ...]
    rejected: tuple[Rejection, ...] = ()
    candidates: tuple[Wheel, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    manual: tuple[str, ...] = ()
    move: Move | None = None

    @property
    def wheel(self) -> Wheel | None:
        """The flash-attention wheel that is installed, if one is."""
        return next((step.wheel for step in self.steps if isinstance(step, Install) and step.wheel), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoPlan:
    """Nothing meets the goal as it stands: the refusals, and the nearest solutions, best first."""

    goal: Goal
    because: tuple[str, ...]
    rejected: tuple[Rejection, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    command: CommandLine | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """How old the facts are: `shipped` and `refreshed` are dates (ISO; refreshed is None without an overlay).

    `warnings` say why an overlay is not used, or only in part.
    """

    shipped: str
    refreshed: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def newest(self) -> str:
        return max(self.shipped, self.refreshed or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Consultation:
    """One answer of `plan`.

    `machine` says for which machine it is, `command` is the command line that asked, to which the choice of an
    alternative is added; `now` maps a distribution to the version that is there, `why` answers `--why`;
    `notes` is what stays wrong or unsettled beside the plan.
    """

    answer: Plan | NoPlan
    machine: str
    command: tuple[str, ...]
    knowledge: Knowledge
    now: Mapping[str, str]
    why: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def rejected(self) -> tuple[Rejection, ...]:
        return self.answer.rejected
