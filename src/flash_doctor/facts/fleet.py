"""What a difference between two nodes does to a run on both: the policy in fleet.toml."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING, Annotated

from flash_doctor.facts import loading
from flash_doctor.facts.kinds import NAME, Checked
from flash_doctor.facts.loading import Source, TableSection
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

    key: Annotated[str, NAME]
    title: str
    next: str
    command: str = ""
    plan: bool = False
    before_plan: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a difference does to the run, why, and who says so."""

    effect: Effect
    why: str
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferenceRule(Judgement):
    """What it does that an aspect differs, from that degree on."""

    aspect: str
    at: Degree


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift(Judgement):
    """What clocks do that are so many seconds apart, or more."""

    seconds: Annotated[float, Checked(lambda value: value > 0, "must be more than 0, not {!r}")]


@dataclass(frozen=True, kw_only=True)
class FleetPolicy:
    """fleet.toml."""

    aspects: Annotated[Mapping[str, Aspect], TableSection("aspect", sourced=False)]
    rows: Annotated[tuple[DifferenceRule, ...], TableSection("difference")]
    variables: Annotated[Mapping[str, Judgement], TableSection("variable", by="names")]
    drifts: Annotated[tuple[Drift, ...], TableSection("clock")]

    @cached_property
    def differences(self) -> Mapping[tuple[str, Degree], Judgement]:
        return {(row.aspect, row.at): row for row in self.rows}

    def faults(self) -> Iterator[tuple[str, str, str]]:
        for number, row in enumerate(self.rows, 1):
            if row.aspect not in self.aspects:
                yield f"difference.{number}", "aspect", f"{row.aspect!r} is none of the file's aspects"
        for key in sorted({*self.aspects, "variable"}):
            if (key, Degree.ANY) not in self.differences:
                yield f"aspect.{key}", "", 'no difference with at = "any" says what it means'

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
        passed = [row for row in self.drifts if abs(seconds) >= row.seconds]
        return max(passed, key=lambda row: row.seconds, default=None)


def load(path: Path) -> FleetPolicy:
    """The policy from fleet.toml; raises BadFacts with every fault of the file."""
    return loading.load(FleetPolicy, path)
