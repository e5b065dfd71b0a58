"""`@check`: a rule is a function whose parameters name the parts of the Environment it reads.

A part that is Unknown makes the rule Unchecked, and one that is Absent means "does not apply", unless the
parameter's annotation admits `Unknown` or `Absent`. A parameter named `facts` gets the Facts. The docstring is the
rule's documentation for users: `doctor explain CODE` prints it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from flash_doctor.model import Absent, Environment, Family, Finding, Part, Unchecked, Unknown, known

if TYPE_CHECKING:
    from flash_doctor.facts import Facts

T = TypeVar("T")
Rule: TypeAlias = Callable[..., Iterable[Finding]]
REGISTRY: dict[str, Check] = {}


@dataclass(frozen=True)
class Check:
    """One registered rule: its stable `code`, its family, and the function."""

    code: str
    family: Family
    rule: Rule
    host_only: bool

    @cached_property
    def parameters(self) -> dict[str, str]:
        """Name of each part it reads, and its annotation."""
        return {name: str(parameter.annotation) for name, parameter in inspect.signature(self.rule).parameters.items()}

    @property
    def title(self) -> str:
        return self.documentation.partition("\n")[0]

    @property
    def documentation(self) -> str:
        return inspect.getdoc(self.rule) or ""

    def apply(self, environment: Environment, facts: Facts) -> Result:
        """Run the rule, or say why it was not run."""
        arguments: dict[str, object] = {}
        for name, admits in self.parameters.items():
            part = facts if name == "facts" else getattr(environment, name)
            if isinstance(part, Unknown) and "Unknown" not in admits:
                return Result(check=self, unchecked=Unchecked(code=self.code, why=part.unknown))
            if isinstance(part, Absent) and "Absent" not in admits:
                return Result(check=self)
            arguments[name] = part
        try:
            return Result(check=self, applies=True, findings=tuple(self.rule(**arguments)))
        except CouldNotLook as error:
            return Result(check=self, unchecked=Unchecked(code=self.code, why=str(error)))


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of one check: findings, or why it was not made; `applies` is False where it has no subject."""

    check: Check
    applies: bool = False
    findings: tuple[Finding, ...] = ()
    unchecked: Unchecked | None = None


class CouldNotLook(Exception):
    """Raised in a rule whose deciding detail is Unknown: the check becomes Unchecked with this reason."""


def needed(part: Part[T]) -> T | None:
    """The value of a detail that decides, None where it is Absent; where it is Unknown, the check cannot be made.

    Raises:
        CouldNotLook: it is Unknown.
    """
    if isinstance(part, Unknown):
        raise CouldNotLook(part.unknown)
    return known(part)


def check(code: str, family: Family, *, host_only: bool = False) -> Callable[[Rule], Rule]:
    """Register a rule; `host_only` rules are those that `doctor check --host-only` makes."""

    def register(rule: Rule) -> Rule:
        if code in REGISTRY:
            message = f"two checks are called {code}"
            raise ValueError(message)
        REGISTRY[code] = Check(code, family, rule, host_only)
        return rule

    return register


def all_checks() -> Iterator[Check]:
    """Every registered check, by code."""
    return iter(sorted(REGISTRY.values(), key=lambda check: check.code))
