"""`@rule`: a rule is a function whose parameters name the parts of the Scene it reads.

As with the checks of `doctor check`: an Unknown part makes the rule Unchecked; an Absent one means that it does not
apply, unless the parameter's annotation admits `Absent`. One annotated as `Part[...]` is given as it is, for a rule
that needs it in some cases only (`need`). A parameter named `facts` gets the preflight facts.
A rule tells what it found as `Found`; its severity and remedy are those of rules.toml where it names no other.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from flash_doctor.model import Absent, CommandLine, Finding, Severity, Unchecked, Unknown
from flash_doctor.preflight.config import Dialect
from flash_doctor.system.commands import advice

if TYPE_CHECKING:
    from flash_doctor.facts.preflight import PreflightFacts, RuleText
    from flash_doctor.preflight.config import Run
    from flash_doctor.preflight.inputs import Inputs

T = TypeVar("T")
EVERY = frozenset(Dialect)
AXOLOTL = frozenset({Dialect.AXOLOTL})


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a rule found at a key; `evidence` follows the line of the file, which is added.

    `severity` and `remedy` replace those of rules.toml; `commands` can be typed.
    """

    key: str
    summary: str
    evidence: tuple[str, ...] = ()
    severity: Severity | None = None
    remedy: str = ""
    commands: tuple[CommandLine | None, ...] = ()


Function: TypeAlias = Callable[..., Iterable[Found]]
RULES: dict[str, Rule] = {}


class NotKnown(Exception):
    """Raised in a rule whose deciding detail is Unknown: the rule becomes Unchecked with this reason."""


def need(part: T | Absent | Unknown, what: str = "") -> T:
    """The value of a part that was reached only in some case; NotKnown where there is none."""
    if isinstance(part, Unknown):
        raise NotKnown(part.unknown)
    if isinstance(part, Absent):
        raise NotKnown(part.absent or what)
    return part


@dataclass(frozen=True)
class Rule:
    """One registered rule: its id, the frameworks it is about, and the function."""

    code: str
    dialects: frozenset[Dialect]
    function: Function

    @cached_property
    def parameters(self) -> dict[str, str]:
        """Name of each part it reads, and its annotation."""
        parameters = inspect.signature(self.function).parameters.items()
        return {name: str(parameter.annotation) for name, parameter in parameters}

    def apply(self, scene: Inputs, facts: PreflightFacts) -> Answer:
        """Run the rule, or say why it was not run."""
        if scene.run.dialect not in self.dialects:
            return Answer()
        arguments: dict[str, object] = {}
        for name, annotation in self.parameters.items():
            part = facts if name == "facts" else scene if name == "scene" else getattr(scene, name)
            as_it_is = "Part[" in annotation
            if isinstance(part, Unknown) and not as_it_is:
                return Answer(applies=True, unchecked=Unchecked(code=self.code, why=part.unknown))
            if isinstance(part, Absent) and not as_it_is and "Absent" not in annotation:
                return Answer()
            arguments[name] = part
        found, unchecked, text = [], None, facts.rules[self.code]
        try:
            for each in self.function(**arguments):
                found.append(finding(self.code, each, text, scene.run))  # noqa: PERF401
        except NotKnown as error:  # what was found before stays found
            unchecked = Unchecked(code=self.code, why=str(error))
        return Answer(applies=True, findings=tuple(found), unchecked=unchecked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of one rule; `applies` is False where it has no subject."""

    applies: bool = False
    findings: tuple[Finding, ...] = ()
    unchecked: Unchecked | None = None


def finding(code: str, found: Found, text: RuleText, run: Run) -> Finding:
    return Finding(
        code=code,
        severity=found.severity or text.severity,
        subject=run.name(found.key),
        summary=found.summary,
        evidence=(*run.where(found.key), *found.evidence),
        remedy=advice(found.remedy or text.remedy, *found.commands),
    )


def rule(code: str, *, dialects: frozenset[Dialect] = EVERY) -> Callable[[Function], Function]:
    """Register a rule for configurations of these frameworks."""

    def register(function: Function) -> Function:
        if code in RULES:
            message = f"two rules are called {code}"
            raise ValueError(message)
        RULES[code] = Rule(code, dialects, function)
        return function

    return register
