"""What the doctor says: findings, what could not be checked, the goal of a remedy, the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum
from typing import NewType

from flash_doctor.model.binaries import Extension
from flash_doctor.model.machine import Driver, Gpus, Host, LoaderPath, Toolchain
from flash_doctor.model.part import Part, Unknown
from flash_doctor.model.python import (
    FlashAttention,
    IndexSetting,
    OtherDoctor,
    Packages,
    Python,
    RequirementLine,
    Target,
    Torch,
)

_OLDER_REPORT = Unknown(unknown="this report was made by a flash-doctor that did not read compiled files")


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Everything the probe read. Each part may be Absent or Unknown on its own."""

    host: Part[Host]
    driver: Part[Driver]
    gpus: Part[Gpus]
    toolchain: Part[Toolchain]
    loader: Part[LoaderPath]
    python: Part[Python]
    packages: Part[Packages]
    torch: Part[Torch]
    flash: Part[FlashAttention]
    indexes: Part[tuple[IndexSetting, ...]]
    other_doctor: Part[OtherDoctor]
    requirements: Part[tuple[RequirementLine, ...]]
    variables: Part[Mapping[str, str]]
    extensions: Part[tuple[Extension, ...]] = _OLDER_REPORT

    def parts(self) -> dict[str, object]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


class Severity(Enum):
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Family(Enum):
    """The families of checks; each has a weight in the score (`rules/score.py`)."""

    HOST = "host"
    DRIVER = "driver"
    GPU = "gpu"
    PYTHON = "python"
    TORCH = "torch"
    FLASH = "flash-attn"
    EXTENSIONS = "compiled extensions"
    COMPANIONS = "companions"
    LIBRARIES = "libraries"
    BUILD = "build"


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What is wanted, what must not change, and which changes are allowed (torch, build, driver, python)."""

    wanted: tuple[str, ...] = ("flash-attn",)
    keep: tuple[str, ...] = ("torch",)
    allow: tuple[str, ...] = ()


CommandLine = NewType("CommandLine", str)
"""A line to be typed into a shell; only the writer of `system/commands.py` makes one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """What to do next: a sentence, the commands to type (never run by us as text), and the doctor's own goal."""

    text: str
    commands: tuple[CommandLine, ...] = ()
    goal: Goal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Because:
    """The finding that explains another one: its code, and what it is about."""

    code: str
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong: `summary` says what, `evidence` how we know (each line can be checked by hand).

    `because_of` names the findings of the same report that explain this one.
    """

    code: str
    severity: Severity
    subject: str
    summary: str
    evidence: tuple[str, ...]
    remedy: Remedy | None = None
    because_of: tuple[Because, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unchecked:
    """A check that could not be made, and why."""

    code: str
    why: str


class Verdict(Enum):
    HEALTHY = "healthy"
    WARNINGS = "warnings"
    BROKEN = "broken"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Configuration score: `value` 0 to 100 (None when nothing could be checked), `checked` of `applicable` checks."""

    value: int | None
    checked: int
    applicable: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The whole answer of `check`; text, JSON and exit code are three readings of it.

    `only` names the families that were asked for with --only; empty: all of them.
    """

    target: Target
    environment: Environment
    findings: tuple[Finding, ...]
    unchecked: tuple[Unchecked, ...]
    score: Score
    only: tuple[Family, ...] = ()

    @property
    def verdict(self) -> Verdict:
        severities = {finding.severity for finding in self.findings}
        if Severity.ERROR in severities:
            return Verdict.BROKEN
        if not self.score.checked:
            return Verdict.UNKNOWN
        return Verdict.WARNINGS if Severity.WARNING in severities else Verdict.HEALTHY

    def of(self, code: str) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.code == code)
