"""What is known of the nodes of a joint run, how they differ, and what each difference means for the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from flash_doctor.model.part import Part
from flash_doctor.model.report import CommandLine


class Effect(Enum):
    """What a difference between two nodes does to a run on both, the worst first."""

    BREAKS = "breaks"
    SLOWS = "slows"
    HARMLESS = "harmless"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockOffset:
    """How far a node's clock is ahead of the asking machine's, in seconds: at least `low`, at most `high`."""

    low: float
    high: float

    @property
    def certain(self) -> float:
        """The part of the offset that the time the question took cannot explain; 0.0 when all of it can."""
        return self.low if self.low > 0 else min(self.high, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ailment:
    """An error that a node's own check found there; `plannable` when the doctor has a plan for it."""

    code: str
    subject: str
    summary: str
    plannable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What one report says that matters to a joint run.

    `values` maps an aspect (gpu, driver, torch, NCCL_IB_HCA ...) to its text; `source` is the report's file, ""
    for none; `python` the interpreter that was examined; `nccl_package` the distribution that brings NCCL, "" for
    none; `signature` is what a plan for this node depends on.
    """

    name: str
    source: str
    python: str
    values: Mapping[str, Part[str]]
    ailments: tuple[Ailment, ...] = ()
    clock: ClockOffset | None = None
    nccl_package: str = ""
    signature: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A node without a report that can be read, and why."""

    name: str
    why: str
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """What most nodes have: `nodes` of the `known` ones; in a baseline that was given, what the good node has."""

    aspect: str
    title: str
    value: str
    nodes: int
    known: int

    @property
    def majority(self) -> bool:
        return self.nodes * 2 > self.known


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Nodes that have another value than usual: what that does to the run, why, and who says so."""

    aspect: str
    title: str
    value: str
    usual: str
    effect: Effect
    why: str
    source: str
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NotKnown:
    """Nodes on which an aspect that others tell could not be looked at, and why."""

    aspect: str
    title: str
    why: str
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Odd:
    """Nodes that differ from the usual in the same way: their differences, and the commands to run on each."""

    nodes: tuple[str, ...]
    effect: Effect
    differences: tuple[str, ...]
    commands: tuple[CommandLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sick:
    """An error that the own check of these nodes found."""

    code: str
    summary: str
    nodes: tuple[str, ...]
    commands: tuple[CommandLine, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LostNodes:
    """Nodes without a report, for one reason."""

    why: str
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedPlan:
    """Nodes alike enough for one plan: the report it is made for, and the commands that bring it to all of them."""

    nodes: tuple[str, ...]
    report: str
    commands: tuple[CommandLine, ...]


class FleetVerdict(Enum):
    HEALTHY = "healthy"
    WARNINGS = "warnings"
    BROKEN = "broken"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The whole answer of `fleet compare`; text, JSON, metrics and exit code are readings of it.

    `against` is the name of the known good node, "" where the most frequent values are the measure; `names` are
    the nodes that were read.
    """

    against: str
    names: tuple[str, ...]
    usual: tuple[Usual, ...]
    differences: tuple[Difference, ...]
    odd: tuple[Odd, ...]
    sick: tuple[Sick, ...]
    lost: tuple[LostNodes, ...]
    not_known: tuple[NotKnown, ...]
    plans: tuple[SharedPlan, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def verdict(self) -> FleetVerdict:
        if not self.names:
            return FleetVerdict.UNKNOWN
        effects = {difference.effect for difference in self.differences}
        if self.sick or Effect.BREAKS in effects:
            return FleetVerdict.BROKEN
        if self.lost or Effect.SLOWS in effects:
            return FleetVerdict.WARNINGS
        return FleetVerdict.HEALTHY
