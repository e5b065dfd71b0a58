"""What a difference between two nodes does to a run on both: the policy in fleet.toml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from flash_doctor.facts.loading import Row, Source, Table
from flash_doctor.model.fleet import Effect

if TYPE_CHECKING:
    from pathlib import Path


class Degree(IntEnum):
    """How far two values of an aspect are apart, the furthest first."""

    MISSING = 0
    MAJOR = 1
    MINOR = 2
    MICRO = 3
    ANY = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Aspect:
    """One thing that is compared: its name for people, and what to do on a node that differs.

    `plan`: a plan of the doctor mends it; `before_plan`: it must be put right before such a plan is made.
    """

    key: str
    title: str
    next: str
    command: str
    plan: bool
    before_plan: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a difference does to the run, why, and who says so."""

    effect: Effect
    why: str
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetPolicy:
    """fleet.toml. `clock` holds (seconds, judgement), the longest first."""

    aspects: Mapping[str, Aspect]
    differences: Mapping[tuple[str, Degree], Judgement]
    variables: Mapping[str, Judgement]
    clock: tuple[tuple[float, Judgement], ...]

    def aspect(self, key: str) -> Aspect:
        """The aspect of that key; a key that is none is the name of a variable."""
        return self.aspects.get(key) or self.aspects["variable"]

    def judge(self, key: str, degree: Degree) -> Judgement:
        """What a difference of that degree does: by the row for it, else by the next less exact one."""
        if key in self.variables:
            return self.variables[key]
        known = key if key in self.aspects else "variable"
        # a value that is missing where no row speaks of it is as far away as values can be
        finer = (self.differences.get((known, each)) for each in Degree if each >= degree)
        return next(row for row in finer if row)

    def judge_clock(self, seconds: float) -> Judgement | None:
        """What a clock that is off by that much does; None while nobody minds."""
        return next((row for limit, row in self.clock if abs(seconds) >= limit), None)


def load(path: Path) -> FleetPolicy:
    """The policy from fleet.toml; raises BadFacts with every fault of the file."""
    table = Table.read(path)
    aspects = {row.name: _aspect(row) for row in table.rows("aspect", sourced=False)}
    differences = dict(_difference(row, aspects) for row in table.rows("difference"))
    policy = FleetPolicy(
        aspects=aspects,
        differences=differences,
        variables={name: judgement for row in table.rows("variable") for name, judgement in _variables(row)},
        clock=tuple(sorted(map(_clock, table.rows("clock")), key=lambda row: -row[0])),
    )
    for key in {*aspects, "variable"}:
        if (key, Degree.ANY) not in differences:
            table.fault(f"aspect.{key}", "", 'no difference with at = "any" says what it means')
    table.finish()
    return policy


def _aspect(row: Row) -> Aspect:
    return Aspect(
        key=row.name,
        title=row.text("title"),
        next=row.text("next"),
        command=row.text("command", default=""),
        plan=row.flag("plan", default=False),
        before_plan=row.flag("before_plan", default=False),
    )


def _difference(row: Row, aspects: Mapping[str, Aspect]) -> tuple[tuple[str, Degree], Judgement]:
    key = row.text("aspect")
    if key not in aspects:
        row.fault("aspect", f"{key!r} is none of the file's aspects")
    return (key, row.parse("at", row.text("at"), degree, Degree.ANY)), _judgement(row)


def _variables(row: Row) -> list[tuple[str, Judgement]]:
    judgement = _judgement(row)
    return [(name, judgement) for name in row.words("names")]


def _clock(row: Row) -> tuple[float, Judgement]:
    seconds = row.seconds("seconds")
    return seconds, _judgement(row)


def _judgement(row: Row) -> Judgement:
    wanted = row.parse("effect", row.text("effect"), effect, Effect.HARMLESS)
    return Judgement(effect=wanted, why=row.text("why"), source=row.source)


def degree(text: str) -> Degree | None:
    return Degree.__members__.get(text.upper())


def effect(text: str) -> Effect | None:
    return next((member for member in Effect if member.value == text), None)
